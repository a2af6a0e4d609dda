//! `expected_version` lets one of two writers win and tells the other what is there.

use tmws::domain::MemoryPatch;
use tmws::store::StoreError;

use crate::fixture::*;

on_every_store!(
    one_of_two_wins,
    a_patch_sets_clears_and_keeps,
    a_patch_without_effect_makes_no_version,
    validity_is_checked_against_the_stored_end
);

fn content(text: &str) -> MemoryPatch {
    MemoryPatch {
        content: Some(text.into()),
        ..MemoryPatch::default()
    }
}

fn one_of_two_wins(store: Backend) {
    let fixture = store.open();
    let id = fixture.create(new(&alice(), "draft")).id;
    let update = |text| {
        block(
            fixture
                .store
                .update_memory(&alice(), id, content(text), Some(1)),
        )
    };
    assert_eq!(update("first").expect("wins").version, 2);
    let lost = update("second");
    assert!(
        matches!(
            lost,
            Err(StoreError::Conflict {
                current_version: Some(2),
                ..
            })
        ),
        "{lost:?}"
    );
    assert_eq!(fixture.get(&alice(), id).expect("there").content, "first");
    let stale = block(fixture.store.delete_memory(&alice(), id, false, Some(1)));
    assert!(
        matches!(stale, Err(StoreError::Conflict { .. })),
        "{stale:?}"
    );
    assert_eq!(
        block(fixture.store.delete_memory(&alice(), id, false, Some(2))).expect("gone"),
        2
    );
}

fn a_patch_sets_clears_and_keeps(store: Backend) {
    let fixture = store.open();
    let mut with_all = new(&alice(), "draft");
    with_all.kind = Some("fact".into());
    with_all.source = Some("a book".into());
    with_all.tags = vec!["a".into(), "b".into()];
    with_all.metadata = tmws::domain::JsonObject::parse(r#"{"k":[1, 2]}"#).expect("an object");
    let before = fixture.create(with_all);
    let patch = MemoryPatch {
        kind: Some(None),
        trust: Some(0.25),
        ..MemoryPatch::default()
    };
    fixture.clock.advance(1);
    let after = block(
        fixture
            .store
            .update_memory(&alice(), before.id, patch, None),
    )
    .expect("ok");
    assert_eq!(
        (after.kind.as_deref(), after.trust, after.version),
        (None, 0.25, 2)
    );
    assert_eq!((&after.source, &after.tags), (&before.source, &before.tags));
    assert_eq!(after.metadata, before.metadata);
    assert!(after.updated_at > before.updated_at);
    let read = fixture.get(&alice(), before.id).expect("there");
    assert_eq!(
        tmws::domain::Memory {
            access_count: 0,
            ..read
        },
        after
    );
}

fn a_patch_without_effect_makes_no_version(store: Backend) {
    let fixture = store.open();
    let id = fixture.create(new(&alice(), "same")).id;
    let same = block(
        fixture
            .store
            .update_memory(&alice(), id, content("same"), None),
    )
    .expect("ok");
    assert_eq!(same.version, 1);
}

fn validity_is_checked_against_the_stored_end(store: Backend) {
    let fixture = store.open();
    let mut bounded = new(&alice(), "last year");
    bounded.valid_to = Some(fixture.clock.now());
    let id = fixture.create(bounded).id;
    let later = fixture.clock.advance(10);
    let patch = MemoryPatch {
        valid_from: Some(Some(later)),
        ..MemoryPatch::default()
    };
    let refused = block(fixture.store.update_memory(&alice(), id, patch, None));
    assert!(
        matches!(refused, Err(StoreError::Invalid(_))),
        "{refused:?}"
    );
}
