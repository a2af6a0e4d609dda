//! Messages that wait for the next write of one connection.

use std::io::{self, ErrorKind, Write};
use std::net::TcpStream;

use crate::frame;
use crate::http::Head;

/// How a message becomes bytes.
pub(crate) enum Wrapping {
    /// A masked frame, with the state of the generator of masks: the server is not to see the same
    /// one twice in a row, and nothing here needs them to be unpredictable.
    Frame(u32),
    /// A POST.
    Post(Head),
    /// As it is: a whole request.
    None,
    /// A line, for an echo of bytes.
    Line,
}

impl Wrapping {
    /// Frames whose masks differ from connection to connection.
    pub(crate) fn frames(seed: u32) -> Self {
        Self::Frame(seed.wrapping_mul(0x9e37_79b9) | 1)
    }
}

/// One write carries everything that was queued since the last one.
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
    pub(crate) wrapping: Wrapping,
}

impl Outbox {
    pub(crate) fn new(wrapping: Wrapping) -> Self {
        Self {
            bytes: Vec::new(),
            sent: 0,
            wrapping,
        }
    }

    /// Queues a message.
    pub(crate) fn text(&mut self, message: &[u8]) {
        match &self.wrapping {
            Wrapping::Frame(_) => self.frame(frame::TEXT, message),
            Wrapping::Post(head) => head.write(&mut self.bytes, message),
            Wrapping::None => self.bytes.extend_from_slice(message),
            Wrapping::Line => {
                self.bytes.extend_from_slice(message);
                self.bytes.push(b'\n');
            }
        }
    }

    /// Queues a frame; no other wrapping has any.
    pub(crate) fn frame(&mut self, opcode: u8, payload: &[u8]) {
        let Wrapping::Frame(key) = &mut self.wrapping else {
            return;
        };
        // xorshift32
        *key ^= *key << 13;
        *key ^= *key >> 17;
        *key ^= *key << 5;
        frame::write(&mut self.bytes, opcode, payload, key.to_ne_bytes());
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
