//! Memory that a thread does not use any more.
//!
//! The allocator has a heap for each thread and gives free pages back to the kernel only while the thread
//! allocates and frees: what a burst has left stays with a thread that has nothing to do afterwards, and so does
//! what other threads have freed of it. So threads that live as long as the server ask for it now and then.

use std::time::{Duration, Instant};

/// Between two times that a thread does so: it walks through all the pages of its heap.
const EVERY: Duration = Duration::from_secs(2);

/// Gives back what the calling thread has freed, or others of it.
pub fn give_back() {
    // SAFETY: it may be called at any time, and touches what is free only.
    unsafe { libmimalloc_sys::mi_collect(false) }
}

/// Gives back every two seconds, for a thread that asks more often.
#[derive(Debug)]
pub struct GivingBack {
    due: Instant,
}

impl Default for GivingBack {
    fn default() -> Self {
        Self {
            due: Instant::now() + EVERY,
        }
    }
}

impl GivingBack {
    /// Gives back if it is time.
    pub fn see(&mut self) {
        let now = Instant::now();
        if now >= self.due {
            self.due = now + EVERY;
            give_back();
        }
    }
}
