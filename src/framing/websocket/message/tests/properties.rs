//! What holds for any stream.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
struct Sent {
    payload: Vec<u8>,
    text: bool,
    window_bits: Option<u8>,
    cuts: Vec<proptest::sample::Index>,
}

impl Sent {
    fn frames(&self) -> Vec<u8> {
        let bytes = self
            .window_bits
            .map_or_else(|| self.payload.clone(), |bits| packed(&self.payload, bits));
        let mut cuts: Vec<usize> = self
            .cuts
            .iter()
            .map(|cut| cut.index(bytes.len() + 1))
            .collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let last = cuts.len() - 2;
        let frames = cuts.windows(2).enumerate().map(|(place, cut)| {
            let opcode = match (place, self.text) {
                (0, true) => OpCode::Text,
                (0, false) => OpCode::Binary,
                _ => OpCode::Continuation,
            };
            let frame = client(place == last, opcode, &bytes[cut[0]..cut[1]]);
            if place == 0 && self.window_bits.is_some() {
                compressed(frame)
            } else {
                frame
            }
        });
        frames.flatten().collect()
    }

    fn said(&self) -> Said {
        match String::from_utf8(self.payload.clone()) {
            Ok(text) if self.text => Said::Text(text),
            _ => Said::Binary(self.payload.clone()),
        }
    }
}

fn sent() -> impl Strategy<Value = Sent> {
    let payload = prop_oneof![
        any::<String>().prop_map(|text| (text.into_bytes(), true)),
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| (bytes, false)),
        (any::<u8>(), 0..70_000usize).prop_map(|(byte, bytes)| (vec![byte; bytes], false)),
    ];
    let cuts = proptest::collection::vec(any::<proptest::sample::Index>(), 0..4);
    (payload, proptest::option::of(9..=15u8), cuts).prop_map(
        |((payload, text), window_bits, cuts)| Sent {
            payload,
            text,
            window_bits,
            cuts,
        },
    )
}

proptest! {
    #[test]
    fn what_is_sent_is_said_however_it_is_cut(
        messages in proptest::collection::vec(sent(), 0..5),
        sizes in proptest::collection::vec(1..200u8, 0..5),
        inflaters_max in 0..2usize,
    ) {
        let stream: Vec<u8> = messages.iter().flat_map(Sent::frames).collect();
        let transcript = transcribe(&stream, &sizes, MAX, true, &mut small_pool(inflaters_max));
        prop_assert_eq!(transcript.violation, None);
        prop_assert_eq!(transcript.said, messages.iter().map(Sent::said).collect::<Vec<_>>());
    }

    #[test]
    fn any_bytes_end_the_same_however_they_are_cut(
        // Mostly frames, some of them spoiled, so that more than the first byte is reached.
        parts in proptest::collection::vec(
            prop_oneof![
                4 => (any::<bool>(), 0..16u8, proptest::collection::vec(any::<u8>(), 0..150), any::<bool>())
                    .prop_map(|(fin, opcode, payload, rsv1)| {
                        let mut frame = client(fin, OpCode::Binary, &payload);
                        frame[0] = (frame[0] & 0xf0) | (opcode % 11) | if rsv1 { 0x40 } else { 0 };
                        frame
                    }),
                1 => proptest::collection::vec(any::<u8>(), 0..20),
                1 => any::<String>().prop_map(|text| client(true, OpCode::Text, text.as_bytes())),
            ],
            0..6,
        ),
        sizes in proptest::collection::vec(1..40u8, 1..5),
        deflate: bool,
    ) {
        let stream = parts.concat();
        let whole = transcribe(&stream, &[], 120, deflate, &mut small_pool(1));
        prop_assert_eq!(transcribe(&stream, &sizes, 120, deflate, &mut small_pool(1)), whole.clone());
        prop_assert_eq!(transcribe(&stream, &[1], 120, deflate, &mut small_pool(1)), whole);
    }
}
