//! Entries of one batch succeed and fail by themselves, in their order.

use tmws::domain::Access;
use uuid::Uuid;

use crate::fixture::*;

on_every_store!(inside_one_batch);

fn inside_one_batch(store: Backend) {
    let fixture = store.open();
    let mut unknown = new(&alice(), "second");
    unknown.supersedes = Some(Uuid::now_v7());
    let mut beyond = new(&alice(), "fourth");
    beyond.ttl_seconds = Some(u64::MAX);
    // Supersedes first, then fails at the time to live: the old one must stay.
    let old = fixture.create(new(&alice(), "old")).id;
    beyond.supersedes = Some(old);
    let batch = vec![
        new(&alice(), "first"),
        unknown,
        at_level(&alice(), Access::System, "third"),
        beyond,
        new(&alice(), "fifth"),
    ];
    let results = block(fixture.store.create_memories(batch)).expect("committed");
    let stored: Vec<_> = results.iter().map(Result::is_ok).collect();
    assert_eq!(stored, [true, false, false, false, true]);
    assert_eq!(fixture.found(&alice(), "first").len(), 1);
    assert_eq!(fixture.found(&alice(), "fifth").len(), 1);
    for refused in ["second", "third", "fourth"] {
        assert!(fixture.found(&alice(), refused).is_empty());
    }
    assert_eq!(
        fixture.get(&alice(), old).expect("there").superseded_by,
        None
    );
}
