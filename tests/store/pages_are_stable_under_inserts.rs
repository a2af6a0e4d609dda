//! A walk over pages shows every memory once that was there at its start, whatever is stored
//! meanwhile.

use tmws::domain::{Access, Order, Recall};
use tmws::store::StoreError;

use crate::fixture::*;

on_every_store!(in_every_order, bad_cursors_are_named);

fn page(order: Order, cursor: Option<String>) -> Recall {
    Recall {
        filter: everything(),
        order,
        limit: 3,
        cursor,
        counts_access: true,
    }
}

fn in_every_order(store: Backend) {
    for order in [
        Order::Newest,
        Order::Oldest,
        Order::Importance,
        Order::Updated,
    ] {
        let fixture = store.open();
        let mut expected: Vec<_> = (0..14)
            .map(|n| {
                let owner = [alice(), bob(), stranger()][n % 3].clone();
                let level = if n % 3 == 2 {
                    Access::Public
                } else {
                    Access::Team
                };
                let mut memory = at_level(&owner, level, &format!("memory {n}"));
                memory.importance = (n % 4) as f64 / 10.0;
                fixture.create(memory)
            })
            .collect();
        match order {
            Order::Oldest => {}
            Order::Newest | Order::Updated => expected.reverse(),
            Order::Importance => {
                expected.reverse();
                expected.sort_by(|a, b| b.importance.total_cmp(&a.importance));
            }
        }
        let expected = ids(expected);
        let mut walked = Vec::new();
        let mut cursor = None;
        loop {
            let recall = page(order, cursor.take());
            let next = block(fixture.store.recall_memories(&alice(), recall)).expect("a page");
            walked.extend(ids(next.items));
            if next.next_cursor.is_none() {
                break;
            }
            cursor = next.next_cursor;
            fixture.create(at_level(&alice(), Access::Team, "meanwhile"));
        }
        walked.retain(|id| expected.contains(id));
        assert_eq!(walked, expected, "{order:?}");
    }
}

fn bad_cursors_are_named(store: Backend) {
    let fixture = store.open();
    for n in 0..4 {
        fixture.create(new(&alice(), &format!("memory {n}")));
    }
    let first = block(
        fixture
            .store
            .recall_memories(&alice(), page(Order::Newest, None)),
    );
    let cursor = first.expect("a page").next_cursor;
    assert!(cursor.is_some());
    let foreign = page(Order::Updated, cursor);
    let cases =
        ["", "!", "AAAA", "zzzzzzzzzzzz"].map(|text| page(Order::Newest, Some(text.into())));
    for recall in cases.into_iter().chain([foreign]) {
        let refused = block(fixture.store.recall_memories(&alice(), recall));
        assert!(
            matches!(&refused, Err(StoreError::Invalid(rule)) if rule.field == "cursor"),
            "{refused:?}"
        );
    }
}
