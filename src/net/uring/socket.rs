//! One socket of the ring, and what its completions carry.

use std::os::fd::OwnedFd;

use super::super::slab::GENERATION_MASK;
use super::super::{Receive, Sending, Token};

/// Where a reception stands in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reception {
    /// No receive is under way.
    Idle,
    /// A receive is under way.
    Armed,
    /// A receive is under way and its cancellation was asked for.
    Cancelling,
}

pub(super) struct Socket {
    pub(super) fd: OwnedFd,
    pub(super) reception: Reception,
    /// How the owner wants to receive; differs from `reception` while a cancellation or a want of
    /// buffers is under way.
    pub(super) wanted: Option<Receive>,
    pub(super) sending: Option<Sending>,
    /// Given up; waits for its last completion.
    pub(super) closing: bool,
}

impl Socket {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self {
            fd,
            reception: Reception::Idle,
            wanted: None,
            sending: None,
            closing: false,
        }
    }

    /// Operations that the kernel holds.
    pub(super) fn operations(&self) -> usize {
        usize::from(self.reception != Reception::Idle) + usize::from(self.sending.is_some())
    }
}

/// What was submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Accept = 0,
    Receive = 1,
    Send = 2,
    Cancel = 3,
}

/// An operation as its 64 bits of user data:
///
/// ```text
///   63      56 55                32 31                 0
///  +----------+--------------------+--------------------+
///  |   kind   |     generation     |        slot        |
///  +----------+--------------------+--------------------+
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Operation {
    pub(super) kind: Kind,
    pub(super) token: Token,
}

impl Operation {
    pub(super) fn socket(kind: Kind, token: Token) -> Self {
        Self { kind, token }
    }

    pub(super) fn accept(listener: u32) -> Self {
        let token = Token {
            index: listener,
            generation: 0,
        };
        Self {
            kind: Kind::Accept,
            token,
        }
    }

    pub(super) fn cancel() -> Self {
        let token = Token {
            index: 0,
            generation: 0,
        };
        Self {
            kind: Kind::Cancel,
            token,
        }
    }

    pub(super) fn pack(self) -> u64 {
        (self.kind as u64) << 56
            | u64::from(self.token.generation & GENERATION_MASK) << 32
            | u64::from(self.token.index)
    }

    pub(super) fn unpack(data: u64) -> Self {
        let kind = match data >> 56 {
            0 => Kind::Accept,
            1 => Kind::Receive,
            2 => Kind::Send,
            _ => Kind::Cancel,
        };
        let token = Token {
            index: data as u32,
            generation: (data >> 32) as u32 & GENERATION_MASK,
        };
        Self { kind, token }
    }
}

#[cfg(test)]
mod tests {
    use super::{GENERATION_MASK, Kind, Operation, Token};

    #[test]
    fn user_data_round_trips() {
        for kind in [Kind::Accept, Kind::Receive, Kind::Send, Kind::Cancel] {
            for (index, generation) in [(0, 0), (u32::MAX, GENERATION_MASK), (7, 1)] {
                let operation = Operation {
                    kind,
                    token: Token { index, generation },
                };
                assert_eq!(Operation::unpack(operation.pack()), operation);
            }
        }
    }
}
