//! The opening handshake (RFC 6455, 4.2): is this request an upgrade, may it be, and the 101 that answers it.
//!
//! The head is parsed already, by `httparse` on a shard or by `hyper`; both are a [`RequestHead`].

use std::fmt::Write as _;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use super::deflate::Params;

/// RFC 6455, 1.3: proves that the answer was meant for a WebSocket.
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A parsed request head.
pub trait RequestHead {
    /// The method as it was sent.
    fn method(&self) -> &str;
    /// Whether the version is HTTP/1.1 or later.
    fn is_http_1_1(&self) -> bool;
    /// Every field line in its order; names in any case.
    fn fields(&self) -> impl Iterator<Item = (&str, &[u8])>;
}

impl RequestHead for httparse::Request<'_, '_> {
    fn method(&self) -> &str {
        self.method.unwrap_or_default()
    }

    fn is_http_1_1(&self) -> bool {
        self.version == Some(1)
    }

    fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|field| (field.name, field.value))
    }
}

impl<B> RequestHead for http::Request<B> {
    fn method(&self) -> &str {
        http::Request::method(self).as_str()
    }

    fn is_http_1_1(&self) -> bool {
        self.version() >= http::Version::HTTP_11
    }

    fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
    }
}

/// Why an upgrade is answered with an error instead of 101.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 4.1, 2: upgrades are GET requests.
    #[error("a WebSocket opens with a GET request")]
    Method,
    /// 4.1, 2: HTTP/1.1 at least.
    #[error("a WebSocket opens with HTTP/1.1")]
    HttpVersion,
    /// 4.2.1, 2.
    #[error("the Host field is missing")]
    MissingHost,
    /// 4.2.1, 4: `Upgrade` works only with its connection option.
    #[error("the Connection field does not contain upgrade")]
    MissingConnection,
    /// 4.2.1, 5.
    #[error("the Sec-WebSocket-Key field is missing")]
    MissingKey,
    /// 4.2.1, 5: base64 of 16 bytes.
    #[error("Sec-WebSocket-Key is not the base64 form of 16 bytes")]
    InvalidKey,
    /// 4.2.1, 6 and 4.4.
    #[error("Sec-WebSocket-Version is not 13")]
    WebSocketVersion,
    /// A field that decides about the upgrade came twice, so two readers could decide differently.
    #[error("the {0} field is repeated")]
    Repeated(&'static str),
    /// Its bytes would be taken for frames.
    #[error("an upgrade request cannot have content")]
    Content,
}

impl Refusal {
    /// The HTTP status code.
    pub fn status(self) -> u16 {
        match self {
            Self::Method => 405,
            Self::HttpVersion => 505,
            Self::WebSocketVersion => 426,
            _ => 400,
        }
    }

    /// Fields that the status requires, besides `Connection`.
    pub fn fields(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Method => &[("Allow", "GET")],
            Self::WebSocketVersion => &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")],
            _ => &[],
        }
    }

    /// Appends a whole response that ends the connection.
    pub fn write_response(self, out: &mut Vec<u8>) {
        let phrase = match self.status() {
            405 => "Method Not Allowed",
            426 => "Upgrade Required",
            505 => "HTTP Version Not Supported",
            _ => "Bad Request",
        };
        let options = if self == Self::WebSocketVersion {
            "upgrade, close"
        } else {
            "close"
        };
        let sentence = self.to_string();
        let mut head = format!(
            "HTTP/1.1 {} {phrase}\r\nConnection: {options}\r\n",
            self.status()
        );
        for (name, value) in self.fields() {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let _ = write!(
            head,
            "Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\r\n{sentence}",
            sentence.len()
        );
        out.extend_from_slice(head.as_bytes());
    }
}

/// A request that may be answered by [`write_response`].
#[derive(Debug)]
pub struct Upgrade<'h, H> {
    head: &'h H,
    key: &'h str,
}

impl<'h, H: RequestHead> Upgrade<'h, H> {
    /// The key to answer: base64 of 16 bytes.
    pub fn key(&self) -> &'h str {
        self.key
    }

    /// The subprotocols offered, the most wanted first.
    pub fn subprotocols(&self) -> impl Iterator<Item = &'h str> + use<'h, H> {
        values(self.head, "sec-websocket-protocol").flat_map(tokens)
    }

    /// The `Sec-WebSocket-Extensions` values as they were sent; [`super::deflate::negotiate`] reads them.
    pub fn extensions(&self) -> impl Iterator<Item = &'h [u8]> + use<'h, H> {
        values(self.head, "sec-websocket-extensions")
    }
}

