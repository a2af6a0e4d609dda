//! A WebSocket over which many requests are under way at once.

use std::collections::VecDeque;

use fastwebsockets::{Frame, OpCode, Payload};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::client::{Failure, open};
use super::work::Work;

/// Bytes of the longest head of a frame (RFC 6455, 5.2).
const HEAD_BYTES_MAX: usize = 16;
/// Room for one read: the answers to all that is under way on a connection. A read that stops at the first answer
/// would have the server send, and be measured, one by one.
const READ_BYTES: usize = 16 * 1024;
/// The opcode of a text.
const TEXT: u8 = 1;
/// A key that hides nothing: our own server on the loopback is spoken to.
const KEY: [u8; 4] = [0x5a, 0xa5, 0x3c, 0xc3];

/// One connection.
pub(super) struct Socket {
    stream: TokioIo<Upgraded>,
    number: u64,
    out: Vec<u8>,
    inbox: Vec<u8>,
    /// Requests so far.
    sent: u64,
    /// Ids of those under way.
    waiting: VecDeque<u64>,
}

fn lost(error: &dyn std::fmt::Display) -> Failure {
    Failure::Failed(format!("a connection was lost: {error}"))
}

impl Socket {
    /// Connects, and begins a session where the server is to take calls.
    pub(super) async fn connect(url: &str, number: u64, initialize: &str) -> Result<Self, Failure> {
        let stream = open(url, []).await?.into_inner();
        let mut socket = Self {
            stream,
            number,
            out: Vec::new(),
            inbox: Vec::new(),
            sent: 0,
            waiting: VecDeque::new(),
        };
        if !initialize.is_empty() {
            socket.write(initialize);
            socket.flush().await?;
            while socket.take()?.is_none() {
                socket.receive().await?;
            }
            socket.write(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        }
        Ok(socket)
    }

    /// Requests that this connection has sent.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Keeps `depth` requests under way until `goes_on` says no, then waits for the last; each answer is
    /// checked and `answered` told how many came.
    pub(super) async fn drive(
        &mut self,
        work: Work,
        depth: usize,
        goes_on: impl Fn() -> bool,
        answered: impl Fn(u64),
    ) -> Result<(), Failure> {
        loop {
            while self.waiting.len() < depth && goes_on() {
                let id = self.sent;
                self.write(&work.request(self.number, id));
                self.sent += 1;
                self.waiting.push_back(id);
            }
            if self.waiting.is_empty() {
                return Ok(());
            }
            self.flush().await?;
            self.receive().await?;
            let mut count = 0;
            while let Some(answer) = self.take()? {
                work.check(self.number, &answer, &mut self.waiting)?;
                count += 1;
            }
            answered(count);
        }
    }

    fn write(&mut self, text: &str) {
        let payload = Payload::Owned(text.as_bytes().to_vec());
        let mut frame = Frame::new(true, OpCode::Text, Some(KEY), payload);
        frame.mask();
        let mut head = [0; HEAD_BYTES_MAX];
        let head_bytes = frame.fmt_head(&mut head);
        self.out.extend_from_slice(&head[..head_bytes]);
        self.out.extend_from_slice(&frame.payload);
    }

    async fn flush(&mut self) -> Result<(), Failure> {
        if !self.out.is_empty() {
            let written = self.stream.write_all(&self.out).await;
            written.map_err(|error| lost(&error))?;
            self.out.clear();
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<(), Failure> {
        self.inbox.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.inbox).await {
            Ok(0) => Err(lost(&"the server closed it")),
            Ok(_) => Ok(()),
            Err(error) => Err(lost(&error)),
        }
    }

    /// The next message, if it is there as a whole. A ping is passed over: no run lasts until it counts.
    fn take(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        while let Some((opcode, head_bytes, end)) = frame(&self.inbox) {
            if end > self.inbox.len() {
                break;
            }
            let message = self.inbox[head_bytes..end].to_vec();
            self.inbox.drain(..end);
            match opcode {
                TEXT => return Ok(Some(message)),
                8 => {
                    return Err(lost(&String::from_utf8_lossy(
                        message.get(2..).unwrap_or_default(),
                    )));
                }
                _ => {}
            }
        }
        Ok(None)
    }
}

/// Opcode of the first frame of a server, bytes of its head and its end; `None` before its head is there.
/// Our server neither masks nor breaks messages up.
fn frame(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let &[first, second, ref rest @ ..] = bytes else {
        return None;
    };
    let (head_bytes, length) = match (second & 0x7f, rest) {
        (126, &[a, b, ..]) => (4, usize::from(u16::from_be_bytes([a, b]))),
        (127, rest) => {
            let length: [u8; 8] = rest.get(..8)?.try_into().ok()?;
            (10, usize::try_from(u64::from_be_bytes(length)).ok()?)
        }
        (126, _) => return None,
        (length, _) => (2, usize::from(length)),
    };
    Some((first & 0x0f, head_bytes, head_bytes.checked_add(length)?))
}

#[cfg(test)]
mod tests {
    use super::frame;

    #[test]
    fn heads_of_every_length_are_read_once_they_are_there() {
        assert_eq!(frame(&[0x81]), None);
        assert_eq!(frame(&[0x81, 5]), Some((1, 2, 7)));
        assert_eq!(frame(&[0x81, 126, 1]), None);
        assert_eq!(frame(&[0x81, 126, 1, 0]), Some((1, 4, 260)));
        assert_eq!(frame(&[0x81, 127, 0, 0, 0, 0, 0, 1, 0]), None);
        assert_eq!(
            frame(&[0x89, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
            Some((9, 10, 65_546))
        );
        assert_eq!(
            frame(&[0x81, 127, 255, 255, 255, 255, 255, 255, 255, 255]),
            None
        );
    }
}
