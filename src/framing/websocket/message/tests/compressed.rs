//! Compressed messages (RFC 7692, 7.2) among others.

use super::*;

#[test]
fn rsv1_means_nothing_unless_deflate_was_agreed() {
    let frame = compressed(client(true, OpCode::Text, &packed(b"x", 15)));
    assert_eq!(
        read_bounded(&[frame], MAX, false).violation,
        Some(Violation::ReservedBits(4))
    );
}

#[test]
fn rsv1_stands_on_the_first_fragment_only() {
    let bytes = packed(b"hello hello hello", 15);
    let (left, right) = bytes.split_at(4);
    let first = compressed(client(false, OpCode::Text, left));
    let ping = client(true, OpCode::Ping, b"between");
    let last = client(true, OpCode::Continuation, right);
    let said = read(&[first.clone(), ping, last.clone()]);
    assert_eq!(
        said,
        [Said::Ping(b"between".to_vec()), text("hello hello hello")]
    );
    assert_eq!(
        violation(&[first, compressed(last)]),
        Violation::ReservedBits(4)
    );
}

#[test]
fn plain_and_compressed_messages_may_alternate() {
    let long = "tmws ".repeat(30_000);
    let said = read(&[
        client(true, OpCode::Text, b"plain"),
        compressed(client(true, OpCode::Text, &packed(long.as_bytes(), 9))),
        client(true, OpCode::Binary, b"plain"),
        compressed(client(true, OpCode::Binary, &packed(b"packed", 15))),
    ]);
    let plain = Said::Binary(b"plain".to_vec());
    assert_eq!(
        said,
        [
            text("plain"),
            text(&long),
            plain,
            Said::Binary(b"packed".to_vec())
        ]
    );
}

#[test]
fn an_empty_compressed_message_may_come_in_any_form() {
    // RFC 7692, 7.2.3.6 sends one byte; an ended stream and no byte at all mean the same.
    for bytes in [
        &[0x00][..],
        &[0x02, 0x00],
        &[0x03, 0x00],
        &[0x03, 0x00, 0x00],
        &[],
    ] {
        assert_eq!(
            read(&[compressed(client(true, OpCode::Text, bytes))]),
            [text("")],
            "{bytes:x?}"
        );
    }
}

#[test]
fn the_examples_of_rfc_7692_inflate() {
    // 7.2.3.1 one block, 7.2.3.3 stored, 7.2.3.4 final block, 7.2.3.5 two blocks.
    for bytes in [
        &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
        &[
            0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00,
        ],
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
        &[
            0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
        ],
    ] {
        assert_eq!(
            read(&[compressed(client(true, OpCode::Text, bytes))]),
            [text("Hello")],
            "{bytes:x?}"
        );
    }
}

#[test]
fn a_bomb_is_stopped_at_the_bound_while_it_inflates() {
    let bomb = compressed(client(true, OpCode::Binary, &packed(&vec![0; MAX], 15)));
    assert!(bomb.len() < MAX / 500);
    let refused = Some(Violation::MessageTooBig { bytes_max: 70_000 });
    assert_eq!(
        read_bounded(std::slice::from_ref(&bomb), 70_000, true).violation,
        refused
    );
    assert_eq!(
        read_bounded(&[bomb], MAX, true).said,
        [Said::Binary(vec![0; MAX])]
    );
}

#[test]
fn corrupt_or_truncated_compressed_messages_are_refused() {
    assert_eq!(
        violation(&[compressed(client(true, OpCode::Text, &[0x07]))]),
        Violation::CorruptDeflate
    );
    let bytes = packed("some words, some other words".repeat(9).as_bytes(), 15);
    let cut = compressed(client(true, OpCode::Binary, &bytes[..bytes.len() - 4]));
    assert_eq!(violation(&[cut]), Violation::CorruptDeflate);
    // Thousands of ended streams would cost a reset each.
    let endless = compressed(client(true, OpCode::Binary, &[0x03, 0x00].repeat(1000)));
    assert_eq!(violation(&[endless]), Violation::CorruptDeflate);
}

#[test]
fn inflated_text_is_judged_as_text() {
    let bad = compressed(client(true, OpCode::Text, &packed(b"\xc3\x28", 15)));
    assert_eq!(violation(&[bad]), Violation::InvalidUtf8);
}

#[test]
fn inflaters_are_lent_up_to_the_bound_and_always_come_back() {
    let mut pool = small_pool(2);
    let frame = compressed(client(true, OpCode::Text, &packed(b"hello", 15)));
    let (left, right) = frame.split_at(frame.len() - 2);
    let mut decoders: Vec<Decoder> = (0..4).map(|_| Decoder::new(MAX, true)).collect();
    for decoder in &mut decoders {
        assert_eq!(
            decoder.decode(&mut left.to_vec(), &mut 0, &mut pool),
            Ok(None)
        );
    }
    assert_eq!(pool.inflaters_lent(), 2);
    decoders.remove(0);
    assert_eq!(
        pool.inflaters_lent(),
        1,
        "a connection that dies gives its inflater up"
    );
    for decoder in &mut decoders {
        let mut input = right.to_vec();
        assert_eq!(
            decoder.decode(&mut input, &mut 0, &mut pool),
            Ok(Some(Event::Text("hello")))
        );
        assert_eq!(decoder.decode(&mut [], &mut 0, &mut pool), Ok(None));
        assert!(decoder.is_idle());
    }
    assert_eq!(pool.inflaters_lent(), 0);
}
