//! What a node knows of another: what it has heard of it, and what it has missed.

use std::time::{Duration, Instant};

use super::super::directory::Note;
use super::wire::Agent;
use crate::config::limits::PEER_SILENT_SECONDS;
use crate::domain::Status;

/// Pause before a node is asked again to tell everything.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Another node.
#[derive(Debug)]
pub(super) struct Peer {
    /// When it last said anything.
    heard: Instant,
    /// The latest number of what it said to all, of which nothing is missing; none if something is.
    told: Option<u64>,
    /// When it was asked to tell everything.
    asked: Option<Instant>,
    /// The latest number of what it said to this node.
    direct: u64,
    /// Messages in memory only that it sent to this node.
    pub(super) volatile: u64,
    /// What it has told so far of everything.
    pub(super) sessions: Vec<Note>,
    pub(super) present: Vec<(Agent, Option<Status>)>,
}

/// What to do with something that was said to all.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It is the next.
    Next,
    /// It is known already.
    Before,
    /// Something before it is missing; the node is to be asked, if the flag says so.
    Gap(bool),
}

impl Peer {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            heard: now,
            told: None,
            asked: None,
            direct: 0,
            volatile: 0,
            sessions: Vec::new(),
            present: Vec::new(),
        }
    }

    pub(super) fn hear(&mut self, now: Instant) {
        self.heard = now;
    }

    pub(super) fn is_silent(&self, now: Instant) -> bool {
        now.duration_since(self.heard) > Duration::from_secs(PEER_SILENT_SECONDS)
    }

    /// Takes the number of something that was said to all.
    pub(super) fn told(&mut self, number: u64, now: Instant) -> Heard {
        match self.told {
            Some(told) if number == told + 1 => {
                self.told = Some(number);
                Heard::Next
            }
            Some(told) if number <= told => Heard::Before,
            _ => {
                self.told = None;
                let is_due = self
                    .asked
                    .is_none_or(|asked| now.duration_since(asked) >= ASK_AGAIN);
                if is_due {
                    self.asked = Some(now);
                }
                Heard::Gap(is_due)
            }
        }
    }

    /// It may have said more than was heard: it is asked to tell everything.
    pub(super) fn doubt(&mut self, now: Instant) {
        self.told = None;
        self.asked = Some(now);
    }

    /// It has told everything up to this number.
    pub(super) fn knows_all(&mut self, number: u64) {
        self.told = Some(number);
        self.asked = None;
    }

    /// Takes the number of something that was said to this node; false if something before it is
    /// missing.
    pub(super) fn directly(&mut self, number: u64) -> bool {
        let is_next = number <= self.direct + 1;
        self.direct = self.direct.max(number);
        is_next
    }

    /// It has said so much to this node by now; false if something of it is missing.
    pub(super) fn has_said(&mut self, number: u64) -> bool {
        let is_all = number <= self.direct;
        self.direct = self.direct.max(number);
        is_all
    }

    /// It has sent so many messages in memory only; false if some are missing.
    pub(super) fn has_sent(&mut self, volatile: u64) -> bool {
        let is_all = volatile <= self.volatile;
        self.volatile = self.volatile.max(volatile);
        is_all
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Heard, Peer};

    #[test]
    fn a_gap_is_noticed_once_and_closed_by_hearing_everything() {
        let now = Instant::now();
        let mut peer = Peer::new(now);
        assert_eq!(peer.told(3, now), Heard::Gap(true));
        assert_eq!(peer.told(4, now), Heard::Gap(false), "it was asked already");
        let later = now + Duration::from_secs(2);
        assert_eq!(peer.told(5, later), Heard::Gap(true));
        peer.knows_all(5);
        assert_eq!(peer.told(5, later), Heard::Before);
        assert_eq!(peer.told(6, later), Heard::Next);
        assert_eq!(peer.told(8, later), Heard::Gap(true));
    }

    #[test]
    fn what_was_said_to_a_node_alone_is_counted() {
        let mut peer = Peer::new(Instant::now());
        assert!(peer.directly(1) && peer.directly(2) && peer.has_said(2));
        assert!(!peer.directly(4) && peer.directly(5));
        assert!(!peer.has_said(6) && peer.has_said(6) && peer.directly(7));
        assert!(peer.has_sent(0) && !peer.has_sent(1) && peer.has_sent(1));
    }
}
