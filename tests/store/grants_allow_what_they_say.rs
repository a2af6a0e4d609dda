//! Grants reach across namespaces, each level includes those before it, and only the owner gives.

use tmws::domain::{Access, MemoryPatch, Permission};

use crate::fixture::*;

on_every_store!(
    each_permission,
    a_grant_taken_back_is_gone,
    private_again_ends_all_grants,
    a_grant_on_a_team_memory_reaches_another_namespace
);

fn each_permission(store: Backend) {
    let fixture = store.open();
    let (owner, other) = (alice(), stranger());
    for (permission, writes, deletes) in [
        (Permission::Read, false, false),
        (Permission::Write, true, false),
        (Permission::Delete, true, true),
    ] {
        let memory = fixture.create(new(&owner, "the pelican brief"));
        let shared = fixture
            .share(&owner, memory.id, &other, Some(permission))
            .expect("shared");
        assert_eq!(shared.access_level, Access::Shared);
        assert_eq!(shared.version, 2);
        assert!(fixture.get(&other, memory.id).is_ok());
        assert!(fixture.found(&other, "pelican").contains(&memory.id));
        assert!(fixture.recalled(&other, everything()).contains(&memory.id));

        let patch = MemoryPatch {
            importance: Some(0.9),
            ..MemoryPatch::default()
        };
        let updated = block(fixture.store.update_memory(&other, memory.id, patch, None));
        assert_eq!(updated.is_ok(), writes);
        // The level stays the owner's, whatever is granted.
        let patch = MemoryPatch {
            access_level: Some(Access::Public),
            ..MemoryPatch::default()
        };
        assert_forbidden(block(
            fixture.store.update_memory(&other, memory.id, patch, None),
        ));
        assert_forbidden(fixture.share(&other, memory.id, &bob(), Some(Permission::Read)));
        let deleted = block(fixture.store.delete_memory(&other, memory.id, false, None));
        assert_eq!(deleted.is_ok(), deletes);
        if deletes {
            assert!(block(fixture.store.memory_history(&other, memory.id)).is_ok());
            assert!(block(fixture.store.delete_memory(&other, memory.id, true, None)).is_ok());
        }
    }
}

fn a_grant_taken_back_is_gone(store: Backend) {
    let fixture = store.open();
    let memory = fixture.create(new(&alice(), "borrowed"));
    fixture
        .share(&alice(), memory.id, &bob(), Some(Permission::Delete))
        .expect("granted");
    fixture
        .share(&alice(), memory.id, &bob(), None)
        .expect("taken back");
    assert_not_found(fixture.get(&bob(), memory.id));
    assert!(fixture.found(&bob(), "borrowed").is_empty());
}

fn private_again_ends_all_grants(store: Backend) {
    let fixture = store.open();
    let memory = fixture.create(new(&alice(), "borrowed"));
    fixture
        .share(&alice(), memory.id, &bob(), Some(Permission::Write))
        .expect("granted");
    let hide = MemoryPatch {
        access_level: Some(Access::Private),
        ..MemoryPatch::default()
    };
    block(fixture.store.update_memory(&alice(), memory.id, hide, None)).expect("hidden");
    assert_not_found(fixture.get(&bob(), memory.id));
    // Sharing with somebody else does not bring the old grant back.
    fixture
        .share(&alice(), memory.id, &stranger(), Some(Permission::Read))
        .expect("granted");
    assert_not_found(fixture.get(&bob(), memory.id));
}

fn a_grant_on_a_team_memory_reaches_another_namespace(store: Backend) {
    let fixture = store.open();
    let memory = fixture.create(at_level(&alice(), Access::Team, "both teams"));
    fixture
        .share(&alice(), memory.id, &stranger(), Some(Permission::Read))
        .expect("granted");
    fixture
        .share(&alice(), memory.id, &bob(), Some(Permission::Write))
        .expect("granted");
    assert_eq!(fixture.recalled(&stranger(), everything()), [memory.id]);
    // Seen by level and by grant, listed once.
    assert_eq!(fixture.recalled(&bob(), everything()), [memory.id]);
    assert_eq!(fixture.found(&bob(), "teams"), [memory.id]);
}
