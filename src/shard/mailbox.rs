//! How other threads reach a shard.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam::queue::ArrayQueue;
use tokio::sync::Notify;

use crate::config::Config;
use crate::config::limits::MAILBOX_EVENTS_MAX;
use crate::delivery::Outgoing;

/// What another thread tells a shard.
#[derive(Debug)]
pub enum Mail {
    /// Limits have changed.
    Reload(Arc<Config>),
    /// Stop accepting, count that here, and close the connections over this time.
    Drain(Duration, Arc<AtomicUsize>),
    /// Close whatever is left.
    Stop,
}

/// A bounded queue with one wake-up for all that waits in it.
#[derive(Debug)]
pub struct Mailbox {
    queue: ArrayQueue<Mail>,
    pending: AtomicBool,
    wake: Arc<Notify>,
}

impl Default for Mailbox {
    fn default() -> Self {
        Self {
            queue: ArrayQueue::new(MAILBOX_EVENTS_MAX),
            pending: AtomicBool::new(false),
            wake: Arc::new(Notify::new()),
        }
    }
}

impl Mailbox {
    /// Leaves mail; gives it back if the mailbox is full.
    pub fn post(&self, mail: Mail) -> Result<(), Mail> {
        self.queue.push(mail)?;
        // The queue is filled before the flag is set, and emptied after it is cleared, so no mail
        // is left without a wake-up.
        if !self.pending.swap(true, Ordering::AcqRel) {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// How much mail waits.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// A queue of messages for connections of the shard, which they wake as mail does.
    pub fn outgoing(&self) -> Rc<Outgoing> {
        Outgoing::of_shard(Arc::clone(&self.wake))
    }

    pub(super) fn take(&self) -> Option<Mail> {
        if !self.pending.load(Ordering::Acquire) {
            return None;
        }
        let mail = self.queue.pop();
        if mail.is_none() {
            self.pending.store(false, Ordering::Release);
            return self.queue.pop();
        }
        mail
    }

    /// What wakes the shard: mail, or an answer of a local task.
    pub(super) fn wake(&self) -> &Arc<Notify> {
        &self.wake
    }
}

#[cfg(test)]
mod tests {
    use super::{Mail, Mailbox};

    #[test]
    fn mail_is_bounded_and_taken_in_order() {
        let mailbox = Mailbox::default();
        assert!(mailbox.take().is_none());
        for _ in 0..crate::config::limits::MAILBOX_EVENTS_MAX {
            mailbox.post(Mail::Stop).unwrap();
        }
        assert!(mailbox.post(Mail::Stop).is_err());
        let taken = std::iter::from_fn(|| mailbox.take()).count();
        assert_eq!(taken, crate::config::limits::MAILBOX_EVENTS_MAX);
        mailbox
            .post(Mail::Drain(
                std::time::Duration::ZERO,
                std::sync::Arc::default(),
            ))
            .unwrap();
        assert!(matches!(mailbox.take(), Some(Mail::Drain(..))));
    }
}
