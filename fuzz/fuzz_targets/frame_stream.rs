//! Whatever a client sends after the handshake, and however it is cut: no panic, and the same as in one shot.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tmws::framing::websocket::transcript::{small_pool, transcribe};

/// Small, so that the fuzzer reaches it.
const MESSAGE_BYTES_MAX: usize = 4096;

fuzz_target!(|data: &[u8]| {
    // One byte of flags and three chunk sizes, then the stream.
    let Some((&[flags, ref sizes @ ..], stream)) = data.split_first_chunk::<4>() else {
        return;
    };
    let (deflate, inflaters_max) = (flags & 1 != 0, usize::from(flags >> 1 & 1));
    let read = |sizes| {
        transcribe(
            stream,
            sizes,
            MESSAGE_BYTES_MAX,
            deflate,
            &mut small_pool(inflaters_max),
        )
    };
    assert_eq!(read(&[]), read(sizes));
});
