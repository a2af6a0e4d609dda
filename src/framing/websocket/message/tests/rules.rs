//! Rules of RFC 6455, 5.4 to 8.1, that need more than one frame.

use super::*;

#[test]
fn a_message_that_lies_whole_in_its_input_is_borrowed_from_it() {
    let mut input = client(true, OpCode::Text, b"hello");
    let place = input[6..].as_ptr();
    let mut decoder = Decoder::new(MAX, false);
    let mut consumed = 0;
    let event = decoder
        .decode(&mut input, &mut consumed, &mut small_pool(0))
        .unwrap()
        .unwrap();
    let Event::Text(text) = event else {
        panic!("{event:?}")
    };
    assert_eq!((text, text.as_ptr()), ("hello", place));
    assert!(decoder.cold.is_none());
}

#[test]
fn the_caller_may_stop_after_any_event_and_go_on_elsewhere() {
    let stream = [
        client(false, OpCode::Text, b"a"),
        client(true, OpCode::Ping, b"p"),
        client(true, OpCode::Continuation, b"b"),
        client(true, OpCode::Text, b"c"),
    ]
    .concat();
    let (mut decoder, mut pool, mut said, mut rest) =
        (Decoder::new(MAX, false), small_pool(0), Vec::new(), stream);
    loop {
        let mut consumed = 0;
        let Some(event) = decoder.decode(&mut rest, &mut consumed, &mut pool).unwrap() else {
            break;
        };
        said.push(Said::from(event));
        rest = rest[consumed..].to_vec();
    }
    assert_eq!(said, [Said::Ping(b"p".to_vec()), text("ab"), text("c")]);
    assert!(decoder.is_idle());
}

#[test]
fn an_announced_length_costs_only_what_arrived() {
    let mut decoder = Decoder::new(MAX, false);
    let mut input = client(true, OpCode::Binary, &vec![0; MAX]);
    input.truncate(14 + 3);
    decoder
        .decode(&mut input, &mut 0, &mut small_pool(0))
        .unwrap();
    let Some(Cold {
        message: Some(Message {
            body: Body::Binary(bytes),
            ..
        }),
        ..
    }) = decoder.cold.as_deref()
    else {
        panic!("no message")
    };
    assert!(bytes.len() == 3 && bytes.capacity() < 64);
}

#[test]
fn an_announced_length_over_the_bound_is_refused_at_its_head() {
    let head = client(true, OpCode::Binary, &[0; 101])[..6].to_vec();
    assert_eq!(
        read_bounded(&[head], 100, false).violation,
        Some(Violation::MessageTooBig { bytes_max: 100 })
    );
    let said = read_bounded(&[client(true, OpCode::Binary, &[7; 100])], 100, false).said;
    assert_eq!(said, [Said::Binary(vec![7; 100])]);
}

#[test]
fn fragments_are_bounded_by_their_bytes_and_not_by_their_number() {
    let mut frames = vec![
        client(false, OpCode::Binary, &[1; 40]),
        client(false, OpCode::Continuation, &[1; 60]),
    ];
    frames.extend(vec![client(false, OpCode::Continuation, b""); 1000]);
    let last = frames.len();
    frames.push(client(true, OpCode::Continuation, b""));
    assert_eq!(
        read_bounded(&frames, 100, false).said,
        [Said::Binary(vec![1; 100])]
    );
    frames[last] = client(true, OpCode::Continuation, b"x");
    assert_eq!(
        read_bounded(&frames, 100, false).violation,
        Some(Violation::MessageTooBig { bytes_max: 100 })
    );
}

#[test]
fn control_frames_may_stand_between_fragments() {
    let said = read(&[
        client(false, OpCode::Text, b"on"),
        client(true, OpCode::Ping, &[9; 125]),
        client(true, OpCode::Pong, b""),
        client(true, OpCode::Continuation, b"e"),
        client(true, OpCode::Binary, b"two"),
    ]);
    assert_eq!(
        said,
        [
            Said::Ping(vec![9; 125]),
            Said::Pong(vec![]),
            text("one"),
            Said::Binary(b"two".to_vec())
        ]
    );
}

#[test]
fn empty_messages_and_empty_fragments_are_messages() {
    let said = read(&[
        client(true, OpCode::Text, b""),
        client(false, OpCode::Binary, b""),
        client(false, OpCode::Continuation, b""),
        client(true, OpCode::Continuation, b""),
    ]);
    assert_eq!(said, [text(""), Said::Binary(vec![])]);
}

#[test]
fn a_continuation_needs_a_beginning() {
    assert_eq!(
        violation(&[client(true, OpCode::Continuation, b"x")]),
        Violation::UnexpectedContinuation
    );
    let after = [
        client(true, OpCode::Text, b"x"),
        client(false, OpCode::Continuation, b"x"),
    ];
    assert_eq!(violation(&after), Violation::UnexpectedContinuation);
}

#[test]
fn a_fragmented_message_ends_before_the_next_begins() {
    for fin in [false, true] {
        let frames = [
            client(false, OpCode::Text, b"x"),
            client(fin, OpCode::Text, b"y"),
        ];
        assert_eq!(violation(&frames), Violation::UnfinishedMessage);
    }
}

#[test]
fn a_code_point_may_be_split_between_fragments() {
    let said = read(&[
        client(false, OpCode::Text, b"\xe2"),
        client(true, OpCode::Continuation, b"\x82\xac"),
    ]);
    assert_eq!(said, [text("\u{20ac}")]);
}

#[test]
fn text_that_is_not_utf8_is_refused() {
    assert_eq!(
        violation(&[client(true, OpCode::Text, b"\xff")]),
        Violation::InvalidUtf8
    );
    assert_eq!(
        violation(&[client(true, OpCode::Text, b"cut \xe2\x82")]),
        Violation::InvalidUtf8
    );
    let split = [
        client(false, OpCode::Text, b"\xe2"),
        client(true, OpCode::Continuation, b"\x82"),
    ];
    assert_eq!(violation(&split), Violation::InvalidUtf8);
}

#[test]
fn bad_text_fails_before_its_frame_is_complete() {
    let mut stream = client(
        true,
        OpCode::Text,
        b"ok \xff and a long rest that does not arrive",
    );
    stream.truncate(6 + 4);
    assert_eq!(
        read_with(&stream, &[2], MAX, false).violation,
        Some(Violation::InvalidUtf8)
    );
}

#[test]
fn nothing_is_decoded_after_a_close_frame() {
    let said = read(&[
        client(true, OpCode::Close, b"\x03\xe8bye"),
        client(true, OpCode::Text, b"x"),
        vec![0xff; 9],
    ]);
    assert_eq!(said, [Said::Close(Some((1000, "bye".to_owned())))]);
    assert_eq!(
        read(&[client(true, OpCode::Close, b"")]),
        [Said::Close(None)]
    );
}

#[test]
fn a_bad_close_payload_is_refused() {
    assert_eq!(
        violation(&[client(true, OpCode::Close, b"\x03")]),
        Violation::CloseTooShort
    );
    assert_eq!(
        violation(&[client(true, OpCode::Close, b"\x03\xed")]),
        Violation::CloseCode(1005)
    );
    assert_eq!(
        violation(&[client(true, OpCode::Close, b"\x03\xe8\xc3")]),
        Violation::InvalidUtf8
    );
}
