//! Frames of RFC 6455 as a client sends them (masked) and receives them (unmasked, whole).

pub(crate) const TEXT: u8 = 1;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// A frame of the server, where it lies in the receive buffer.
pub(crate) struct Frame<'a> {
    pub(crate) opcode: u8,
    pub(crate) payload: &'a [u8],
    /// The first reserved bit (RFC 7692, 6).
    pub(crate) compressed: bool,
    /// Head and payload.
    pub(crate) bytes: usize,
}

/// Appends a masked frame (RFC 6455, 5.2).
pub(crate) fn write(out: &mut Vec<u8>, opcode: u8, payload: &[u8], key: [u8; 4]) {
    out.push(0x80 | opcode);
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&key);
    let start = out.len();
    out.extend_from_slice(payload);
    mask(&mut out[start..], key);
}

fn mask(payload: &mut [u8], key: [u8; 4]) {
    let word = u32::from_ne_bytes(key);
    let mut words = payload.chunks_exact_mut(4);
    for chunk in &mut words {
        let masked = u32::from_ne_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]) ^ word;
        chunk.copy_from_slice(&masked.to_ne_bytes());
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(key) {
        *byte ^= key;
    }
}

/// The frame at the beginning of `bytes`, if all of it is there. The server is ours: what it never
/// does (masking, fragments) is an error here, and what is compressed without an offer does not inflate.
pub(crate) fn read(bytes: &[u8]) -> Result<Option<Frame<'_>>, &'static str> {
    let &[first, second, ref rest @ ..] = bytes else {
        return Ok(None);
    };
    if first & 0xb0 != 0x80 {
        return Err("a fragment or a reserved bit");
    }
    if second & 0x80 != 0 {
        return Err("a masked frame from the server");
    }
    let (head, len) = match (second, rest) {
        (126, &[a, b, ..]) => (4, u64::from(u16::from_be_bytes([a, b]))),
        (127, &[a, b, c, d, e, f, g, h, ..]) => (10, u64::from_be_bytes([a, b, c, d, e, f, g, h])),
        (126 | 127, _) => return Ok(None),
        (len, _) => (2, u64::from(len)),
    };
    let Some(end) = usize::try_from(len)
        .ok()
        .and_then(|len| len.checked_add(head))
    else {
        return Err("a length beyond the address space");
    };
    Ok(bytes.get(head..end).map(|payload| Frame {
        opcode: first & 0x0f,
        payload,
        compressed: first & 0x40 != 0,
        bytes: end,
    }))
}
