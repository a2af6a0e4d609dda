//! What the server lets a client carry for it and wants back unchanged: the state of a request
//! that needs input (MCP 2026-07-28, multi round-trip requests).
//!
//! A seal binds the state to who got it, to the request it belongs to and to a time: whoever
//! changes any of them, or borrows another's, has no seal.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::Uuid;

/// Seconds that a state is good for: a person reads and answers a form meanwhile.
pub const SEAL_SECONDS: u64 = 900;
/// Bytes of a sealed text that are looked at; ours are much shorter.
const SEALED_BYTES_MAX: usize = 16 * 1024;
/// Bytes of an HMAC-SHA256.
const MAC_BYTES: usize = 32;
/// Bytes of the time before which a state is good.
const TIME_BYTES: usize = 8;

/// Makes and checks seals.
#[derive(Clone)]
pub struct Seal(Hmac<Sha256>);

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal(not shown)")
    }
}

/// Why a sealed text is not taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It was not made here, or for this.
    #[error("was changed, or belongs to another request")]
    Broken,
    /// It is too old.
    #[error("is older than {SEAL_SECONDS} seconds; make the request anew without it")]
    Expired,
}

impl Default for Seal {
    /// A seal whose key lives as long as the process.
    fn default() -> Self {
        let key = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
        Self::new(key.map(Uuid::into_bytes).as_flattened())
    }
}

impl Seal {
    /// A seal with this key.
    pub fn new(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).expect("a key of any length will do"))
    }

    fn mac(&self, binding: &str, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(&(binding.len() as u64).to_le_bytes());
        mac.update(binding.as_bytes());
        mac.update(body);
        mac
    }

    /// Seals a state for `binding`, at this second of the clock.
    pub fn close(&self, state: &[u8], binding: &str, now: u64) -> String {
        self.close_for(state, binding, now, SEAL_SECONDS)
    }

    /// The same for so many seconds.
    pub fn close_for(&self, state: &[u8], binding: &str, now: u64, seconds: u64) -> String {
        let mut sealed = (now + seconds).to_le_bytes().to_vec();
        sealed.extend_from_slice(state);
        let mac = self.mac(binding, &sealed).finalize().into_bytes();
        sealed.extend_from_slice(&mac);
        URL_SAFE_NO_PAD.encode(sealed)
    }

    /// The state in a sealed text, if it is whole, for this binding and not too old.
    pub fn open(&self, sealed: &str, binding: &str, now: u64) -> Result<Vec<u8>, SealError> {
        if sealed.len() > SEALED_BYTES_MAX {
            return Err(SealError::Broken);
        }
        let bytes = URL_SAFE_NO_PAD
            .decode(sealed)
            .map_err(|_| SealError::Broken)?;
        let end = bytes.len().checked_sub(MAC_BYTES);
        let (body, mac) = bytes.split_at(
            end.filter(|end| *end >= TIME_BYTES)
                .ok_or(SealError::Broken)?,
        );
        // In constant time.
        self.mac(binding, body)
            .verify_slice(mac)
            .map_err(|_| SealError::Broken)?;
        let (time, state) = body.split_at(TIME_BYTES);
        let until = time.try_into().map(u64::from_le_bytes);
        match until {
            Ok(until) if now <= until => Ok(state.to_vec()),
            _ => Err(SealError::Expired),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SEAL_SECONDS, Seal, SealError};

    #[test]
    fn a_state_comes_back_only_whole_in_time_and_to_its_own_request() {
        let seal = Seal::default();
        let sealed = seal.close(b"state", "a", 1_000);
        assert_eq!(seal.open(&sealed, "a", 1_000), Ok(b"state".to_vec()));
        assert_eq!(
            seal.open(&sealed, "a", 1_000 + SEAL_SECONDS),
            Ok(b"state".to_vec())
        );
        assert_eq!(
            seal.open(&sealed, "a", 1_001 + SEAL_SECONDS),
            Err(SealError::Expired)
        );
        assert_eq!(seal.open(&sealed, "b", 1_000), Err(SealError::Broken));
        assert_eq!(
            Seal::default().open(&sealed, "a", 1_000),
            Err(SealError::Broken)
        );
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(seal.open(&changed, "a", 1_000).is_err(), "{at}");
        }
        for broken in ["", "x", "!!!!", "AAAA", &"A".repeat(100_000)] {
            assert_eq!(seal.open(broken, "a", 1_000), Err(SealError::Broken));
        }
    }
}
