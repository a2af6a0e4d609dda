//! Negotiation rule by rule, and that what is compressed inflates again.

use fastwebsockets::OpCode;
use proptest::prelude::*;

use super::endings::ENDINGS_MAX;
use super::*;
use crate::framing::websocket::body::Body;
use crate::framing::websocket::transcript::small_pool;
use crate::framing::websocket::{Pool, Violation, frame};

fn negotiated(values: &[&str]) -> Option<String> {
    negotiate(
        &Config::default(),
        values.iter().map(|value| value.as_bytes()),
    )
    .map(|params| params.to_string())
}

const ANSWER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10";

#[test]
fn a_plain_offer_gets_no_context_takeover_and_our_window() {
    assert_eq!(negotiated(&["permessage-deflate"]).as_deref(), Some(ANSWER));
    assert_eq!(
        negotiated(&["Permessage-Deflate ; Client_Max_Window_Bits"]).as_deref(),
        Some(ANSWER)
    );
}

#[test]
fn the_widest_window_needs_no_word() {
    let config = Config {
        server_window_bits: 15,
        ..Config::default()
    };
    let params = negotiate(&config, [&b"permessage-deflate"[..]].into_iter()).unwrap();
    assert!(!params.to_string().contains("window"));
}

#[test]
fn a_smaller_server_window_is_granted_and_a_larger_one_is_not_used() {
    let window = |bits: &str| {
        negotiated(&[&format!(
            "permessage-deflate; server_max_window_bits={bits}"
        )])
    };
    assert!(window("9").unwrap().ends_with("server_max_window_bits=9"));
    assert!(window("12").unwrap().ends_with("server_max_window_bits=10"));
    assert!(
        window("\"9\"")
            .unwrap()
            .ends_with("server_max_window_bits=9")
    );
    assert_eq!(window("8"), None, "zlib has no raw window of 8 bits");
}

#[test]
fn malformed_unknown_and_repeated_parameters_decline_the_offer() {
    for parameters in [
        "server_max_window_bits",
        "server_max_window_bits=",
        "server_max_window_bits=09",
        "server_max_window_bits=16",
        "server_max_window_bits=7",
        "server_max_window_bits=+9",
        "server_max_window_bits=\"9",
        "client_max_window_bits=16",
        "client_max_window_bits=x",
        "server_no_context_takeover=1",
        "client_no_context_takeover=",
        "server_no_context_takeover; server_no_context_takeover",
        "client_max_window_bits; client_max_window_bits=9",
        "unheard_of",
        "",
    ] {
        assert_eq!(
            negotiated(&[&format!("permessage-deflate; {parameters}")]),
            None,
            "{parameters}"
        );
    }
}

#[test]
fn the_next_offer_is_tried_also_in_the_next_field() {
    assert!(negotiated(&["permessage-deflate; x, permessage-deflate"]).is_some());
    assert!(
        negotiated(&[
            "x-webkit-deflate-frame",
            "permessage-deflate; server_max_window_bits=8, permessage-deflate"
        ])
        .is_some()
    );
    assert_eq!(
        negotiated(&["permessage-bzip2, x-webkit-deflate-frame"]),
        None
    );
    assert_eq!(negotiated(&[]), None);
}

