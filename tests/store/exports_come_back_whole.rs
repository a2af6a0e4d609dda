//! What one store exports, another takes in as it was.

use tmws::domain::{MemoryPatch, Permission, Record};

use crate::fixture::*;

on_every_store!(every_part_of_it);

fn export(fixture: &Fixture) -> Vec<Record> {
    let (mut records, mut cursor) = (Vec::new(), None);
    loop {
        let page = block(fixture.store.export(2, cursor)).expect("a page");
        records.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return records;
        }
    }
}

fn every_part_of_it(store: Backend) {
    let from = store.open();
    let mut rich = new(&alice(), "first text");
    rich.tags = vec!["a b".into(), "c".into()];
    rich.metadata = tmws::domain::JsonObject::parse(r#"{"k":1}"#).expect("an object");
    let rich = from.create(rich).id;
    let patch = MemoryPatch {
        content: Some("second text".into()),
        ..MemoryPatch::default()
    };
    block(from.store.update_memory(&alice(), rich, patch, None)).expect("updated");
    from.share(&alice(), rich, &stranger(), Some(Permission::Write))
        .expect("shared");
    let mut newer = new(&bob(), "old");
    newer.ttl_seconds = Some(1_000);
    let old = from.create(newer).id;
    let mut newer = new(&bob(), "new");
    newer.supersedes = Some(old);
    from.create(newer);
    let deleted = from.create(new(&bob(), "deleted")).id;
    block(from.store.delete_memory(&bob(), deleted, false, None)).expect("deleted");

    let records = export(&from);
    assert_eq!(records.len(), 4);
    for target in [Backend::Sqlite, Backend::Postgres] {
        let to = target.open_at(from.clock.clone());
        let imported = block(to.store.import(records.clone())).expect("imported");
        assert_eq!((imported.created, imported.skipped), (4, 0));
        assert_eq!(export(&to), records, "to {target:?}");
        let again = block(to.store.import(records.clone())).expect("imported");
        assert_eq!((again.created, again.skipped), (0, 4));
        assert_eq!(to.found(&stranger(), "second"), [rich]);
        assert_eq!(to.recalled(&bob(), everything()).len(), 1);
    }
}
