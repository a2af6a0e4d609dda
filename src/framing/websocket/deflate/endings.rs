//! Messages that end as others did: what was compressed of the end is used again.
//!
//! A list of tools differs from the next by an id, a broadcast by its place in a session. Without context
//! takeover a message is a sequence of blocks of its own (RFC 1951, 3.2.3), and a block that was compressed by
//! itself refers to nothing before it: so the beginning goes as a stored block, and the compressed end behind
//! it, whatever the beginning.
//!
//! Invariant: an end is kept when it comes the second time; what comes once costs a hash of a few bytes.

use std::hash::{BuildHasher, Hasher};

use super::{Deflater, Params};

/// Bytes at the beginning of a message that may differ: ids are short, and so is the place of a delivery.
const HEAD_BYTES: usize = 192;
/// A longer beginning than the one that was cut off: the same end behind a longer id.
const HEAD_BYTES_MAX: usize = 1_024;
/// A shorter end is not worth a block of its own.
const END_BYTES_MIN: usize = 512;
/// A longer end is compressed anew: so all that are kept are below a megabyte.
const END_BYTES_MAX: usize = 64 * 1024;
/// By which an end is known again before it is compared.
const SIGN_BYTES: usize = 256;
/// Ends kept: the lists of a server, and the broadcasts of a moment.
pub(super) const ENDINGS_MAX: usize = 8;
/// Signs of the latest messages.
const SIGNS_MAX: usize = 16;
/// Of a stored block (RFC 1951, 3.2.4): the final bit and the type, padded to a byte, the length, and its
/// complement.
const STORED_HEAD_BYTES: usize = 5;

#[derive(Debug)]
struct Ending {
    params: Params,
    plain: Box<[u8]>,
    packed: Box<[u8]>,
}

/// Ends of messages with their compressed form, those of one shard.
#[derive(Debug, Default)]
pub(in crate::framing::websocket) struct Endings {
    /// The one used last comes first.
    kept: Vec<Ending>,
    signs: [u64; SIGNS_MAX],
    next_sign: usize,
}

impl Endings {
    /// Appends `payload` compressed if it ends like one before.
    pub(super) fn pack(
        &mut self,
        payload: &[u8],
        params: Params,
        deflater: &mut Deflater,
        out: &mut Vec<u8>,
    ) -> bool {
        let bytes = HEAD_BYTES + END_BYTES_MIN..=HEAD_BYTES + END_BYTES_MAX;
        if !bytes.contains(&payload.len()) {
            return false;
        }
        if let Some(place) = self.find(payload, params) {
            self.kept[..=place].rotate_right(1);
        } else if !self.was_seen(payload) || !self.keep(payload, params, deflater) {
            return false;
        }
        let Ending { plain, packed, .. } = &self.kept[0];
        let head = &payload[..payload.len() - plain.len()];
        if STORED_HEAD_BYTES + head.len() + packed.len() >= payload.len() {
            return false;
        }
        // At most HEAD_BYTES_MAX.
        let length = head.len() as u16;
        out.push(0);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(head);
        out.extend_from_slice(packed);
        true
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.kept.len()
    }

    fn find(&self, payload: &[u8], params: Params) -> Option<usize> {
        self.kept.iter().position(|ending| {
            let fits = ending.plain.len()..=ending.plain.len() + HEAD_BYTES_MAX;
            ending.params == params
                && fits.contains(&payload.len())
                && payload.ends_with(&ending.plain)
        })
    }

    /// Did a message lately end like this one? If not, it has now.
    fn was_seen(&mut self, payload: &[u8]) -> bool {
        let mut hasher = foldhash::fast::FixedState::default().build_hasher();
        hasher.write(&payload[payload.len() - SIGN_BYTES..]);
        // None is the sign of no message.
        let sign = hasher.finish() | 1;
        if self.signs.contains(&sign) {
            return true;
        }
        self.signs[self.next_sign] = sign;
        self.next_sign = (self.next_sign + 1) % SIGNS_MAX;
        false
    }

    /// Keeps the end of a message; false if compressing does not make it shorter.
    fn keep(&mut self, payload: &[u8], params: Params, deflater: &mut Deflater) -> bool {
        let plain = &payload[HEAD_BYTES..];
        let mut packed = Vec::new();
        if !deflater.compress(plain, &mut packed) {
            return false;
        }
        self.kept.truncate(ENDINGS_MAX - 1);
        let ending = Ending {
            params,
            plain: plain.into(),
            packed: packed.into(),
        };
        self.kept.insert(0, ending);
        true
    }
}
