//! Default answers hold what is valid now, `as_of` what was valid at another time.

use tmws::domain::{Filter, Timestamp};
use uuid::Uuid;

use crate::fixture::*;

on_every_store!(
    superseded_ones_return,
    validity_has_a_start_and_an_exclusive_end
);

fn at(time: Timestamp) -> Filter {
    Filter {
        as_of: Some(time),
        ..everything()
    }
}

/// Search and recall agree.
#[track_caller]
fn assert_shown(fixture: &Fixture, filter: Filter, expected: &[Uuid]) {
    assert_eq!(fixture.recalled(&alice(), filter.clone()), expected);
    let hits = fixture.search_with(&alice(), "office", filter).hits;
    assert_eq!(ids(hits.into_iter().map(|hit| hit.memory)), expected);
}

fn superseded_ones_return(store: Backend) {
    let fixture = store.open();
    let before = fixture.clock.now();
    let old = fixture.create(new(&alice(), "office in Oslo"));
    let between = fixture.clock.advance(100);
    fixture.clock.advance(100);
    let mut newer = new(&alice(), "office in Bergen");
    newer.supersedes = Some(old.id);
    let newer = fixture.create(newer);
    let now = fixture.clock.advance(1);
    assert_shown(&fixture, at(before), &[]);
    assert_shown(&fixture, at(between), &[old.id]);
    assert_shown(&fixture, at(now), &[newer.id]);
    assert_shown(&fixture, everything(), &[newer.id]);
}

fn validity_has_a_start_and_an_exclusive_end(store: Backend) {
    let fixture = store.open();
    let start = fixture.clock.advance(1_000);
    let end = start.plus_seconds(60).expect("a time");
    let mut bounded = new(&alice(), "office closed");
    (bounded.valid_from, bounded.valid_to) = (Some(start), Some(end));
    fixture.clock.advance(-500);
    let id = fixture.create(bounded).id;
    assert_shown(&fixture, everything(), &[]);
    assert_shown(&fixture, at(start), &[id]);
    assert_shown(&fixture, at(end), &[]);
    fixture.clock.advance(530);
    assert_shown(&fixture, everything(), &[id]);
    fixture.clock.advance(60);
    assert_shown(&fixture, everything(), &[]);
    assert!(
        fixture.get(&alice(), id).is_ok(),
        "get does not ask for validity"
    );
}
