//! The WebSocket codec: what a message costs between the bytes of a socket and the event, and back.
//!
//! Decoding happens in place, so each round first copies the frame into the input, as the kernel does into a
//! provided buffer; `framing/copy` measures that copy alone. Every bench verifies its answer once per size.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use fastwebsockets::{Frame, Payload};
use tmws::framing::websocket::deflate::{self, Params};
use tmws::framing::websocket::{Decoder, Event, OpCode, Pool, PoolLimits, frame};

const SIZES: [(&str, usize); 5] = [
    ("16B", 16),
    ("256B", 256),
    ("4KiB", 4 << 10),
    ("64KiB", 64 << 10),
    ("1MiB", 1 << 20),
];
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// The size of a provided buffer.
const CHUNK_BYTES: usize = 4096;
const PARAMS: Params = Params {
    level: 6,
    server_window_bits: 10,
    threshold_bytes: 1024,
};

/// Everything in `framing/`.
pub(crate) fn codec(c: &mut Criterion) {
    copy(c);
    unmask(c);
    decode_text(c);
    decode_chunks(c);
    encode_head(c);
    deflate(c);
    inflate(c);
}

fn pool() -> Pool {
    Pool::new(PoolLimits {
        inflaters_max: 4,
        deflaters_max: 1,
        buffers_max: 4,
        buffer_bytes_max: 2 << 20,
    })
}

/// JSON as the server's answers look: keys repeat, values do not.
fn json(bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 128);
    for id in 0u32.. {
        if text.len() >= bytes {
            break;
        }
        let word = id.wrapping_mul(2_654_435_761);
        text.push_str(&format!(
            "{{\"id\":{id},\"content\":\"memory {word:08x} of agent {}\",\"tags\":[\"t{}\"]}},",
            word % 97,
            id % 13
        ));
    }
    text.truncate(bytes);
    text
}

fn client_frame(opcode: OpCode, payload: &[u8], compressed: bool) -> Vec<u8> {
    let mut frame = Frame::new(true, opcode, Some(KEY), Payload::Owned(payload.to_vec()));
    frame.mask();
    let mut buffer = Vec::new();
    let mut bytes = frame.write(&mut buffer).to_vec();
    if compressed {
        bytes[0] |= 0x40;
    }
    bytes
}

/// Decodes `input` in chunks and returns the length of the one text that it holds.
fn decoded(decoder: &mut Decoder, input: &mut [u8], chunk_bytes: usize, pool: &mut Pool) -> usize {
    let mut text_bytes = 0;
    for chunk in input.chunks_mut(chunk_bytes) {
        let mut consumed = 0;
        while let Some(event) = decoder
            .decode(chunk, &mut consumed, pool)
            .expect("a legal stream")
        {
            let Event::Text(text) = event else {
                panic!("{event:?}")
            };
            text_bytes += black_box(text).len();
        }
    }
    text_bytes
}

fn copy(c: &mut Criterion) {
    let mut group = c.benchmark_group("framing/copy");
    for (name, bytes) in SIZES {
        let frame = client_frame(OpCode::Text, json(bytes).as_bytes(), false);
        let mut input = frame.clone();
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(name, |b| {
            b.iter(|| black_box(&mut input).copy_from_slice(black_box(&frame)))
        });
    }
}

fn unmask(c: &mut Criterion) {
    let mut group = c.benchmark_group("framing/unmask");
    for (name, bytes) in SIZES {
        let text = json(bytes);
        let mut payload =
            client_frame(OpCode::Text, text.as_bytes(), false).split_off(match bytes {
                0..126 => 6,
                126..65_536 => 8,
                _ => 14,
            });
        fastwebsockets::unmask(&mut payload, KEY);
        assert_eq!(payload, text.as_bytes());
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(name, |b| {
            b.iter(|| fastwebsockets::unmask(black_box(&mut payload), KEY))
        });
    }
}

