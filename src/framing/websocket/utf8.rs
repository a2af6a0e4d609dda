//! Text that arrives in pieces (RFC 6455, 8.1), valid at every moment.
//!
//! Invariant: `text` is UTF-8 and `carry` holds the first bytes of at most one code point that can still
//! become valid. Keeping a `String` spares a second pass at the end, and any `unsafe`.

use super::Violation;

/// A `String` in the making.
#[derive(Debug, Default)]
pub(super) struct Utf8 {
    text: String,
    carry: [u8; 4],
    carry_bytes: u8,
}

impl Utf8 {
    /// Begins in `buffer`, which is emptied; its memory is kept.
    pub(super) fn new(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self {
            text: String::from_utf8(buffer).unwrap_or_default(),
            ..Self::default()
        }
    }

    /// Bytes taken so far, those of an unfinished code point included.
    pub(super) fn len(&self) -> usize {
        self.text.len() + usize::from(self.carry_bytes)
    }

    /// Appends `bytes`, failing as soon as no continuation could make them valid.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), Violation> {
        while self.carry_bytes > 0 {
            let Some((&next, rest)) = bytes.split_first() else {
                return Ok(());
            };
            bytes = rest;
            self.carry[usize::from(self.carry_bytes)] = next;
            self.carry_bytes += 1;
            match std::str::from_utf8(&self.carry[..usize::from(self.carry_bytes)]) {
                Ok(character) => {
                    self.text.push_str(character);
                    self.carry_bytes = 0;
                }
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(Violation::InvalidUtf8),
            }
        }
        let (whole, tail) = bytes.split_at(bytes.len() - split_bytes(bytes));
        let whole = simdutf8::basic::from_utf8(whole).map_err(|_| Violation::InvalidUtf8)?;
        self.text.push_str(whole);
        // Some beginnings are hopeless already: ED A0 would be a surrogate, F4 90 beyond U+10FFFF.
        if std::str::from_utf8(tail).is_err_and(|error| error.error_len().is_some()) {
            return Err(Violation::InvalidUtf8);
        }
        self.carry[..tail.len()].copy_from_slice(tail);
        self.carry_bytes = tail.len() as u8;
        Ok(())
    }

    /// Whether the text ends with a whole code point.
    pub(super) fn is_complete(&self) -> bool {
        self.carry_bytes == 0
    }

    /// What is complete of the text.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// The memory, for another message.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.text.into_bytes()
    }
}

/// How many of the last bytes, 0 to 3, begin a code point that needs more bytes than there are.
fn split_bytes(bytes: &[u8]) -> usize {
    for (behind, &byte) in bytes.iter().rev().take(3).enumerate() {
        let needed = match byte {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => return 0,
        };
        return if needed > behind + 1 { behind + 1 } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pushed(pieces: &[&[u8]]) -> Result<String, Violation> {
        let mut utf8 = Utf8::default();
        for piece in pieces {
            utf8.push(piece)?;
        }
        if utf8.is_complete() {
            Ok(utf8.as_str().to_owned())
        } else {
            Err(Violation::InvalidUtf8)
        }
    }

    #[test]
    fn a_code_point_may_be_split_anywhere() {
        let text = "a\u{e9}\u{20ac}\u{1f600}z";
        for cut in 0..=text.len() {
            let (left, right) = text.as_bytes().split_at(cut);
            assert_eq!(pushed(&[left, right]).as_deref(), Ok(text));
        }
    }

    #[test]
    fn hopeless_beginnings_fail_before_they_are_complete() {
        for bytes in [
            &b"\xed\xa0"[..],
            b"\xf4\x90",
            b"\xe0\x80",
            b"\xf0\x80",
            b"\xc0",
            b"\xf5",
            b"\x80",
        ] {
            assert_eq!(
                Utf8::default().push(bytes),
                Err(Violation::InvalidUtf8),
                "{bytes:x?}"
            );
            let mut one_by_one = Utf8::default();
            let verdict = bytes.iter().try_for_each(|byte| one_by_one.push(&[*byte]));
            assert_eq!(verdict, Err(Violation::InvalidUtf8), "{bytes:x?}");
        }
    }

    #[test]
    fn a_truncated_end_is_not_complete() {
        assert_eq!(pushed(&[b"ok \xe2\x82"]), Err(Violation::InvalidUtf8));
    }

    proptest! {
        #[test]
        fn any_cut_judges_as_the_standard_library_does(
            bytes in prop_oneof![
                any::<String>().prop_map(String::into_bytes),
                proptest::collection::vec(any::<u8>(), 0..12),
                (any::<String>(), any::<u8>()).prop_map(|(text, byte)| [text.as_bytes(), &[byte]].concat()),
            ],
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..4),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            prop_assert_eq!(pushed(&pieces).ok(), String::from_utf8(bytes.clone()).ok());
        }
    }
}
