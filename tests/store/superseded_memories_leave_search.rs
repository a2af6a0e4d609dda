//! The new memory takes the old one's place in search and recall; the old one stays readable.

use tmws::domain::{Access, Filter, MemoryPatch, Permission};
use tmws::store::StoreError;
use uuid::Uuid;

use crate::fixture::*;

on_every_store!(
    the_newer_takes_the_place,
    only_once_and_only_what_exists,
    takes_a_write_grant_on_the_old_one
);

fn the_newer_takes_the_place(store: Backend) {
    let fixture = store.open();
    let old = fixture.create(new(&alice(), "the office is in Oslo"));
    let mut newer = new(&alice(), "the office is in Bergen");
    newer.supersedes = Some(old.id);
    let newer = fixture.create(newer);
    assert_eq!(newer.supersedes, Some(old.id));
    assert_eq!(fixture.found(&alice(), "office"), [newer.id]);
    assert_eq!(fixture.recalled(&alice(), everything()), [newer.id]);
    let read = fixture.get(&alice(), old.id).expect("still readable");
    assert_eq!((read.superseded_by, read.version), (Some(newer.id), 2));
    let history = block(fixture.store.memory_history(&alice(), old.id)).expect("history");
    assert_eq!(history[1].change, "superseded");
    assert_eq!(history[1].superseded_by, Some(newer.id));
    assert_eq!(block(fixture.store.status()).expect("up").memories, 1);
    let stats = block(fixture.store.memory_stats(&alice())).expect("stats");
    assert_eq!((stats.owned, stats.superseded), (2, 1));
}

fn only_once_and_only_what_exists(store: Backend) {
    let fixture = store.open();
    let old = fixture.create(new(&alice(), "first"));
    let replace = |id| {
        let mut newer = new(&alice(), "next");
        newer.supersedes = Some(id);
        fixture.try_create(newer)
    };
    replace(old.id).expect("superseded");
    let again = replace(old.id);
    assert!(
        matches!(
            again,
            Err(StoreError::Conflict {
                current_version: Some(2),
                ..
            })
        ),
        "{again:?}"
    );
    assert_not_found(replace(Uuid::now_v7()));
    let patch = MemoryPatch {
        importance: Some(0.0),
        ..MemoryPatch::default()
    };
    let changed = block(fixture.store.update_memory(&alice(), old.id, patch, None));
    assert!(
        matches!(changed, Err(StoreError::Conflict { .. })),
        "{changed:?}"
    );
    // The refused ones left nothing behind.
    assert_eq!(fixture.recalled(&alice(), Filter::default()).len(), 1);
}

fn takes_a_write_grant_on_the_old_one(store: Backend) {
    let fixture = store.open();
    let old = fixture.create(at_level(&alice(), Access::Team, "first"));
    let replace = || {
        let mut newer = new(&bob(), "next");
        newer.supersedes = Some(old.id);
        fixture.try_create(newer)
    };
    assert_forbidden(replace());
    fixture
        .share(&alice(), old.id, &bob(), Some(Permission::Write))
        .expect("granted");
    assert!(replace().is_ok());
}
