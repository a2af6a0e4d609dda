//! A private memory does not exist for anybody else, by whatever way they try.

use tmws::domain::{Access, Filter, MemoryPatch, Permission};

use crate::fixture::*;

on_every_store!(
    by_id,
    by_search_recall_and_stats,
    a_deleted_memory_is_gone_for_readers
);

fn by_id(store: Backend) {
    let fixture = store.open();
    let secret = fixture.create(new(&alice(), "the secret of the kraken"));
    for other in [bob(), stranger(), admin()] {
        assert_not_found(fixture.get(&other, secret.id));
        let patch = MemoryPatch {
            importance: Some(1.0),
            ..MemoryPatch::default()
        };
        assert_not_found(block(
            fixture.store.update_memory(&other, secret.id, patch, None),
        ));
        // A wrong version must not tell that the memory exists.
        let patch = MemoryPatch::default();
        assert_not_found(block(fixture.store.update_memory(
            &other,
            secret.id,
            patch,
            Some(9),
        )));
        for purge in [false, true] {
            assert_not_found(block(
                fixture.store.delete_memory(&other, secret.id, purge, None),
            ));
        }
        assert_not_found(fixture.share(&other, secret.id, &other, Some(Permission::Delete)));
        assert_not_found(block(fixture.store.memory_history(&other, secret.id)));
        let mut replacement = new(&other, "mine now");
        replacement.supersedes = Some(secret.id);
        assert_not_found(fixture.try_create(replacement));
    }
    assert_eq!(
        fixture.get(&alice(), secret.id).expect("untouched").version,
        1
    );
}

fn by_search_recall_and_stats(store: Backend) {
    let fixture = store.open();
    let secret = fixture.create(new(&alice(), "the secret of the kraken"));
    for other in [bob(), stranger(), admin()] {
        assert!(fixture.found(&other, "secret kraken").is_empty());
        assert!(fixture.recalled(&other, everything()).is_empty());
        let by_id = Filter {
            ids: vec![secret.id],
            ..everything()
        };
        assert!(fixture.recalled(&other, by_id).is_empty());
        let by_owner = Filter {
            agent: Some("alice".into()),
            ..everything()
        };
        assert!(fixture.recalled(&other, by_owner).is_empty());
        let stats = block(fixture.store.memory_stats(&other)).expect("stats");
        assert_eq!((stats.owned, stats.shared_with_me), (0, 0));
    }
}

fn a_deleted_memory_is_gone_for_readers(store: Backend) {
    let fixture = store.open();
    let memory = fixture.create(at_level(&alice(), Access::Public, "soon gone"));
    block(
        fixture
            .store
            .delete_memory(&alice(), memory.id, false, None),
    )
    .expect("deleted");
    assert_not_found(fixture.get(&stranger(), memory.id));
    assert_not_found(block(fixture.store.memory_history(&stranger(), memory.id)));
    assert_not_found(block(fixture.store.delete_memory(
        &stranger(),
        memory.id,
        true,
        None,
    )));
}
