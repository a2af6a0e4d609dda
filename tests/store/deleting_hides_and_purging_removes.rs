//! A deleted memory leaves every listing but its history; a purged one leaves nothing.

use tmws::domain::Filter;

use crate::fixture::*;

on_every_store!(deleted_then_purged, purged_at_once);

fn deleted_then_purged(store: Backend) {
    let fixture = store.open();
    let id = fixture.create(new(&alice(), "a mistake")).id;
    assert_eq!(block(fixture.store.status()).expect("up").memories, 1);
    block(fixture.store.delete_memory(&alice(), id, false, None)).expect("deleted");
    assert_not_found(fixture.get(&alice(), id));
    assert_not_found(block(fixture.store.delete_memory(
        &alice(),
        id,
        false,
        None,
    )));
    assert!(fixture.found(&alice(), "mistake").is_empty());
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
    assert_eq!(block(fixture.store.status()).expect("up").memories, 0);
    assert_eq!(
        block(fixture.store.memory_history(&alice(), id))
            .expect("kept")
            .len(),
        2
    );

    block(fixture.store.delete_memory(&alice(), id, true, None)).expect("purged");
    assert_not_found(block(fixture.store.memory_history(&alice(), id)));
    assert_not_found(block(fixture.store.delete_memory(&alice(), id, true, None)));
    assert_eq!(block(fixture.store.status()).expect("up").memories, 0);
}

fn purged_at_once(store: Backend) {
    let fixture = store.open();
    let id = fixture.create(new(&alice(), "a mistake")).id;
    assert_eq!(
        block(fixture.store.delete_memory(&alice(), id, true, None)).expect("purged"),
        1
    );
    assert_not_found(block(fixture.store.memory_history(&alice(), id)));
    assert!(fixture.found(&alice(), "mistake").is_empty());
    assert_eq!(block(fixture.store.status()).expect("up").memories, 0);
}
