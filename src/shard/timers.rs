//! Deadlines of connections: one wheel per shard, one entry per connection as a rule.
//!
//! A connection's deadline moves with every message, so moving it costs nothing: the entry stays
//! where it is and, when it comes up, the connection says whether it is due or when to ask again.

use std::time::{Duration, Instant};

use crate::net::Token;

/// The wheel's resolution: no bound of ours is shorter than a second.
pub(super) const TICK: Duration = Duration::from_millis(250);

/// Slots of the wheel: 128 s ahead, beyond every common deadline but the idle limit, which is
/// asked again then.
const SLOTS: u32 = 512;

/// A point on the wheel: ticks since the shard started.
pub(super) type Tick = u32;

#[derive(Debug)]
pub(super) struct Wheel {
    epoch: Instant,
    slots: Vec<Vec<(Token, Tick)>>,
    /// The last tick that was taken.
    passed: Tick,
}

impl Wheel {
    pub(super) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            slots: (0..SLOTS).map(|_| Vec::new()).collect(),
            passed: 0,
        }
    }

    /// The tick of this moment.
    pub(super) fn now(&self) -> Tick {
        (self.epoch.elapsed().as_millis() / TICK.as_millis()) as Tick
    }

    /// When the next tick begins.
    pub(super) fn next(&self) -> Instant {
        self.epoch + TICK * (self.passed + 1)
    }

    /// True if a tick has begun that was not taken.
    pub(super) fn is_due(&self) -> bool {
        self.now() > self.passed
    }

    /// Puts a connection on the wheel, at `tick` or as far ahead as the wheel reaches. Returns
    /// the tick of its entry.
    pub(super) fn insert(&mut self, token: Token, tick: Tick) -> Tick {
        let tick = tick.clamp(self.passed + 1, self.passed + SLOTS - 1);
        self.slots[(tick % SLOTS) as usize].push((token, tick));
        tick
    }

    /// Takes the entries that have come up.
    pub(super) fn take_due(&mut self, due: &mut Vec<(Token, Tick)>) {
        let now = self.now();
        while self.passed < now {
            self.passed += 1;
            due.append(&mut self.slots[(self.passed % SLOTS) as usize]);
        }
    }
}

/// A duration in ticks, rounded up.
pub(super) fn ticks(duration: Duration) -> Tick {
    duration.as_millis().div_ceil(TICK.as_millis()) as Tick
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{SLOTS, Wheel, ticks};
    use crate::net::Table;

    #[test]
    fn entries_come_up_at_their_tick_and_far_ones_at_the_wheels_end() {
        let mut wheel = Wheel::new();
        let mut table = Table::default();
        let (near, far) = (table.insert(()), table.insert(()));
        assert_eq!(wheel.insert(near, 3), 3);
        assert_eq!(wheel.insert(far, 100_000), SLOTS - 1);
        assert_eq!(wheel.insert(near, 0), 1);
        wheel.epoch -= Duration::from_millis(250 * 3);
        let mut due = Vec::new();
        wheel.take_due(&mut due);
        assert_eq!(due, [(near, 1), (near, 3)]);
        assert!(!wheel.is_due());
    }

    #[test]
    fn durations_round_up() {
        assert_eq!(ticks(Duration::from_millis(1)), 1);
        assert_eq!(ticks(Duration::from_secs(1)), 4);
    }
}
