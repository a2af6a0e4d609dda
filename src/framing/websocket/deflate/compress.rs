//! Compressing the server's messages, where it makes them shorter.

use fastwebsockets::OpCode;
use flate2::{Compress, Compression, FlushCompress, Status};

use super::Params;
use crate::framing::websocket::Pool;
use crate::framing::websocket::frame::{self, Mark};

/// Ends every synchronised stream and is not sent (RFC 7692, 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// A compressor of one level and window; every message starts it afresh.
#[derive(Debug)]
pub struct Deflater {
    inner: Compress,
    level: u8,
    window_bits: u8,
}

impl Deflater {
    /// Allocates it; [`Pool::take_deflater`] does so only when none is idle.
    pub fn new(params: Params) -> Self {
        let level = Compression::new(params.level.into());
        Self {
            inner: Compress::new_with_window_bits(level, false, params.server_window_bits),
            level: params.level,
            window_bits: params.server_window_bits,
        }
    }

    /// Whether it compresses as `params` asks.
    pub fn fits(&self, params: Params) -> bool {
        (self.level, self.window_bits) == (params.level, params.server_window_bits)
    }

    /// Appends `payload` as one frame, compressed if that is shorter. It needs no pool and no connection: big
    /// messages may be compressed on another thread.
    pub fn write(&mut self, opcode: OpCode, payload: &[u8], out: &mut Vec<u8>) {
        let mark = frame::begin(out, opcode);
        if self.compress(payload, out) {
            mark.finish_with(out, true);
        } else {
            mark.abandon(out);
            frame::write(out, opcode, payload);
        }
    }

    /// Appends the compressed payload and says so, or stops once it is not shorter; then what lies behind
    /// the old end of `out` means nothing.
    pub(super) fn compress(&mut self, payload: &[u8], out: &mut Vec<u8>) -> bool {
        self.inner.reset();
        let start = out.len();
        // The tail is made before it is cut. A flush that fills the buffer may be unfinished, but one that
        // fills it made nothing shorter.
        out.reserve(payload.len() + TAIL.len() + 1);
        loop {
            let taken = self.inner.total_in() as usize;
            let status = self
                .inner
                .compress_vec(&payload[taken..], out, FlushCompress::Sync);
            if out.len() - start >= payload.len() + TAIL.len() {
                return false;
            }
            match status {
                Ok(Status::Ok) if self.inner.total_in() as usize == payload.len() => break,
                Ok(Status::Ok) => {}
                Ok(Status::BufError | Status::StreamEnd) | Err(_) => return false,
            }
        }
        if !out.ends_with(&TAIL) {
            return false;
        }
        out.truncate(out.len() - TAIL.len());
        true
    }
}

/// Appends `payload` as one frame, compressed if the connection agreed to it, it reaches the threshold and
/// becomes shorter.
pub fn write(
    out: &mut Vec<u8>,
    opcode: OpCode,
    payload: &[u8],
    params: Option<Params>,
    pool: &mut Pool,
) {
    match params {
        Some(params) if payload.len() >= params.threshold_bytes as usize => {
            let mark = frame::begin(out, opcode);
            if pack(payload, params, pool, out) {
                mark.finish_with(out, true);
            } else {
                mark.abandon(out);
                frame::write(out, opcode, payload);
            }
        }
        _ => frame::write(out, opcode, payload),
    }
}

/// As [`Mark::finish`] for an answer that was written behind its reserved head, compressing it like [`write()`].
pub fn finish(mark: Mark, out: &mut Vec<u8>, params: Option<Params>, pool: &mut Pool) {
    let payload_start = mark.payload_start();
    let payload_bytes = out.len() - payload_start;
    let Some(params) = params.filter(|params| payload_bytes >= params.threshold_bytes as usize)
    else {
        return mark.finish(out);
    };
    let mut packed = std::mem::take(&mut pool.packed);
    packed.clear();
    let shorter = pack(&out[payload_start..], params, pool, &mut packed);
    if shorter {
        out.truncate(payload_start);
        out.extend_from_slice(&packed);
    }
    mark.finish_with(out, shorter);
    pool.keep_packed(packed);
}

/// Appends the compressed payload, with an end that was compressed before if there is one; otherwise, or if it
/// is not shorter, as [`Deflater::compress`].
fn pack(payload: &[u8], params: Params, pool: &mut Pool, out: &mut Vec<u8>) -> bool {
    let mut deflater = pool.take_deflater(params);
    let shorter =
        pool.endings.pack(payload, params, &mut deflater, out) || deflater.compress(payload, out);
    pool.return_deflater(deflater);
    shorter
}
