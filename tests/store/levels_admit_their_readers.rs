//! Who reads a level, by get, search, recall and history alike; and that readers never write.

use tmws::domain::{Access, Filter, Memory, MemoryPatch};
use tmws::store::Viewer;

use crate::fixture::*;

on_every_store!(
    each_level,
    readers_do_not_write,
    system_is_written_by_admins,
    search_follows_a_change_of_level
);

/// All ways of reading agree.
#[track_caller]
fn assert_reads(fixture: &Fixture, viewer: &Viewer, memory: &Memory, may: bool) {
    let level = memory.access_level;
    assert_eq!(fixture.get(viewer, memory.id).is_ok(), may, "get {level:?}");
    let history = block(fixture.store.memory_history(viewer, memory.id));
    assert_eq!(history.is_ok(), may, "history {level:?}");
    let found = fixture.found(viewer, &memory.content);
    assert_eq!(found.contains(&memory.id), may, "search {level:?}");
    let recalled = fixture.recalled(viewer, everything());
    assert_eq!(recalled.contains(&memory.id), may, "recall {level:?}");
    let filter = Filter {
        ids: vec![memory.id],
        ..everything()
    };
    assert_eq!(
        fixture.recalled(viewer, filter).len() == 1,
        may,
        "recall by id {level:?}"
    );
}

fn each_level(store: Backend) {
    let fixture = store.open();
    for (level, colleague, foreigner) in [
        (Access::Private, false, false),
        (Access::Team, true, false),
        (Access::Shared, false, false),
        (Access::Public, true, true),
        (Access::System, true, true),
    ] {
        let owner = Viewer {
            admin: true,
            ..alice()
        };
        let memory = fixture.create(at_level(&owner, level, level.as_str()));
        assert_reads(&fixture, &owner, &memory, true);
        assert_reads(&fixture, &bob(), &memory, colleague);
        assert_reads(&fixture, &stranger(), &memory, foreigner);
    }
    let only_own = fixture.recalled(&bob(), Filter::default());
    assert!(only_own.is_empty());
}

fn readers_do_not_write(store: Backend) {
    let fixture = store.open();
    for level in [Access::Team, Access::Public] {
        let memory = fixture.create(at_level(&alice(), level, "look, do not touch"));
        let patch = MemoryPatch {
            importance: Some(0.1),
            ..MemoryPatch::default()
        };
        assert_forbidden(block(fixture.store.update_memory(
            &bob(),
            memory.id,
            patch,
            None,
        )));
        for purge in [false, true] {
            assert_forbidden(block(fixture.store.delete_memory(
                &bob(),
                memory.id,
                purge,
                None,
            )));
        }
        assert_forbidden(fixture.share(&bob(), memory.id, &bob(), None));
        let mut replacement = new(&bob(), "mine");
        replacement.supersedes = Some(memory.id);
        assert_forbidden(fixture.try_create(replacement));
    }
}

fn system_is_written_by_admins(store: Backend) {
    let fixture = store.open();
    assert_forbidden(fixture.try_create(at_level(&alice(), Access::System, "rules")));
    let memory = fixture.create(at_level(&admin(), Access::System, "rules"));
    let patch = || MemoryPatch {
        content: Some("no rules".into()),
        ..MemoryPatch::default()
    };
    assert_forbidden(block(fixture.store.update_memory(
        &alice(),
        memory.id,
        patch(),
        None,
    )));
    let former = Viewer {
        admin: false,
        ..admin()
    };
    assert_forbidden(block(fixture.store.update_memory(
        &former,
        memory.id,
        patch(),
        None,
    )));
    let other = Viewer {
        admin: true,
        ..alice()
    };
    assert!(
        block(
            fixture
                .store
                .update_memory(&other, memory.id, patch(), None)
        )
        .is_ok()
    );

    let own = fixture.create(new(&alice(), "my rules"));
    let raise = MemoryPatch {
        access_level: Some(Access::System),
        ..MemoryPatch::default()
    };
    assert_forbidden(block(fixture.store.update_memory(
        &alice(),
        own.id,
        raise,
        None,
    )));
}

fn search_follows_a_change_of_level(store: Backend) {
    let fixture = store.open();
    let memory = fixture.create(at_level(&alice(), Access::Team, "walrus"));
    assert_eq!(fixture.found(&bob(), "walrus"), [memory.id]);
    let hide = MemoryPatch {
        access_level: Some(Access::Private),
        ..MemoryPatch::default()
    };
    block(fixture.store.update_memory(&alice(), memory.id, hide, None)).expect("hidden");
    assert!(fixture.found(&bob(), "walrus").is_empty());
    assert_eq!(fixture.found(&alice(), "walrus"), [memory.id]);
}
