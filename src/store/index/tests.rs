use std::cmp::Reverse;
use std::collections::BTreeSet;

use uuid::Uuid;

use super::*;
use crate::domain::{Filter, Mode, Timestamp};
use crate::store::ranking::Weights;
use crate::store::vectors::Query;

fn key(namespace: &str, agent: &str) -> AgentKey {
    AgentKey::new(namespace, agent).unwrap()
}

fn document(owner: &AgentKey, access: Access, terms: &[u64]) -> Document {
    Document {
        id: Uuid::now_v7(),
        owner: owner.clone(),
        access,
        grantees: Vec::new(),
        created_at: Timestamp::from_micros(1).unwrap(),
        times: Times::default(),
        importance: 0.5,
        trust: 1.0,
        kind: None,
        source: None,
        tags: Vec::new(),
        terms: terms.to_vec(),
        words: 3,
        vector: Some((0.01, vec![1; 64])),
    }
}

fn found(index: &Index, viewer: &AgentKey, terms: &[u64]) -> Vec<i64> {
    let vector = Query::new(&[0.1; 64]);
    let filter = Filter {
        include_shared: true,
        ..Filter::default()
    };
    let question = Question {
        viewer,
        mode: Mode::Hybrid,
        terms,
        vector: Some(&vector),
        filter: &filter,
        now: Timestamp::from_micros(2).unwrap(),
    };
    let mut rows: Vec<_> = index
        .find(&question)
        .candidates
        .into_iter()
        .map(|(seq, _)| seq)
        .collect();
    rows.sort_unstable();
    rows
}

#[test]
fn a_scope_is_four_segments_without_repetition() {
    let (alice, bob) = (key("red", "alice"), key("red", "bob"));
    let carol = key("blue", "carol");
    let index = Index::default();
    for (seq, access) in [
        (1, Access::Private),
        (2, Access::Team),
        (3, Access::Shared),
        (4, Access::Public),
    ] {
        let mut document = document(&alice, access, &[7]);
        // A private memory's grants rest, a team's do nothing for its members.
        document.grantees = vec![bob.clone(), carol.clone()];
        index.put(seq, Some(&document));
    }
    assert_eq!(found(&index, &alice, &[7]), [1, 2, 3, 4]);
    assert_eq!(found(&index, &bob, &[7]), [2, 3, 4]);
    assert_eq!(found(&index, &carol, &[7]), [2, 3, 4]);
    assert_eq!(found(&index, &key("blue", "dave"), &[7]), [4]);
    assert_eq!(index.size().memories, 4);
}

#[test]
fn many_changes_leave_no_gaps_and_lose_nothing() {
    let alice = key("red", "alice");
    let index = Index::default();
    for round in 0..40 {
        for seq in 0..100 {
            index.put(
                seq,
                Some(&document(&alice, Access::Private, &[seq as u64, round])),
            );
        }
    }
    assert_eq!(found(&index, &alice, &[39]).len(), 100);
    let scope = Scope::Owner(alice.clone());
    let (_, segment) = index.segment(scope);
    assert!(segment.read().len() <= 202, "{}", segment.read().len());
    for seq in 1..100 {
        index.put(seq, None);
    }
    assert_eq!(found(&index, &alice, &[0]), [0]);
    assert_eq!(index.size().memories, 1);
}

#[test]
fn an_agent_that_changes_one_memory_holds_few_gaps() {
    let index = Index::default();
    let agents: Vec<_> = (0..20).map(|n| key("red", &format!("a{n}"))).collect();
    for round in 0..1_000 {
        for (seq, agent) in agents.iter().enumerate() {
            let changed = document(agent, Access::Private, &[round]);
            index.put(seq as i64, Some(&changed));
        }
    }
    for (seq, agent) in agents.iter().enumerate() {
        assert_eq!(found(&index, agent, &[999]), [seq as i64]);
        let (_, segment) = index.segment(Scope::Owner(agent.clone()));
        let slots = segment.read().len();
        assert!(slots < 40, "{slots}");
    }
}

/// Whose the memory is and who sees it: one of three segments, all in the scope of `alice`.
fn in_turn<'k>(n: u64, alice: &'k AgentKey, bob: &'k AgentKey) -> (&'k AgentKey, Access) {
    match n % 3 {
        0 => (bob, Access::Team),
        1 => (alice, Access::Public),
        _ => (alice, Access::Private),
    }
}

