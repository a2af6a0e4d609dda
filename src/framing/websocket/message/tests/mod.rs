//! The decoder rule by rule, each stream cut in several ways; this file builds what a client sends.

use fastwebsockets::{Frame, Payload};
use flate2::{Compress, Compression, FlushCompress};
mod compressed;
mod properties;
mod rules;

use super::*;
use crate::framing::websocket::transcript::{Said, Transcript, small_pool, transcribe};

const MAX: usize = 1 << 20;
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A masked frame as the client of fastwebsockets writes it.
fn client(fin: bool, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Frame::new(fin, opcode, Some(KEY), Payload::Owned(payload.to_vec()));
    frame.mask();
    let mut buffer = Vec::new();
    frame.write(&mut buffer).to_vec()
}

fn compressed(mut frame: Vec<u8>) -> Vec<u8> {
    frame[0] |= 0x40;
    frame
}

/// What RFC 7692, 7.2.1 makes of a payload.
fn packed(payload: &[u8], window_bits: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() * 2 + 64);
    let mut deflate = Compress::new_with_window_bits(Compression::new(6), false, window_bits);
    deflate
        .compress_vec(payload, &mut out, FlushCompress::Sync)
        .unwrap();
    out.truncate(out.len() - 4);
    out
}

fn read_with(stream: &[u8], sizes: &[u8], max: usize, deflate: bool) -> Transcript {
    transcribe(stream, sizes, max, deflate, &mut small_pool(2))
}

/// Decodes in one shot, byte by byte and in threes, with and without inflaters to lend.
fn read_bounded(frames: &[Vec<u8>], max: usize, deflate: bool) -> Transcript {
    let stream = frames.concat();
    let whole = read_with(&stream, &[], max, deflate);
    assert_eq!(read_with(&stream, &[1], max, deflate), whole);
    assert_eq!(read_with(&stream, &[3], max, deflate), whole);
    assert_eq!(
        transcribe(&stream, &[5], max, deflate, &mut small_pool(0)),
        whole
    );
    whole
}

fn read(frames: &[Vec<u8>]) -> Vec<Said> {
    let transcript = read_bounded(frames, MAX, true);
    assert_eq!(transcript.violation, None);
    transcript.said
}

fn violation(frames: &[Vec<u8>]) -> Violation {
    read_bounded(frames, MAX, true)
        .violation
        .expect("a violation")
}

fn text(text: &str) -> Said {
    Said::Text(text.to_owned())
}
