//! Frame heads (RFC 6455, 5.2): reading those of a client, writing those of the server.
//!
//! ```text
//!  byte 0            byte 1            0, 2 or 8 bytes    4 bytes
//! +---+---+---+---+-+-+-------------+------------------+-------------+
//! |FIN|R1 |R2 |R3 |opcode|M| length | extended length  | masking key |
//! +---+---+---+---+-+-+-------------+------------------+-------------+
//! ```
//! A client's head has 6 to 14 bytes, ours 2 to 10. Rules that depend on earlier frames are the decoder's.

use fastwebsockets::{Frame, OpCode, Payload};

use super::Violation;

/// The longest head of a client: two bytes, a 64-bit length and the masking key.
pub const CLIENT_HEAD_BYTES_MAX: usize = 14;
/// The longest head of a server.
pub const SERVER_HEAD_BYTES_MAX: usize = 10;
/// The longest payload of a control frame (RFC 6455, 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

/// The head fits payloads from 126 to 65,535 bytes, the usual answer of this server.
const RESERVED_BYTES: usize = 4;
const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const MASKED: u8 = 0x80;

/// The head of a client's frame, checked by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The last frame of its message.
    pub fin: bool,
    /// RSV1: this frame begins a compressed message.
    pub compressed: bool,
    /// Which kind of frame.
    pub opcode: OpCode,
    /// XORed over the payload.
    pub key: [u8; 4],
    /// The announced length; nothing may be allocated for it.
    pub payload_bytes: u64,
}

/// Whether frames of this opcode may stand between the fragments of a message.
pub fn is_control(opcode: OpCode) -> bool {
    matches!(opcode, OpCode::Close | OpCode::Ping | OpCode::Pong)
}

/// Reads a head from the front of `bytes`: the head and its length, or `None` while bytes are missing.
///
/// Bytes are judged in their order, so what a longer prefix is accused of does not depend on how it arrived.
/// `deflate` says that permessage-deflate was negotiated, which gives RSV1 its meaning.
#[inline]
pub fn parse(bytes: &[u8], deflate: bool) -> Result<Option<(Head, usize)>, Violation> {
    let Some(&first) = bytes.first() else {
        return Ok(None);
    };
    let opcode =
        OpCode::try_from(first & 0x0f).map_err(|_| Violation::ReservedOpcode(first & 0x0f))?;
    let control = is_control(opcode);
    let fin = first & FIN != 0;
    let compressed = first & RSV1 != 0;
    let rsv1_defined = deflate && matches!(opcode, OpCode::Text | OpCode::Binary);
    if first & 0x30 != 0 || (compressed && !rsv1_defined) {
        return Err(Violation::ReservedBits(first >> 4 & 7));
    }
    if control && !fin {
        return Err(Violation::FragmentedControl);
    }

    let Some(&second) = bytes.get(1) else {
        return Ok(None);
    };
    if second & MASKED == 0 {
        return Err(Violation::Unmasked);
    }
    let short = second & 0x7f;
    if control && usize::from(short) > CONTROL_BYTES_MAX {
        return Err(Violation::ControlTooLong);
    }
    let (payload_bytes, length_end, bytes_min) = match short {
        126 => match bytes.get(2..4) {
            Some(&[high, low]) => (u64::from(u16::from_be_bytes([high, low])), 4, 126),
            _ => return Ok(None),
        },
        127 => match bytes
            .get(2..10)
            .and_then(|length| length.first_chunk::<8>())
        {
            Some(&length) => (u64::from_be_bytes(length), 10, 1 << 16),
            None => return Ok(None),
        },
        short => (u64::from(short), 2, 0),
    };
    if payload_bytes >> 63 != 0 {
        return Err(Violation::LengthTopBit);
    }
    if payload_bytes < bytes_min {
        return Err(Violation::LengthNotMinimal(payload_bytes));
    }

    let Some(&key) = bytes
        .get(length_end..)
        .and_then(|rest| rest.first_chunk::<4>())
    else {
        return Ok(None);
    };
    Ok(Some((
        Head {
            fin,
            compressed,
            opcode,
            key,
            payload_bytes,
        },
        length_end + 4,
    )))
}

