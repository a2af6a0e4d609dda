//! Calls of one key wait for each other.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use crate::domain::{AgentKey, Keyed};

/// Whose key, and which.
type Name = (AgentKey, Box<str>);
type Lock = Arc<tokio::sync::Mutex<()>>;

/// The keys of this process that are under way. One is here as long as somebody has its turn or
/// waits for it.
#[derive(Debug, Default)]
pub struct Turns(Mutex<HashMap<Name, Lock>>);

/// The turn of one key, or a place among those that wait for it.
pub(super) struct Turn {
    turns: Arc<Turns>,
    name: Name,
    lock: Lock,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for the turn; it ends with what this answers.
    pub(super) async fn take(self: &Arc<Self>, keyed: &Keyed) -> Turn {
        let name = (keyed.owner.clone(), keyed.key.clone());
        let lock = Arc::clone(self.0.lock().entry(name.clone()).or_default());
        let mut turn = Turn {
            turns: Arc::clone(self),
            name,
            lock: Arc::clone(&lock),
            guard: None,
        };
        turn.guard = Some(lock.lock_owned().await);
        turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.guard = None;
        let mut turns = self.turns.0.lock();
        // Its own and the table's: whoever waits has one more, taken under this lock.
        if Arc::strong_count(&self.lock) == 2 {
            turns.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt;

    use super::Turns;
    use crate::domain::{AgentKey, Keyed};

    fn keyed(key: &str) -> Keyed {
        Keyed {
            owner: AgentKey::new("n", "a").unwrap(),
            key: key.into(),
            digest: "d".into(),
        }
    }

    #[tokio::test]
    async fn a_key_has_one_turn_at_a_time_and_leaves_nothing() {
        let turns = Arc::new(Turns::default());
        let first = turns.take(&keyed("k")).await;
        let other = turns.take(&keyed("l")).await;
        let second = turns.take(&keyed("k")).now_or_never();
        assert!(second.is_none(), "it must wait");
        drop((first, other));
        drop(turns.take(&keyed("k")).await);
        assert!(turns.0.lock().is_empty());
    }
}
