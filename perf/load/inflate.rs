//! permessage-deflate (RFC 7692) on the way in: each message was compressed by itself.

use flate2::{Decompress, FlushDecompress, Status};

/// What the upgrade offers; requests go uncompressed, as the extension allows.
pub(crate) const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; \
                                server_no_context_takeover; client_no_context_takeover\r\n";

/// What every compressed message ends with, and no sender sends (RFC 7692, 7.2.2).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// The text of a compressed message of at most `bytes_max` bytes.
pub(crate) fn inflate(payload: &[u8], bytes_max: usize) -> Result<Vec<u8>, String> {
    let mut stream = Decompress::new(false);
    let mut text = Vec::with_capacity((payload.len() * 4).min(bytes_max));
    for part in [payload, &TAIL] {
        let mut used = 0;
        loop {
            let before = stream.total_in();
            let status = stream
                .decompress_vec(&part[used..], &mut text, FlushDecompress::Sync)
                .map_err(|error| error.to_string())?;
            used += (stream.total_in() - before) as usize;
            let full = text.len() == text.capacity();
            if status == Status::StreamEnd || (used == part.len() && !full) {
                break;
            }
            if text.len() >= bytes_max || !full {
                return Err("a message too large, or no message".to_owned());
            }
            text.reserve(text.capacity().max(1));
        }
    }
    Ok(text)
}
