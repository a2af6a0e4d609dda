//! Frames, the handshake, and the envelope of a small call.

use std::hint::black_box;

use fastwebsockets::{Frame, Payload};
use tmws::framing::websocket::{Decoder, Event, OpCode, Pool, PoolLimits, frame, handshake};
use tmws::rpc::jsonrpc::{self, Message};

use super::Counter;
use super::dispatching::HEALTH;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const MESSAGE_BYTES_MAX: usize = 1 << 20;
const OPERATIONS: u64 = 2_000;
const REQUEST: &[u8] = b"GET /ws HTTP/1.1\r\nHost: localhost:8000\r\nUser-Agent: an agent\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Protocol: mcp\r\nX-Agent-ID: agent\r\n\r\n";
const HEADERS_MAX: usize = 64;

pub(crate) fn pool() -> Pool {
    Pool::new(PoolLimits {
        inflaters_max: 4,
        deflaters_max: 1,
        buffers_max: 4,
        buffer_bytes_max: 2 << 20,
    })
}

pub(crate) fn decoder() -> Decoder {
    Decoder::new(MESSAGE_BYTES_MAX, false)
}

/// A masked text frame.
pub(crate) fn client_frame(text: &str) -> Vec<u8> {
    let payload = Payload::Owned(text.as_bytes().to_vec());
    let mut frame = Frame::new(true, OpCode::Text, Some(KEY), payload);
    frame.mask();
    frame.write(&mut Vec::new()).to_vec()
}

pub(crate) fn count(counter: &Counter) {
    decode(counter);
    encode(counter);
    shake_hands(counter);
    counter.count("rpc/parse", OPERATIONS, || {
        for _ in 0..OPERATIONS {
            let message = jsonrpc::parse(black_box(HEALTH));
            assert!(matches!(message, Ok(Message::Request { .. })));
        }
    });
}

fn decode(counter: &Counter) {
    let frame = client_frame(HEALTH);
    let (mut input, mut decoder, mut pool) = (frame.clone(), decoder(), pool());
    counter.count("frame/decode", OPERATIONS, || {
        for _ in 0..OPERATIONS {
            // It is unmasked in place.
            input.copy_from_slice(&frame);
            let mut consumed = 0;
            match decoder.decode(black_box(&mut input), &mut consumed, &mut pool) {
                Ok(Some(Event::Text(text))) => assert_eq!(text.len(), HEALTH.len()),
                other => panic!("{other:?}"),
            }
        }
    });
}

fn encode(counter: &Counter) {
    let mut out = Vec::new();
    counter.count("frame/encode", OPERATIONS, || {
        for _ in 0..OPERATIONS {
            out.clear();
            let mark = frame::begin(&mut out, OpCode::Text);
            out.extend_from_slice(black_box(HEALTH).as_bytes());
            mark.finish(&mut out);
            assert_eq!(black_box(&out).len(), HEALTH.len() + 2);
        }
    });
}

fn shake_hands(counter: &Counter) {
    let mut out = Vec::new();
    counter.count("handshake", OPERATIONS, || {
        for _ in 0..OPERATIONS {
            let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
            let mut head = httparse::Request::new(&mut headers);
            assert!(
                head.parse(black_box(REQUEST))
                    .is_ok_and(|status| status.is_complete())
            );
            let upgrade = handshake::examine(&head)
                .ok()
                .flatten()
                .expect("an upgrade");
            let protocol = upgrade.subprotocols().next();
            out.clear();
            handshake::write_response(&mut out, upgrade.key(), protocol, None);
            assert!(black_box(&out).starts_with(b"HTTP/1.1 101 "));
        }
    });
}