/// By whatever way the 200 best are kept, they are those of a plain sort: few scores, several segments, times in
/// no order, and memories that a filter leaves out.
#[test]
fn among_equals_the_latest_are_kept() {
    let (alice, bob) = (key("red", "alice"), key("red", "bob"));
    let filter = Filter {
        include_shared: true,
        importance_min: Some(0.25),
        ..Filter::default()
    };
    for (lengths, times) in [(1, 1), (1, 5_000), (3, 40), (7, 5_000)] {
        let index = Index::default();
        let mut all = Vec::new();
        for seq in 0..3_000_u64 {
            let mixed = seq.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
            let (owner, access) = in_turn(mixed, &alice, &bob);
            let mut one = document(owner, access, &[7]);
            one.words = 3 + (mixed / 3 % lengths) as u32;
            one.created_at = Timestamp::from_micros((mixed / 64 % times) as i64).unwrap();
            one.importance = (mixed % 4) as f64 / 4.0;
            one.vector = None;
            index.put(seq as i64, Some(&one));
            if one.importance >= 0.25 {
                all.push((one.words, Reverse((one.created_at, one.id)), seq as i64));
            }
        }
        all.sort_unstable();
        let expected: BTreeSet<_> = all.iter().take(200).map(|(_, _, seq)| *seq).collect();
        let found = index.find(&Question {
            viewer: &alice,
            mode: Mode::Lexical,
            terms: &[7],
            vector: None,
            filter: &filter,
            now: Timestamp::from_micros(6_000).unwrap(),
        });
        assert!(found.more);
        let rows: BTreeSet<_> = found.candidates.iter().map(|(seq, _)| *seq).collect();
        assert_eq!(rows, expected, "{lengths} lengths, {times} times");
    }
}

/// A memory whose terms, length, time and importance follow from `seq`. Half of all hold the first term, and of
/// those that follow each is `rarer` times as rare as the one before.
fn mixed(seq: u64, owner: &AgentKey, access: Access, terms: u64, rarer: u64) -> Document {
    let mut bits = seq.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut below = |most: u64| {
        bits = (bits ^ bits >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (bits >> 33) % most
    };
    let held: Vec<_> = (0..terms)
        .filter(|term| below(2 * rarer.pow(*term as u32 % 7)) == 0)
        .collect();
    let mut document = document(owner, access, &held);
    document.words = 3 + below(5) as u32;
    document.created_at = Timestamp::from_micros(below(5_000) as i64).unwrap();
    document.importance = below(4) as f64 / 4.0;
    document.times.expires_at = (below(10) == 0).then(|| Timestamp::from_micros(10).unwrap());
    document.vector = None;
    document
}

/// Of many words in any order the 200 best are those of a plain sort: several segments, memories that were removed,
/// changed or have expired, a filter, and more terms than there are sums of beforehand.
#[test]
fn by_many_words_the_best_are_those_of_a_plain_sort() {
    let (alice, bob) = (key("red", "alice"), key("red", "bob"));
    let filter = Filter {
        include_shared: true,
        importance_min: Some(0.25),
        ..Filter::default()
    };
    let now = Timestamp::from_micros(6_000).unwrap();
    for (terms, rarer) in [(2, 3), (7, 3), (7, 1), (14, 2)] {
        let index = Index::default();
        let mut scope = Vec::new();
        for seq in 0..4_000_u64 {
            let (owner, access) = in_turn(seq, &alice, &bob);
            let mut one = mixed(seq, owner, access, terms, rarer);
            index.put(seq as i64, Some(&one));
            match seq % 11 {
                3 => {
                    index.put(seq as i64, None);
                    continue;
                }
                7 => {
                    one = mixed(seq + 9_999, owner, access, terms, rarer);
                    index.put(seq as i64, Some(&one));
                }
                _ => {}
            }
            if one.times.admit(one.created_at, None, now) {
                scope.push((seq as i64, one));
            }
        }
        // The rarest in the middle, and one that nobody holds.
        let mut asked: Vec<u64> = (0..terms).chain([99]).collect();
        asked.rotate_left(3);
        let with = |term: &u64| {
            let holders = scope.iter().filter(|(_, one)| one.terms.contains(term));
            holders.count() as u64
        };
        let weights = Weights::new(
            scope.len() as u64,
            &asked.iter().map(with).collect::<Vec<_>>(),
        );
        let mut expected: Vec<_> = scope
            .iter()
            .filter(|(_, one)| one.importance >= 0.25 && !one.terms.is_empty())
            .map(|(seq, one)| {
                let held = |(place, term)| u32::from(one.terms.contains(term)) << place;
                let mask = asked.iter().enumerate().map(held).sum();
                let steps = (weights.lexical(mask, one.words) * 1e9).round() as i64;
                (Reverse((steps, one.created_at, one.id)), *seq)
            })
            .collect();
        expected.sort_unstable();
        assert!(expected.len() > 400, "{}", expected.len());
        expected.truncate(200);
        let found = index.find(&Question {
            viewer: &alice,
            mode: Mode::Lexical,
            terms: &asked,
            vector: None,
            filter: &filter,
            now,
        });
        assert!(found.more);
        let mut candidates: Vec<_> = found
            .candidates
            .iter()
            .map(|(seq, one)| {
                let steps = (one.lexical.unwrap() * 1e9).round() as i64;
                (Reverse((steps, one.created_at, one.id)), *seq)
            })
            .collect();
        candidates.sort_unstable();
        assert_eq!(candidates, expected, "{terms} terms, {rarer}");
    }
}
