//! One connection of the load: connects, upgrades if it is a WebSocket, then hands out messages.

use std::io::{self, ErrorKind, Read};
use std::net::TcpStream;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use crate::http::Head;
use crate::outbox::{Outbox, Wrapping};
use crate::sources::{self, Sources};
use crate::target::{Target, Transport};
use crate::{frame, http, inflate};

const CONNECT_SECONDS_MAX: Duration = Duration::from_secs(10);

/// The largest compressed message that is read.
const INFLATED_BYTES_MAX: usize = 1 << 20;

/// Key and accept value of RFC 6455, 1.3: an honest server answers this key so.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=";

/// How connections are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dial {
    /// The subprotocol that is asked for.
    pub(crate) protocol: &'static str,
    /// Bytes that the kernel takes for a connection before it is read; none leaves that to the kernel.
    pub(crate) receive_bytes: Option<usize>,
    /// Where they come from.
    pub(crate) sources: Sources,
}

impl Dial {
    /// A client of MCP.
    pub(crate) const MCP: Self = Self {
        protocol: "mcp",
        receive_bytes: None,
        sources: Sources::ONE,
    };

    /// A client that takes deliveries.
    pub(crate) const PEER: Self = Self {
        protocol: "tmws.v1",
        receive_bytes: None,
        sources: Sources::ONE,
    };

    /// The same, from these addresses if the server can be reached from there.
    pub(crate) fn with_sources(self, sources: Sources, target: &Target) -> anyhow::Result<Self> {
        sources.check(target)?;
        Ok(Self { sources, ..self })
    }

    fn connect(self, target: &Target, number: u32) -> io::Result<TcpStream> {
        let address = target.address;
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if let Some(bytes) = self.receive_bytes {
            // Only before it connects: the window that TCP offers follows from it.
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(source) = self.sources.address(number) {
            socket.bind(&source.into()).map_err(sources::explained)?;
        }
        socket
            .connect_timeout(&address.into(), CONNECT_SECONDS_MAX)
            .map_err(sources::explained)?;
        Ok(socket.into())
    }
}

/// How a client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// It says so (1000), then closes.
    Closed,
    /// It closes without a word.
    Dropped,
    /// Its side forgets the connection: what is on its way is lost.
    Reset,
}

/// What happened on a connection.
pub(crate) enum Event<'a> {
    /// The upgrade is done.
    Open,
    /// A message.
    Text(&'a [u8]),
    /// A POST was taken note of, which has no answer.
    Accepted,
    /// Nothing follows.
    Closed(String),
}

/// How messages lie in what comes.
#[derive(Clone, Copy)]
enum Wire {
    /// The answer to the upgrade is to come.
    Upgrade,
    /// Frames.
    Frames,
    /// Responses to POSTs.
    Responses,
    /// Lines, which an echo sends back.
    Lines,
}

/// A connection, from its request head on.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) out: Outbox,
    /// The beginning of a frame whose rest is to come; empty, and then without memory, when idle.
    partial: Vec<u8>,
    wire: Wire,
    /// The poller reports when the socket takes more.
    pub(crate) waits_for_room: bool,
}

impl Connection {
    /// Connects and queues the request head; `headers` are whole lines. The number of a connection tells its
    /// source and its masks.
    pub(crate) fn begin(
        dial: Dial,
        target: &Target,
        headers: &str,
        number: u32,
    ) -> io::Result<Self> {
        let Target { address, path, .. } = target;
        let Dial { protocol, .. } = dial;
        let stream = dial.connect(target, number)?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let (wire, wrapping) = match target.transport {
            Transport::WebSocket => (Wire::Upgrade, Wrapping::frames(number)),
            Transport::Http => (Wire::Responses, Wrapping::Post(Head::new(target))),
            Transport::Rest => (Wire::Responses, Wrapping::None),
            Transport::Tcp => (Wire::Lines, Wrapping::Line),
        };
        let mut out = Outbox::new(wrapping);
        if matches!(wire, Wire::Upgrade) {
            out.raw(
                format!(
                    "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\n\
                     Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\
                     Sec-WebSocket-Protocol: {protocol}\r\n{headers}\r\n"
                )
                .as_bytes(),
            );
        }
        Ok(Self {
            stream,
            out,
            partial: Vec::new(),
            wire,
            waits_for_room: false,
        })
    }

