//! How much is in a queue.

use super::SessionQueue;
use super::lanes::LANES;

/// What waits in queues at present, of one or of many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Levels {
    /// Sessions that have a connection.
    pub connected: u64,
    /// Sessions that wait for one.
    pub waiting: u64,
    /// Messages that wait for their first delivery, by lane.
    pub lanes: [u64; LANES],
    /// Messages that go next, once the store has counted them.
    pub staged: u64,
    /// Messages that have a place in the sequence and are not settled.
    pub in_window: u64,
    /// Messages that the store has yet to settle.
    pub settling: u64,
    /// Bytes of messages held in lanes and windows.
    pub held_bytes: u64,
}

impl Levels {
    /// Puts `after` in the place of `before`, which is part of this.
    pub fn replace(&mut self, before: &Self, after: &Self) {
        let put = |sum: &mut u64, before: u64, after: u64| *sum = *sum + after - before;
        put(&mut self.connected, before.connected, after.connected);
        put(&mut self.waiting, before.waiting, after.waiting);
        for (at, sum) in self.lanes.iter_mut().enumerate() {
            put(sum, before.lanes[at], after.lanes[at]);
        }
        put(&mut self.staged, before.staged, after.staged);
        put(&mut self.in_window, before.in_window, after.in_window);
        put(&mut self.settling, before.settling, after.settling);
        put(&mut self.held_bytes, before.held_bytes, after.held_bytes);
    }
}

impl SessionQueue {
    /// What is in it; found without walking through it.
    pub fn levels(&self) -> Levels {
        Levels {
            connected: u64::from(self.connected),
            waiting: u64::from(!self.connected),
            lanes: self.lanes.lengths(),
            staged: self.staged.len() as u64,
            in_window: self.window.len() as u64,
            settling: self.settling.len() as u64,
            held_bytes: self.bytes() as u64,
        }
    }
}
