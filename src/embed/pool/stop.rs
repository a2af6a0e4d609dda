//! A wish to stop that ends waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Set once; whoever waits on it is woken.
#[derive(Clone, Default)]
pub(crate) struct Stop(Arc<(Mutex<bool>, Condvar)>);

impl Stop {
    pub(super) fn set(&self) {
        *self.0.0.lock() = true;
        self.0.1.notify_all();
    }

    pub(crate) fn is_set(&self) -> bool {
        *self.0.0.lock()
    }

    /// Waits so long, less if it is set; true if it is.
    pub(crate) fn wait(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut set = self.0.0.lock();
        while !*set {
            if self.0.1.wait_until(&mut set, until).timed_out() {
                break;
            }
        }
        *set
    }
}
