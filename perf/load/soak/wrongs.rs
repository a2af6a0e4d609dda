//! What peers do wrong, and what each of them has to see for it.

/// How the server has to end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// A close frame of this code.
    Close(u16),
    /// An error of JSON-RPC with this `data.code`; the connection lives on.
    Error(&'static str),
    /// A response of HTTP with this status.
    Status(u16),
    /// Nothing: the peer goes first, with a reset.
    Reset,
}

/// Something wrong that a peer sends.
pub(super) struct Wrong {
    pub(super) name: &'static str,
    /// Whether a handshake comes before it.
    pub(super) upgraded: bool,
    pub(super) bytes: Vec<u8>,
    pub(super) ending: Ending,
}

/// The handshake of a peer that does wrong afterwards; the server's host has been put into it.
pub(super) fn handshake(host: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

/// Depth beyond the limit of the server.
const TOO_DEEP: usize = 70;
/// Bytes of a request head beyond the limit of the server.
const HEAD_BYTES_TOO_MANY: usize = 20 << 10;

/// Everything that is tried.
pub(super) fn all(host: &str) -> Vec<Wrong> {
    let mut all = Vec::new();
    frames(&mut all);
    messages(&mut all);
    requests(host, &mut all);
    all
}

fn frames(all: &mut Vec<Wrong>) {
    use Ending::{Close, Reset};
    for (name, bytes, ending) in [
        ("not masked", &b"\x81\x02hi"[..], Close(1002)),
        ("reserved bit", b"\xc1\x80\0\0\0\0", Close(1002)),
        ("reserved opcode", b"\x83\x80\0\0\0\0", Close(1002)),
        ("stray continuation", b"\x80\x80\0\0\0\0", Close(1002)),
        ("fragmented ping", b"\x09\x80\0\0\0\0", Close(1002)),
        ("long ping", b"\x89\xfe\0\x7e\0\0\0\0", Close(1002)),
        (
            "oversized",
            b"\x81\xff\0\0\0\0\0\x20\0\0\0\0\0\0",
            Close(1009),
        ),
        (
            "64 bits of length",
            b"\x81\xff\x80\0\0\0\0\0\0\0\0\0\0\0",
            Close(1002),
        ),
        ("not UTF-8", b"\x81\x82\0\0\0\0\xc3\x28", Close(1007)),
        ("binary", b"\x82\x82\0\0\0\0hi", Close(1003)),
        ("close of one byte", b"\x88\x81\0\0\0\0\x03", Close(1002)),
        ("close with 1005", b"\x88\x82\0\0\0\0\x03\xed", Close(1002)),
        ("half a frame", b"\x81\xfe\x04\0\0\0\0\0half", Reset),
        ("half a message", b"\x01\x84\0\0\0\0half", Reset),
    ] {
        all.push(Wrong {
            name,
            upgraded: true,
            bytes: bytes.into(),
            ending,
        });
    }
}

fn messages(all: &mut Vec<Wrong>) {
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{}1{}}}"#,
        "[".repeat(TOO_DEEP),
        "]".repeat(TOO_DEEP)
    );
    for (name, text, code) in [
        ("no JSON", "{", "INVALID_JSON"),
        ("no request", "{}", "INVALID_MESSAGE_FORMAT"),
        ("a number", "7", "INVALID_MESSAGE_FORMAT"),
        (
            "id null",
            r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
            "INVALID_MESSAGE_ID",
        ),
        ("too deep", deep.as_str(), "INVALID_MESSAGE_FORMAT"),
        (
            "no such method",
            r#"{"jsonrpc":"2.0","id":1,"method":"no/such"}"#,
            "METHOD_NOT_FOUND",
        ),
        (
            "wrong arguments",
            r#"{"jsonrpc":"2.0","id":1,"method":"memory/create","params":{"content":7}}"#,
            "INVALID_ARGUMENTS",
        ),
        (
            "nothing there",
            r#"{"jsonrpc":"2.0","id":1,"method":"memory/get","params":{"id":"00000000-0000-7000-8000-000000000000"}}"#,
            "NOT_FOUND",
        ),
    ] {
        let mut bytes = Vec::new();
        crate::frame::write(&mut bytes, crate::frame::TEXT, text.as_bytes(), *b"mask");
        all.push(Wrong {
            name,
            upgraded: true,
            bytes,
            ending: Ending::Error(code),
        });
    }
}

fn requests(host: &str, all: &mut Vec<Wrong>) {
    use Ending::{Reset, Status};
    let long = format!(
        "GET /health HTTP/1.1\r\nHost: {host}\r\nX-Long: {}\r\n\r\n",
        "x".repeat(HEAD_BYTES_TOO_MANY)
    );
    let post = |body: &str, length: usize| {
        format!(
            "POST /mcp HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nAccept: application/json, \
             text/event-stream\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    let handshake = handshake(host);
    for (name, text, ending) in [
        ("no HTTP", "nonsense\r\n\r\n".to_owned(), Status(400)),
        ("head too long", long, Status(431)),
        (
            "another host",
            handshake.replace(host, "elsewhere.example"),
            Status(403),
        ),
        (
            "old version",
            handshake.replace("Version: 13", "Version: 12"),
            Status(426),
        ),
        (
            "short key",
            handshake.replace("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="),
            Status(400),
        ),
        (
            "no such path",
            handshake.replace("/ws", "/nothing"),
            Status(404),
        ),
        ("POST of no JSON", post("{", 1), Status(400)),
        ("POST too large", post("", 32 << 20), Status(413)),
        ("half a head", handshake[..60].to_owned(), Reset),
        ("half a body", post("{", 1_000), Reset),
        ("nothing at all", String::new(), Reset),
    ] {
        all.push(Wrong {
            name,
            upgraded: false,
            bytes: text.into_bytes(),
            ending,
        });
    }
}
