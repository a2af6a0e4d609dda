use super::*;

fn time(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros).unwrap()
}

fn candidate(id: u128, similarity: f64, lexical: f64) -> Candidate {
    Candidate {
        id: Uuid::from_u128(id),
        created_at: time(0),
        similarity: Some(similarity),
        lexical: Some(lexical),
        importance: 0.5,
    }
}

#[test]
fn a_rare_term_weighs_more() {
    let weights = Weights::new(100, &[1, 50, 100]);
    assert!(weights.terms()[0] > weights.terms()[1]);
    assert!(weights.terms()[1] > weights.terms()[2]);
    assert!(weights.terms()[2] > 0.0);
    assert_eq!(weights.lexical(0b111, 0), 1.0);
    assert!(weights.lexical(0b001, 10) > weights.lexical(0b110, 10));
    assert!(weights.lexical(0b001, 10) > weights.lexical(0b001, 400));
    assert_eq!(Weights::new(5, &[]).lexical(0, 3), 0.0);
}

#[test]
fn shares_of_all_sets_are_the_scores_of_texts_without_length() {
    let weights = Weights::new(100, &[1, 50, 100, 7, 33]);
    let shares = weights.shares();
    assert_eq!(shares.len(), 32);
    for (mask, share) in shares.iter().enumerate() {
        assert_eq!(
            *share,
            weights.lexical(mask as u32, 0),
            "of the set {mask:#b}"
        );
    }
    assert_eq!(Weights::new(5, &[]).shares(), [0.0]);
}

#[test]
fn an_estimate_is_close_to_the_score() {
    let mut state = 7_u64;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    for n in 0..3_000 {
        let candidate = Candidate {
            created_at: time((random() * 1e13) as i64),
            importance: random(),
            ..candidate(n, random() * 1.2 - 0.1, random())
        };
        for mode in [Mode::Hybrid, Mode::Semantic, Mode::Lexical] {
            let now = time(20_000_000_000_000);
            let score = Ranked::new(mode, &candidate, now).score;
            let off = Ranked::estimate(mode, &candidate, now) - score;
            assert!(off.abs() <= ESTIMATE_ERROR, "{off} for {candidate:?}");
        }
    }
}

#[test]
fn ties_go_to_the_later_and_then_to_the_greater_id() {
    let mut later = candidate(1, 0.5, 0.5);
    later.created_at = time(1);
    let candidates = [candidate(1, 0.5, 0.5), candidate(2, 0.5, 0.5), later];
    let (page, more) = page(Mode::Hybrid, &candidates, None, None, 10, time(10));
    let found: Vec<_> = page
        .iter()
        .map(|r| (r.created_at.as_micros(), r.id.as_u128()))
        .collect();
    assert_eq!(found, [(1, 1), (0, 2), (0, 1)]);
    assert!(!more);
}

#[test]
fn pages_join_without_gap_or_repetition() {
    let candidates: Vec<_> = (0..25)
        .map(|n| candidate(n, f64::from(n as u32 % 7) / 7.0, 0.3))
        .collect();
    let (all, _) = page(Mode::Hybrid, &candidates, None, None, 100, time(10));
    let mut joined = Vec::new();
    let mut cursor: Option<SearchCursor> = None;
    loop {
        let (part, more) = page(
            Mode::Hybrid,
            &candidates,
            None,
            cursor.as_ref(),
            4,
            time(10),
        );
        let text = SearchCursor::behind(part.last().unwrap(), time(10)).write();
        cursor = Some(SearchCursor::parse(&text).unwrap());
        joined.extend(part);
        if !more {
            break;
        }
    }
    assert_eq!(joined, all);
}

#[test]
fn a_strange_cursor_is_refused() {
    for text in ["", "x", "AA", "Aw", "AwAA", "//"] {
        assert!(SearchCursor::parse(text).is_err(), "{text}");
    }
}

#[test]
fn the_least_similarity_is_of_meaning_unless_the_search_is_lexical() {
    let candidates = [candidate(1, 0.9, 0.1), candidate(2, 0.1, 0.9)];
    let first = |mode| {
        page(mode, &candidates, Some(0.5), None, 10, time(0)).0[0]
            .id
            .as_u128()
    };
    assert_eq!(first(Mode::Hybrid), 1);
    assert_eq!(first(Mode::Lexical), 2);
}