/// A frame whose payload is being written behind a reserved head; see [`begin`].
#[derive(Debug)]
#[must_use = "a frame that is not finished has no head"]
pub struct Mark {
    start: usize,
    opcode: OpCode,
}

/// Reserves the head of an unfragmented frame at the end of `out`.
///
/// Write the payload straight behind it, then call [`Mark::finish`]. What lies before stays untouched,
/// so a turn can stack many frames into one buffer and send them at once.
#[inline]
pub fn begin(out: &mut Vec<u8>, opcode: OpCode) -> Mark {
    let start = out.len();
    out.extend_from_slice(&[0; RESERVED_BYTES]);
    Mark { start, opcode }
}

/// Appends a whole unmasked frame.
pub fn write(out: &mut Vec<u8>, opcode: OpCode, payload: &[u8]) {
    let (head, head_bytes) = server_head(opcode, payload, false);
    out.reserve(head_bytes + payload.len());
    out.extend_from_slice(&head[..head_bytes]);
    out.extend_from_slice(payload);
}

impl Mark {
    /// Where the payload begins in the buffer.
    pub fn payload_start(&self) -> usize {
        self.start + RESERVED_BYTES
    }

    /// Which kind of frame was begun.
    pub fn opcode(&self) -> OpCode {
        self.opcode
    }

    /// Writes the head for everything behind it. The payload moves only if the reserved head does not fit:
    /// 125 bytes at most to the left, or a payload of 64 KiB and more to the right.
    #[inline]
    pub fn finish(self, out: &mut Vec<u8>) {
        self.finish_with(out, false);
    }

    /// Takes back the frame and its payload.
    pub fn abandon(self, out: &mut Vec<u8>) {
        out.truncate(self.start);
    }

    /// As [`Mark::finish`], with RSV1 if the payload is compressed.
    #[inline]
    pub(super) fn finish_with(self, out: &mut Vec<u8>, compressed: bool) {
        let payload_start = self.payload_start();
        let (head, head_bytes) = server_head(self.opcode, &out[payload_start..], compressed);
        let end = out.len();
        if head_bytes < RESERVED_BYTES {
            out.copy_within(payload_start.., self.start + head_bytes);
            out.truncate(end - (RESERVED_BYTES - head_bytes));
        } else if head_bytes > RESERVED_BYTES {
            let gap = head_bytes - RESERVED_BYTES;
            out.resize(end + gap, 0);
            out.copy_within(payload_start..end, payload_start + gap);
        }
        out[self.start..self.start + head_bytes].copy_from_slice(&head[..head_bytes]);
    }
}

