//! The decoder of one connection: a stream of bytes becomes messages and control frames (RFC 6455, 5.4 to 6.2).
//!
//! ```text
//!   whole frame in the input ------------------------> unmasked in place, borrowed from the input
//!   fragments, split frames, compressed -> Cold/Body -> borrowed from the decoder until the next call
//! ```
//! Invariants: it fits 64 bytes; `cold` is there only while a message or a control frame is incomplete or
//! lent out by the last event; after a close frame or a violation it takes bytes and says nothing.

use std::ops::Range;

use fastwebsockets::{OpCode, unmask};

use super::body::{Body, Message, check_announced};
use super::close::{self, Close};
use super::frame::{self, CLIENT_HEAD_BYTES_MAX, Head};
use super::{Pool, Violation};

/// What a peer said. Payloads are borrowed: from the input if they lay in it whole, else from the decoder.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// Wants a pong with the same payload.
    Ping(&'a [u8]),
    /// Answers a ping, or nothing.
    Pong(&'a [u8]),
    /// The last event of the connection.
    Close(Option<Close<'a>>),
}

/// Decodes what one client sends.
#[derive(Debug)]
pub struct Decoder {
    cold: Option<Box<Cold>>,
    message_bytes_max: usize,
    /// Bytes of the current frame's payload that did not arrive yet.
    payload_left: u64,
    /// Turned with every piece, so that its first byte belongs to the next byte of the payload.
    key: [u8; 4],
    /// The beginning of a head that was cut by the end of an input.
    head: [u8; CLIENT_HEAD_BYTES_MAX],
    head_bytes: u8,
    opcode: OpCode,
    fin: bool,
    compressed: bool,
    deflate: bool,
    state: State,
    /// The last event borrowed from `cold`.
    delivered: bool,
}

/// 10,000 idle connections share 20 MiB; the decoder takes 3 % of it.
const _: () = assert!(size_of::<Decoder>() <= 64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Payload,
    Closed,
}

/// What only incomplete messages and frames need.
#[derive(Debug, Default)]
struct Cold {
    message: Option<Message>,
    control: Vec<u8>,
}

/// What `advance` came to; it cannot return the borrow itself.
enum Found {
    Nothing,
    /// The payload of the current frame, whole in the input.
    InInput(Range<usize>),
    /// The payload of the current control frame, in `cold`.
    Control,
    /// The message in `cold`.
    Message,
}

impl Decoder {
    /// For a fresh connection. `message_bytes_max` bounds a message after inflating, `deflate` says whether
    /// permessage-deflate was agreed.
    pub fn new(message_bytes_max: usize, deflate: bool) -> Self {
        Self {
            cold: None,
            message_bytes_max,
            payload_left: 0,
            key: [0; 4],
            head: [0; CLIENT_HEAD_BYTES_MAX],
            head_bytes: 0,
            opcode: OpCode::Continuation,
            fin: false,
            compressed: false,
            deflate,
            state: State::Head,
            delivered: false,
        }
    }

    /// Whether nothing is incomplete: the connection may be parked or handed on.
    pub fn is_idle(&self) -> bool {
        self.cold.is_none() && self.state == State::Head && self.head_bytes == 0
    }

    /// Whether a close frame or a violation ended the decoding.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Reads on from `input[*consumed..]` up to the next event and moves `consumed` behind it.
    ///
    /// Call it until it returns `None`: then everything is consumed and the memory of the last event is back
    /// in the pool. The caller may also stop after any event, keep `input[*consumed..]` and continue later.
    /// What lies before `consumed` is unmasked or meaningless.
    ///
    /// # Errors
    /// The first rule that the peer broke; the connection is to be closed with [`Violation::close_code`].
    pub fn decode<'a>(
        &'a mut self,
        input: &'a mut [u8],
        consumed: &mut usize,
        pool: &mut Pool,
    ) -> Result<Option<Event<'a>>, Violation> {
        let found = match self.advance(input, consumed, pool) {
            Ok(found) => found,
            Err(violation) => {
                self.close();
                return Err(violation);
            }
        };
        let Self {
            cold,
            opcode,
            state,
            ..
        } = self;
        let payload: &[u8] = match found {
            Found::Nothing => return Ok(None),
            Found::InInput(range) => &input[range],
            Found::Control => cold.as_ref().map_or(&[], |cold| &cold.control),
            Found::Message => {
                return Ok(cold
                    .as_ref()
                    .and_then(|cold| cold.message.as_ref())
                    .map(|message| match &message.body {
                        Body::Text(utf8) => Event::Text(utf8.as_str()),
                        Body::Binary(bytes) => Event::Binary(bytes),
                    }));
            }
        };
        let event = match *opcode {
            OpCode::Text => match simdutf8::basic::from_utf8(payload) {
                Ok(text) => Ok(Event::Text(text)),
                Err(_) => Err(Violation::InvalidUtf8),
            },
            OpCode::Ping => Ok(Event::Ping(payload)),
            OpCode::Pong => Ok(Event::Pong(payload)),
            OpCode::Close => close::parse(payload).map(Event::Close),
            OpCode::Binary | OpCode::Continuation => Ok(Event::Binary(payload)),
        };
        if matches!(event, Err(_) | Ok(Event::Close(_))) {
            *state = State::Closed;
        }
        event.map(Some)
    }

    fn advance(
        &mut self,
        input: &mut [u8],
        consumed: &mut usize,
        pool: &mut Pool,
    ) -> Result<Found, Violation> {
        if self.delivered {
            self.release(pool);
        }
        loop {
            let found = match self.state {
                State::Head => match self.next_head(input, consumed)? {
                    Some(head) => {
                        self.begin_frame(head, pool)?;
                        continue;
                    }
                    None => Some(Found::Nothing),
                },
                State::Payload if frame::is_control(self.opcode) => {
                    Some(self.control_payload(input, consumed))
                }
                State::Payload => self.data_payload(input, consumed, pool)?,
                State::Closed => {
                    self.close();
                    *consumed = input.len();
                    Some(Found::Nothing)
                }
            };
            if let Some(found) = found {
                return Ok(found);
            }
        }
    }

    /// The next head, which may have begun in earlier inputs.
    fn next_head(&mut self, input: &[u8], consumed: &mut usize) -> Result<Option<Head>, Violation> {
        let rest = &input[*consumed..];
        let kept = usize::from(self.head_bytes);
        if kept == 0 {
            if let Some((head, head_bytes)) = frame::parse(rest, self.deflate)? {
                *consumed += head_bytes;
                return Ok(Some(head));
            }
            self.head[..rest.len()].copy_from_slice(rest);
            self.head_bytes = rest.len() as u8;
            *consumed = input.len();
            return Ok(None);
        }
        let added = rest.len().min(CLIENT_HEAD_BYTES_MAX - kept);
        self.head[kept..kept + added].copy_from_slice(&rest[..added]);
        if let Some((head, head_bytes)) = frame::parse(&self.head[..kept + added], self.deflate)? {
            *consumed += head_bytes - kept;
            self.head_bytes = 0;
            return Ok(Some(head));
        }
        self.head_bytes += added as u8;
        *consumed += added;
        Ok(None)
    }

    /// Applies the rules that depend on the frames before (RFC 6455, 5.4) and the bound.
    fn begin_frame(&mut self, head: Head, pool: &mut Pool) -> Result<(), Violation> {
        let message = self.cold.as_mut().and_then(|cold| cold.message.as_mut());
        match (head.opcode, message) {
            (OpCode::Close | OpCode::Ping | OpCode::Pong, _) => {}
            (OpCode::Continuation, None) => return Err(Violation::UnexpectedContinuation),
            (OpCode::Continuation, Some(message)) => {
                message.announce(head.payload_bytes, self.message_bytes_max)?
            }
            (OpCode::Text | OpCode::Binary, Some(_)) => return Err(Violation::UnfinishedMessage),
            (OpCode::Text | OpCode::Binary, None) => {
                check_announced(head.payload_bytes, head.compressed, self.message_bytes_max)?;
                if !head.fin {
                    self.begin_message(head.opcode, head.compressed, head.payload_bytes, pool)?;
                }
            }
        }
        self.payload_left = head.payload_bytes;
        self.key = head.key;
        self.opcode = head.opcode;
        self.fin = head.fin;
        self.compressed = head.compressed;
        self.state = State::Payload;
        Ok(())
    }

    fn begin_message(
        &mut self,
        opcode: OpCode,
        compressed: bool,
        payload_bytes: u64,
        pool: &mut Pool,
    ) -> Result<(), Violation> {
        let mut message = Message::new(opcode == OpCode::Text, compressed, pool);
        message.announce(payload_bytes, self.message_bytes_max)?;
        self.cold.get_or_insert_default().message = Some(message);
        Ok(())
    }

    /// Unmasks what `input` holds of the current payload and gives its place.
    fn next_piece(&mut self, input: &mut [u8], consumed: &mut usize) -> Range<usize> {
        let available = input.len() - *consumed;
        let bytes = usize::try_from(self.payload_left)
            .unwrap_or(usize::MAX)
            .min(available);
        let range = *consumed..*consumed + bytes;
        unmask(&mut input[range.clone()], self.key);
        self.key = u32::from_le_bytes(self.key)
            .rotate_right(8 * (bytes as u32 & 3))
            .to_le_bytes();
        self.payload_left -= bytes as u64;
        *consumed = range.end;
        range
    }

    fn control_payload(&mut self, input: &mut [u8], consumed: &mut usize) -> Found {
        let range = self.next_piece(input, consumed);
        let begun = self
            .cold
            .as_ref()
            .is_some_and(|cold| !cold.control.is_empty());
        if self.payload_left == 0 {
            self.state = State::Head;
            if !begun {
                return Found::InInput(range);
            }
        }
        if !range.is_empty() {
            self.cold
                .get_or_insert_default()
                .control
                .extend_from_slice(&input[range]);
        }
        if self.payload_left > 0 {
            return Found::Nothing;
        }
        self.delivered = true;
        Found::Control
    }

    fn data_payload(
        &mut self,
        input: &mut [u8],
        consumed: &mut usize,
        pool: &mut Pool,
    ) -> Result<Option<Found>, Violation> {
        let range = self.next_piece(input, consumed);
        let frame_ends = self.payload_left == 0;
        if frame_ends {
            self.state = State::Head;
        }
        let begun = self
            .cold
            .as_ref()
            .is_some_and(|cold| cold.message.is_some());
        if !begun {
            if frame_ends && !self.compressed {
                return Ok(Some(Found::InInput(range)));
            }
            if range.is_empty() && !frame_ends {
                return Ok(Some(Found::Nothing));
            }
            let payload_bytes = self.payload_left + range.len() as u64;
            self.begin_message(self.opcode, self.compressed, payload_bytes, pool)?;
        }
        let message_ends = frame_ends && self.fin;
        if let Some(message) = self.cold.as_mut().and_then(|cold| cold.message.as_mut()) {
            message.push(&input[range], message_ends, self.message_bytes_max, pool)?;
        }
        if message_ends {
            self.delivered = true;
            return Ok(Some(Found::Message));
        }
        Ok(if frame_ends {
            None
        } else {
            Some(Found::Nothing)
        })
    }

    /// Takes back the memory that the last event borrowed.
    fn release(&mut self, pool: &mut Pool) {
        self.delivered = false;
        let Some(cold) = &mut self.cold else { return };
        if frame::is_control(self.opcode) {
            cold.control = Vec::new();
        } else if let Some(message) = cold.message.take() {
            pool.return_buffer(message.into_buffer());
        }
        if cold.message.is_none() && cold.control.is_empty() {
            self.cold = None;
        }
    }

    fn close(&mut self) {
        self.state = State::Closed;
        self.cold = None;
        self.delivered = false;
    }
}

#[cfg(test)]
mod tests;
