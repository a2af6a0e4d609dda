//! Close frames (RFC 6455, 5.5.1 and 7.4): which codes may travel, reading and writing the payload.

use fastwebsockets::{CloseCode, OpCode};

use super::{Violation, frame};

/// What remains of the 125 bytes of a control frame after the code.
pub const REASON_BYTES_MAX: usize = 123;

/// The payload of a close frame that has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close<'a> {
    /// A code for which [`may_travel`] holds.
    pub code: u16,
    /// Words for a log; may be empty.
    pub reason: &'a str,
}

/// Whether a peer may send this code. 1005, 1006 and 1015 only stand for what happened locally.
pub fn may_travel(code: u16) -> bool {
    // IANA registered 1014 (bad gateway) after the table in fastwebsockets was made.
    code == 1014 || CloseCode::from(code).is_allowed()
}

/// Reads the unmasked payload of a close frame; an empty one is legal and says nothing.
pub fn parse(payload: &[u8]) -> Result<Option<Close<'_>>, Violation> {
    let (code, reason) = match payload {
        [] => return Ok(None),
        [_] => return Err(Violation::CloseTooShort),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    if !may_travel(code) {
        return Err(Violation::CloseCode(code));
    }
    let reason = std::str::from_utf8(reason).map_err(|_| Violation::InvalidUtf8)?;
    Ok(Some(Close { code, reason }))
}

/// Appends a close frame; a reason over [`REASON_BYTES_MAX`] is cut between two characters.
///
/// A code that must not travel is answered by an empty close frame: an echo of 1005 is exactly that.
pub fn write(out: &mut Vec<u8>, code: u16, reason: &str) {
    let mark = frame::begin(out, OpCode::Close);
    if may_travel(code) {
        out.extend_from_slice(&code.to_be_bytes());
        let end = reason.floor_char_boundary(REASON_BYTES_MAX);
        out.extend_from_slice(&reason.as_bytes()[..end]);
    }
    mark.finish(out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_may_travel_are_those_of_rfc_6455_and_iana() {
        let allowed = |code: u16| matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        for code in 0..=u16::MAX {
            assert_eq!(may_travel(code), allowed(code), "{code}");
        }
    }

    #[test]
    fn a_payload_of_one_byte_is_refused() {
        assert_eq!(parse(&[3]), Err(Violation::CloseTooShort));
        assert_eq!(parse(&[]), Ok(None));
    }

    #[test]
    fn a_reason_must_be_utf8() {
        assert_eq!(parse(b"\x03\xe8\xff"), Err(Violation::InvalidUtf8));
        assert_eq!(
            parse(b"\x03\xe8bye"),
            Ok(Some(Close {
                code: 1000,
                reason: "bye"
            }))
        );
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let mut out = Vec::new();
        write(&mut out, 1011, &"\u{20ac}".repeat(60));
        assert_eq!(out[..2], [0x88, 125]);
        assert_eq!(
            parse(&out[2..]).unwrap().unwrap().reason,
            "\u{20ac}".repeat(41)
        );

        out.clear();
        write(&mut out, 1011, &format!("x{}", "\u{20ac}".repeat(60)));
        assert_eq!(out[1], 2 + 1 + 40 * 3);
        assert_eq!(
            parse(&out[2..]).unwrap().unwrap().reason,
            format!("x{}", "\u{20ac}".repeat(40))
        );
    }

    #[test]
    fn a_code_that_must_not_travel_leaves_the_frame_empty() {
        let mut out = Vec::new();
        write(&mut out, 1005, "nothing was said");
        assert_eq!(out, [0x88, 0]);
    }
}