/// The head of an unfragmented server frame and how many of its bytes count.
#[inline]
fn server_head(
    opcode: OpCode,
    payload: &[u8],
    compressed: bool,
) -> ([u8; SERVER_HEAD_BYTES_MAX], usize) {
    let mut head = [0; SERVER_HEAD_BYTES_MAX];
    let head_bytes = Frame::new(true, opcode, None, Payload::Borrowed(payload)).fmt_head(&mut head);
    if compressed {
        head[0] |= RSV1;
    }
    (head, head_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [1, 2, 3, 4];

    fn head(first: u8, second: u8, length: &[u8]) -> Vec<u8> {
        [&[first, second], length, &KEY].concat()
    }

    fn refused(bytes: &[u8]) -> Violation {
        parse(bytes, true).unwrap_err()
    }

    #[test]
    fn every_length_form_is_read_once_it_is_whole() {
        for (second, length, payload_bytes) in [
            (0x80, vec![], 0u64),
            (0x80 | 125, vec![], 125),
            (0x80 | 126, vec![0, 126], 126),
            (0x80 | 126, vec![0xff, 0xff], 65_535),
            (0x80 | 127, vec![0, 0, 0, 0, 0, 1, 0, 0], 65_536),
            (
                0x80 | 127,
                vec![0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
                u64::MAX >> 1,
            ),
        ] {
            let bytes = head(0x82, second, &length);
            for end in 0..bytes.len() {
                assert_eq!(parse(&bytes[..end], false), Ok(None));
            }
            let expected = Head {
                fin: true,
                compressed: false,
                opcode: OpCode::Binary,
                key: KEY,
                payload_bytes,
            };
            assert_eq!(parse(&bytes, false), Ok(Some((expected, bytes.len()))));
        }
    }

    #[test]
    fn a_length_in_more_bytes_than_needed_is_refused() {
        assert_eq!(
            refused(&head(0x82, 0x80 | 126, &[0, 125])),
            Violation::LengthNotMinimal(125)
        );
        assert_eq!(
            refused(&head(0x82, 0x80 | 127, &[0, 0, 0, 0, 0, 0, 0xff, 0xff])),
            Violation::LengthNotMinimal(65_535)
        );
    }

    #[test]
    fn the_top_bit_of_a_length_is_zero() {
        assert_eq!(
            refused(&head(0x82, 0x80 | 127, &[0x80, 0, 0, 0, 0, 0, 0, 0])),
            Violation::LengthTopBit
        );
    }

    #[test]
    fn reserved_opcodes_are_refused() {
        for opcode in (3..8).chain(11..16) {
            assert_eq!(refused(&[0x80 | opcode]), Violation::ReservedOpcode(opcode));
        }
    }

    #[test]
    fn reserved_bits_are_refused_unless_rsv1_begins_a_compressed_message() {
        for (first, bits) in [
            (0x92, 1),
            (0xa2, 2),
            (0xb2, 3),
            (0xc0, 4),
            (0xc9, 4),
            (0xf1, 7),
        ] {
            assert_eq!(refused(&[first]), Violation::ReservedBits(bits));
        }
        assert_eq!(parse(&[0xc1], false), Err(Violation::ReservedBits(4)));
        assert!(
            parse(&head(0xc1, 0x80, &[]), true)
                .unwrap()
                .unwrap()
                .0
                .compressed
        );
    }

    #[test]
    fn control_frames_are_short_and_whole() {
        assert_eq!(refused(&[0x09]), Violation::FragmentedControl);
        assert_eq!(refused(&[0x89, 0x80 | 126]), Violation::ControlTooLong);
        assert_eq!(refused(&[0x88, 0x80 | 127]), Violation::ControlTooLong);
    }

    #[test]
    fn a_client_that_does_not_mask_is_refused() {
        assert_eq!(refused(&[0x81, 5]), Violation::Unmasked);
    }

    #[test]
    fn a_reserved_head_ends_right_sized_whatever_was_written() {
        for payload_bytes in [0, 1, 125, 126, 127, 65_535, 65_536, 100_000] {
            let payload: Vec<u8> = (0..payload_bytes).map(|i| i as u8).collect();
            let mut whole = b"before".to_vec();
            write(&mut whole, OpCode::Binary, &payload);

            let mut out = b"before".to_vec();
            let mark = begin(&mut out, OpCode::Binary);
            out.extend_from_slice(&payload);
            mark.finish(&mut out);
            assert_eq!(out, whole, "{payload_bytes}");

            let head_bytes = match payload_bytes {
                0..126 => 2,
                126..65_536 => 4,
                _ => 10,
            };
            assert_eq!(out.len(), 6 + head_bytes + payload_bytes);
        }
    }

    #[test]
    fn an_abandoned_frame_leaves_nothing() {
        let mut out = b"before".to_vec();
        let mark = begin(&mut out, OpCode::Text);
        out.extend_from_slice(b"half an ans");
        mark.abandon(&mut out);
        assert_eq!(out, b"before");
    }
}