/// The message lies whole in the input.
fn decode_text(c: &mut Criterion) {
    let mut group = c.benchmark_group("framing/decode_text");
    for (name, bytes) in SIZES {
        let frame = client_frame(OpCode::Text, json(bytes).as_bytes(), false);
        let (mut input, mut pool) = (frame.clone(), pool());
        let mut decoder = Decoder::new(MESSAGE_BYTES_MAX, false);
        let mut round = || {
            input.copy_from_slice(&frame);
            decoded(&mut decoder, &mut input, usize::MAX, &mut pool)
        };
        assert_eq!(round(), bytes);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(name, |b| b.iter(&mut round));
    }
}

/// The message arrives in provided buffers and is reassembled.
fn decode_chunks(c: &mut Criterion) {
    let mut group = c.benchmark_group("framing/decode_chunks");
    for (name, bytes) in &SIZES[2..] {
        let frame = client_frame(OpCode::Text, json(*bytes).as_bytes(), false);
        let (mut input, mut pool) = (frame.clone(), pool());
        let mut decoder = Decoder::new(MESSAGE_BYTES_MAX, false);
        let mut round = || {
            input.copy_from_slice(&frame);
            decoded(&mut decoder, &mut input, CHUNK_BYTES, &mut pool)
        };
        assert_eq!(round(), *bytes);
        group.throughput(Throughput::Bytes(*bytes as u64));
        group.bench_function(*name, |b| b.iter(&mut round));
    }
}

/// Reserving and patching a head; the payload is there already and is moved or not.
fn encode_head(c: &mut Criterion) {
    let mut group = c.benchmark_group("framing/encode_head");
    for (name, bytes) in SIZES {
        let payload = json(bytes);
        let mut out = Vec::with_capacity(bytes + frame::SERVER_HEAD_BYTES_MAX);
        let mut round = || {
            out.clear();
            let mark = frame::begin(&mut out, OpCode::Text);
            out.extend_from_slice(payload.as_bytes());
            mark.finish(&mut out);
            black_box(&out).len()
        };
        assert_eq!(
            round(),
            bytes
                + match bytes {
                    0..126 => 2,
                    126..65_536 => 4,
                    _ => 10,
                }
        );
        group.bench_function(name, |b| b.iter(&mut round));
    }
}

fn compressed_frame(payload: &[u8], pool: &mut Pool) -> Vec<u8> {
    let mut out = Vec::new();
    deflate::write(&mut out, OpCode::Text, payload, Some(PARAMS), pool);
    out
}

fn deflate(c: &mut Criterion) {
    let mut group = c.benchmark_group("framing/deflate");
    for (name, bytes) in [
        ("1KiB", 1 << 10),
        ("16KiB", 16 << 10),
        ("256KiB", 256 << 10),
    ] {
        let (payload, mut pool, mut out) = (json(bytes), pool(), Vec::new());
        let mut round = || {
            out.clear();
            deflate::write(
                &mut out,
                OpCode::Text,
                payload.as_bytes(),
                Some(PARAMS),
                &mut pool,
            );
            out.len()
        };
        assert!(round() < bytes);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_with_input(BenchmarkId::from_parameter(name), &(), |b, ()| {
            b.iter(&mut round)
        });
    }
}

fn inflate(c: &mut Criterion) {
    let mut group = c.benchmark_group("framing/inflate");
    for (name, bytes) in [
        ("1KiB", 1 << 10),
        ("16KiB", 16 << 10),
        ("256KiB", 256 << 10),
    ] {
        let mut pool = pool();
        let server = compressed_frame(json(bytes).as_bytes(), &mut pool);
        assert_eq!(server[0], 0xc1);
        let head_bytes = match server[1] {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        let frame = client_frame(OpCode::Text, &server[head_bytes..], true);
        let mut input = frame.clone();
        let mut decoder = Decoder::new(MESSAGE_BYTES_MAX, true);
        let mut round = || {
            input.copy_from_slice(&frame);
            decoded(&mut decoder, &mut input, CHUNK_BYTES, &mut pool)
        };
        assert_eq!(round(), bytes);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(name, |b| b.iter(&mut round));
    }
}
