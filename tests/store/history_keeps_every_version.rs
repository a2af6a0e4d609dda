//! Every change stands in the history with what the memory said then.

use tmws::domain::{MemoryPatch, Permission};

use crate::fixture::*;

on_every_store!(from_creation_to_deletion);

fn from_creation_to_deletion(store: Backend) {
    let fixture = store.open();
    let id = fixture.create(new(&alice(), "one")).id;
    fixture
        .share(&alice(), id, &bob(), Some(Permission::Write))
        .expect("shared");
    let patch = MemoryPatch {
        content: Some("two".into()),
        tags: Some(vec!["t".into()]),
        importance: Some(0.75),
        ..MemoryPatch::default()
    };
    block(fixture.store.update_memory(&bob(), id, patch, None)).expect("updated");
    block(fixture.store.delete_memory(&alice(), id, false, None)).expect("deleted");
    let history = block(fixture.store.memory_history(&alice(), id)).expect("history");
    let told: Vec<_> = history
        .iter()
        .map(|entry| {
            let (change, by) = (entry.change.as_str(), &*entry.changed_by);
            (
                entry.version,
                change,
                by,
                entry.content.as_str(),
                entry.importance,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (1, "created", "alice", "one", 0.5),
            (2, "shared", "alice", "one", 0.5),
            (3, "updated", "bob", "two", 0.75),
            (4, "deleted", "alice", "two", 0.75),
        ]
    );
    assert_eq!(history[2].tags, ["t"]);
    // Bob could write it, so he may still look; a reader may not.
    assert!(block(fixture.store.memory_history(&bob(), id)).is_ok());
}
