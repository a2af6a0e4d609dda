//! Calls that go on as tasks in this process, so that whoever feeds or cancels one reaches it on
//! whichever shard it runs. Across processes the store tells; this is only faster.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use uuid::Uuid;

/// Tasks that run in this process. It is locked when a task begins, ends, or is spoken to.
#[derive(Debug, Default)]
pub struct Running(Mutex<HashMap<Uuid, Arc<Notify>>>);

impl Running {
    /// Notes a task; what is returned wakes when somebody spoke to it.
    pub fn begin(&self, id: Uuid) -> Arc<Notify> {
        let spoken = Arc::new(Notify::new());
        self.0.lock().insert(id, Arc::clone(&spoken));
        spoken
    }

    /// Forgets a task.
    pub fn end(&self, id: Uuid) {
        self.0.lock().remove(&id);
    }

    /// Tells a task that its record was changed from outside.
    pub fn speak(&self, id: Uuid) {
        if let Some(spoken) = self.0.lock().get(&id) {
            // One permit waits if nobody listens at the moment.
            spoken.notify_one();
        }
    }
}
