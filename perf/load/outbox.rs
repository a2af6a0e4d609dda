//! Frames that wait for the next write of one connection.

use std::io::{self, ErrorKind, Write};
use std::net::TcpStream;

use crate::frame;

/// One write carries everything that was queued since the last one.
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
    /// State of the generator of masking keys; the server is not to see the same key twice in a
    /// row, and nothing here needs them to be unpredictable.
    key: u32,
}

impl Outbox {
    pub(crate) fn new(seed: u32) -> Self {
        Self {
            bytes: Vec::new(),
            sent: 0,
            key: seed.wrapping_mul(0x9e37_79b9) | 1,
        }
    }

    /// Queues a text message.
    pub(crate) fn text(&mut self, message: &[u8]) {
        self.frame(frame::TEXT, message);
    }

    pub(crate) fn frame(&mut self, opcode: u8, payload: &[u8]) {
        // xorshift32
        self.key ^= self.key << 13;
        self.key ^= self.key >> 17;
        self.key ^= self.key << 5;
        frame::write(&mut self.bytes, opcode, payload, self.key.to_ne_bytes());
    }

    /// Queues a request head.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes what the socket takes. True if nothing is left.
    pub(crate) fn flush(&mut self, mut stream: &TcpStream) -> io::Result<bool> {
        while self.sent < self.bytes.len() {
            match stream.write(&self.bytes[self.sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.bytes.clear();
        self.sent = 0;
        Ok(true)
    }
}