#[test]
fn a_quoted_comma_does_not_end_an_offer() {
    assert_eq!(
        negotiated(&[r#"x; a="permessage-deflate, permessage-deflate""#]),
        None
    );
    assert!(negotiated(&[r#"x; a="\", ;", permessage-deflate"#]).is_some());
}

fn params(window_bits: u8) -> Params {
    Params {
        level: 6,
        server_window_bits: window_bits,
        threshold_bytes: 0,
    }
}

/// The payload of the one server frame in `out`, and whether it was compressed.
fn opened(out: &[u8]) -> Result<(Vec<u8>, bool), Violation> {
    let start = match out[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    if out[0] & 0x40 == 0 {
        return Ok((out[start..].to_vec(), false));
    }
    let mut body = Body::Binary(Vec::new());
    let mut inflater = Inflater::new();
    let mut scratch = [0; 512];
    inflater.feed(&out[start..], &mut scratch, &mut body, 1 << 20)?;
    inflater.finish(&mut scratch, &mut body, 1 << 20)?;
    match body {
        Body::Binary(bytes) => Ok((bytes, true)),
        Body::Text(_) => unreachable!(),
    }
}

fn both_ways(payload: &[u8], params: Option<Params>, pool: &mut Pool) -> Vec<u8> {
    let mut written = b"before".to_vec();
    write(&mut written, OpCode::Text, payload, params, pool);
    let mut finished = b"before".to_vec();
    let mark = frame::begin(&mut finished, OpCode::Text);
    finished.extend_from_slice(payload);
    finish(mark, &mut finished, params, pool);
    // The second may use again what was compressed for the first.
    assert_eq!(opened(&written[6..]), opened(&finished[6..]));
    written.split_off(6)
}

/// The first byte of a stored block that is not the last one (RFC 1951, 3.2.4).
const STORED: u8 = 0;

#[test]
fn an_end_that_comes_again_is_compressed_once() {
    let mut pool = small_pool(0);
    let tools: String = (0..200).map(|n| format!("tool {n}, ")).collect();
    let mut first_bytes = Vec::new();
    for id in ["7", "8", "123456", "\"a longer id\"", "9"] {
        let payload = format!("{}{{\"id\":{id},\"tools\":\"{tools}\"}}", " ".repeat(190));
        let mut out = Vec::new();
        write(
            &mut out,
            OpCode::Text,
            payload.as_bytes(),
            Some(params(10)),
            &mut pool,
        );
        assert_eq!(opened(&out), Ok((payload.into_bytes(), true)));
        first_bytes.push(out[4]);
    }
    assert_ne!(first_bytes[0], STORED);
    assert_eq!(
        first_bytes[1..],
        [STORED; 4],
        "the second has it kept, the others use it"
    );
    // Another window asks for an end of its own.
    let payload = format!("{}{tools}\"}}", " ".repeat(300));
    let mut out = Vec::new();
    write(
        &mut out,
        OpCode::Text,
        payload.as_bytes(),
        Some(params(15)),
        &mut pool,
    );
    assert_eq!(opened(&out), Ok((payload.into_bytes(), true)));
}

#[test]
fn ends_are_bounded_and_what_only_ends_alike_is_not_mixed_up() {
    let mut pool = small_pool(0);
    let end = "the same end of all of them, ".repeat(20);
    for n in 0..40 {
        let payload = format!("{}{end}", format!("number {n} ").repeat(60 + n));
        for _ in 0..2 {
            let (back, _) =
                opened(&both_ways(payload.as_bytes(), Some(params(10)), &mut pool)).unwrap();
            assert_eq!(back, payload.as_bytes());
        }
    }
    assert!(pool.endings.count() <= ENDINGS_MAX);
}

#[test]
fn what_does_not_become_shorter_is_sent_as_it_is() {
    let mut pool = small_pool(0);
    for payload in [&b""[..], b"x", b"short words"] {
        assert_eq!(
            opened(&both_ways(payload, Some(params(10)), &mut pool)),
            Ok((payload.to_vec(), false))
        );
    }
}

#[test]
fn the_threshold_and_the_agreement_decide_whether_to_compress() {
    let mut pool = small_pool(0);
    let payload = "word ".repeat(100).into_bytes();
    let threshold = |threshold_bytes| {
        Some(Params {
            threshold_bytes,
            ..params(10)
        })
    };
    let sent_compressed =
        |params, pool: &mut Pool| opened(&both_ways(&payload, params, pool)).unwrap().1;
    assert!(sent_compressed(threshold(500), &mut pool));
    assert!(!sent_compressed(threshold(501), &mut pool));
    assert!(!sent_compressed(None, &mut pool));
}

#[test]
fn a_deflater_works_on_another_thread() {
    let mut pool = small_pool(0);
    let deflater = pool.take_deflater(params(10));
    let payload = vec![b'a'; 100_000];
    let (deflater, out) = std::thread::spawn({
        let (mut deflater, payload) = (deflater, payload.clone());
        move || {
            let mut out = Vec::new();
            deflater.write(OpCode::Binary, &payload, &mut out);
            (deflater, out)
        }
    })
    .join()
    .unwrap();
    pool.return_deflater(deflater);
    assert_eq!(opened(&out), Ok((payload, true)));
}

proptest! {
    #[test]
    fn what_is_compressed_with_any_window_inflates_again(
        words in proptest::collection::vec(prop_oneof!["[a-z]{1,9} ", "\\PC{1,9}"], 0..400),
        noise in proptest::collection::vec(any::<u8>(), 0..2000),
        window_bits in 9..=15u8,
        level in 1..=9u8,
    ) {
        let payload = [words.concat().as_bytes(), &noise, words.concat().as_bytes()].concat();
        let params = Params { level, ..params(window_bits) };
        let mut pool = small_pool(0);
        // The second message must not see the first.
        for _ in 0..2 {
            let (back, _) = opened(&both_ways(&payload, Some(params), &mut pool)).unwrap();
            prop_assert_eq!(&back, &payload);
        }
    }

    #[test]
    fn any_extension_header_is_read_without_panic(value in "\\PC*", more in "[a-z_;,=\" \\\\0-9]{0,60}") {
        let offer = format!("permessage-deflate{more}");
        negotiate(&Config::default(), [value.as_bytes(), offer.as_bytes()].into_iter());
    }
}