/// Judges a request: `None` is some other HTTP request, even one that asks for another protocol.
pub fn examine<H: RequestHead>(head: &H) -> Result<Option<Upgrade<'_, H>>, Refusal> {
    if !values(head, "upgrade")
        .flat_map(tokens)
        .any(|token| token.eq_ignore_ascii_case("websocket"))
    {
        return Ok(None);
    }
    if head.method() != "GET" {
        return Err(Refusal::Method);
    }
    if !head.is_http_1_1() {
        return Err(Refusal::HttpVersion);
    }
    single(head, "host", "Host")?.ok_or(Refusal::MissingHost)?;
    if !values(head, "connection")
        .flat_map(tokens)
        .any(|token| token.eq_ignore_ascii_case("upgrade"))
    {
        return Err(Refusal::MissingConnection);
    }
    let length = single(head, "content-length", "Content-Length")?;
    if length.is_some_and(|length| trim(length) != b"0")
        || values(head, "transfer-encoding").next().is_some()
    {
        return Err(Refusal::Content);
    }
    if single(head, "sec-websocket-version", "Sec-WebSocket-Version")?.map(trim) != Some(b"13") {
        return Err(Refusal::WebSocketVersion);
    }
    let key = single(head, "sec-websocket-key", "Sec-WebSocket-Key")?.ok_or(Refusal::MissingKey)?;
    let key = checked_key(trim(key)).ok_or(Refusal::InvalidKey)?;
    Ok(Some(Upgrade { head, key }))
}

/// Characters of [`accept`]: base64 of the 20 bytes of a SHA-1.
const ACCEPT_BYTES: usize = 28;

/// The `Sec-WebSocket-Accept` that answers a key (RFC 6455, 4.2.2).
pub fn accept(key: &str) -> [u8; ACCEPT_BYTES] {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(KEY_SUFFIX);
    let mut text = [0; ACCEPT_BYTES];
    let written = STANDARD.encode_slice(hash.finalize(), &mut text);
    debug_assert_eq!(written, Ok(ACCEPT_BYTES));
    text
}

/// Appends the 101. `subprotocol` must be one that the client offered.
pub fn write_response(
    out: &mut Vec<u8>,
    key: &str,
    subprotocol: Option<&str>,
    deflate: Option<&Params>,
) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
    );
    out.extend_from_slice(&accept(key));
    out.extend_from_slice(b"\r\n");
    // Writing to memory does not fail.
    if let Some(subprotocol) = subprotocol {
        let _ = write!(out, "Sec-WebSocket-Protocol: {subprotocol}\r\n");
    }
    if let Some(params) = deflate {
        let _ = write!(out, "Sec-WebSocket-Extensions: {params}\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

fn checked_key(key: &[u8]) -> Option<&str> {
    let mut nonce = [0; 18];
    let bytes = STANDARD.decode_slice(key, &mut nonce).ok()?;
    if bytes == 16 {
        std::str::from_utf8(key).ok()
    } else {
        None
    }
}

/// The values of every line of a field.
fn values<'h, H: RequestHead>(
    head: &'h H,
    name: &'static str,
) -> impl Iterator<Item = &'h [u8]> + use<'h, H> {
    head.fields()
        .filter(move |(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// The value of a field that may stand only once.
fn single<'h, H: RequestHead>(
    head: &'h H,
    name: &'static str,
    shown: &'static str,
) -> Result<Option<&'h [u8]>, Refusal> {
    let mut values = values(head, name);
    let first = values.next();
    if values.next().is_some() {
        Err(Refusal::Repeated(shown))
    } else {
        Ok(first)
    }
}

/// The elements of a comma list; empty ones are allowed and skipped (RFC 9110, 5.6.1).
fn tokens(value: &[u8]) -> impl Iterator<Item = &str> {
    value
        .split(|byte| *byte == b',')
        .map(trim)
        .filter(|token| !token.is_empty())
        .filter_map(|token| std::str::from_utf8(token).ok())
}

fn trim(value: &[u8]) -> &[u8] {
    let inside = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let Some(start) = value.iter().position(inside) else {
        return &[];
    };
    let end = value
        .iter()
        .rposition(inside)
        .map_or(start, |last| last + 1);
    &value[start..end]
}

#[cfg(test)]
mod tests;