    /// The end of it, as far as the client is concerned.
    pub(crate) fn leave(mut self, leaving: Leaving) -> io::Result<()> {
        match leaving {
            Leaving::Closed => {
                self.out.frame(frame::CLOSE, &1000_u16.to_be_bytes());
                self.out.flush(&self.stream)?;
            }
            Leaving::Dropped => {}
            Leaving::Reset => SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))?,
        }
        Ok(())
    }

    /// Whether an `Open` is to come.
    pub(crate) fn opening(&self) -> bool {
        matches!(self.wire, Wire::Upgrade)
    }

    /// Whether the peer can be told of an end.
    pub(crate) fn has_frames(&self) -> bool {
        matches!(self.wire, Wire::Upgrade | Wire::Frames)
    }

    /// Reads once through `buffer`, which all connections share, and reports what came. False when
    /// the connection has ended; the last event said why.
    pub(crate) fn receive(
        &mut self,
        buffer: &mut [u8],
        mut on: impl FnMut(Event<'_>, &mut Outbox),
    ) -> bool {
        let kept = self.partial.len();
        buffer[..kept].copy_from_slice(&self.partial);
        let end = match self.stream.read(&mut buffer[kept..]) {
            Ok(0) if kept == buffer.len() => {
                on(
                    Event::Closed("a message too large".to_owned()),
                    &mut self.out,
                );
                return false;
            }
            Ok(0) => {
                on(Event::Closed("end of stream".to_owned()), &mut self.out);
                return false;
            }
            Ok(count) => kept + count,
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                return true;
            }
            Err(error) => {
                on(Event::Closed(error.to_string()), &mut self.out);
                return false;
            }
        };
        match self.parse(&buffer[..end], &mut on) {
            Ok(used) if used == end => self.partial = Vec::new(),
            Ok(used) => {
                self.partial.clear();
                self.partial.extend_from_slice(&buffer[used..end]);
            }
            Err(reason) => {
                on(Event::Closed(reason), &mut self.out);
                return false;
            }
        }
        true
    }

    /// Reports all whole messages; returns the bytes that they took.
    fn parse(
        &mut self,
        bytes: &[u8],
        on: &mut impl FnMut(Event<'_>, &mut Outbox),
    ) -> Result<usize, String> {
        match self.wire {
            Wire::Upgrade => {
                let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
                    return Ok(0);
                };
                accept(&bytes[..head])?;
                self.wire = Wire::Frames;
                on(Event::Open, &mut self.out);
                let used = head + 4;
                Ok(used + self.frames(&bytes[used..], on)?)
            }
            Wire::Frames => self.frames(bytes, on),
            Wire::Responses => self.responses(bytes, on),
            Wire::Lines => {
                let mut used = 0;
                while let Some(length) = memchr::memchr(b'\n', &bytes[used..]) {
                    on(Event::Text(&bytes[used..used + length]), &mut self.out);
                    used += length + 1;
                }
                Ok(used)
            }
        }
    }

    fn frames(
        &mut self,
        bytes: &[u8],
        on: &mut impl FnMut(Event<'_>, &mut Outbox),
    ) -> Result<usize, String> {
        let mut used = 0;
        while let Some(frame) = frame::read(&bytes[used..])? {
            match frame.opcode {
                frame::TEXT if frame.compressed => {
                    let text = inflate::inflate(frame.payload, INFLATED_BYTES_MAX)?;
                    on(Event::Text(&text), &mut self.out);
                }
                frame::TEXT => on(Event::Text(frame.payload), &mut self.out),
                frame::PING => self.out.frame(frame::PONG, frame.payload),
                frame::PONG => {}
                frame::CLOSE => return Err(close_reason(frame.payload)),
                other => return Err(format!("a frame of opcode {other}")),
            }
            used += frame.bytes;
        }
        Ok(used)
    }

    fn responses(
        &mut self,
        bytes: &[u8],
        on: &mut impl FnMut(Event<'_>, &mut Outbox),
    ) -> Result<usize, String> {
        let mut used = 0;
        while let Some(response) = http::read(&bytes[used..])? {
            if let (Some(session), Wrapping::Post(head)) =
                (&response.session, &mut self.out.wrapping)
            {
                head.join(session);
            }
            match &response.message {
                Some(message) => on(Event::Text(message), &mut self.out),
                None => on(Event::Accepted, &mut self.out),
            }
            used += response.bytes;
        }
        Ok(used)
    }
}

fn accept(head: &[u8]) -> Result<(), String> {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 101 ") {
        return Err(format!("the upgrade was answered {status:?}"));
    }
    if !lines.any(|line| line.to_ascii_lowercase() == ACCEPT) {
        return Err("the upgrade was answered without its accept key".to_owned());
    }
    Ok(())
}

fn close_reason(payload: &[u8]) -> String {
    match payload {
        [a, b, reason @ ..] => format!(
            "closed with {} {}",
            u16::from_be_bytes([*a, *b]),
            String::from_utf8_lossy(reason)
        ),
        _ => "closed".to_owned(),
    }
}
