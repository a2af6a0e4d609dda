//! The end of a time to live is the end for every reader, whether or not the row is still there.

use std::time::{Duration, Instant};

use tmws::domain::{Filter, MemoryPatch, Permission};

use crate::fixture::*;

on_every_store!(
    for_everybody_and_everywhere,
    a_new_time_to_live_begins_with_the_update
);

fn for_everybody_and_everywhere(store: Backend) {
    let fixture = store.open();
    let mut brief = new(&alice(), "the code is 4711");
    brief.ttl_seconds = Some(60);
    let id = fixture.create(brief).id;
    fixture.clock.advance(59);
    assert_eq!(fixture.found(&alice(), "4711"), [id]);
    fixture.clock.advance(2);
    assert_not_found(fixture.get(&alice(), id));
    assert!(fixture.found(&alice(), "4711").is_empty());
    assert!(
        fixture
            .recalled(
                &alice(),
                Filter {
                    ids: vec![id],
                    ..everything()
                }
            )
            .is_empty()
    );
    assert_not_found(block(fixture.store.memory_history(&alice(), id)));
    let patch = MemoryPatch {
        ttl_seconds: Some(None),
        ..MemoryPatch::default()
    };
    assert_not_found(block(fixture.store.update_memory(
        &alice(),
        id,
        patch,
        None,
    )));
    assert_not_found(fixture.share(&alice(), id, &bob(), Some(Permission::Read)));
    assert_eq!(
        block(fixture.store.memory_stats(&alice()))
            .expect("stats")
            .owned,
        0
    );
    // The sweep follows and gives the room back.
    let deadline = Instant::now() + Duration::from_secs(10);
    while block(fixture.store.status()).expect("up").memories > 0 {
        assert!(Instant::now() < deadline, "the sweep does not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn a_new_time_to_live_begins_with_the_update(store: Backend) {
    let fixture = store.open();
    let mut brief = new(&alice(), "prolonged");
    brief.ttl_seconds = Some(60);
    let id = fixture.create(brief).id;
    fixture.clock.advance(50);
    let patch = MemoryPatch {
        ttl_seconds: Some(Some(60)),
        ..MemoryPatch::default()
    };
    block(fixture.store.update_memory(&alice(), id, patch, None)).expect("prolonged");
    fixture.clock.advance(50);
    let patch = MemoryPatch {
        ttl_seconds: Some(None),
        ..MemoryPatch::default()
    };
    let kept = block(fixture.store.update_memory(&alice(), id, patch, None)).expect("kept");
    assert_eq!(kept.expires_at, None);
}
