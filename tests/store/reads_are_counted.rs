//! Get, search and recall count; the count comes with the answer.

use tmws::domain::Filter;

use crate::fixture::*;

on_every_store!(by_every_way_of_reading);

fn by_every_way_of_reading(store: Backend) {
    let fixture = store.open();
    let memory = fixture.create(new(&alice(), "counted"));
    assert_eq!(memory.access_count, 0);
    assert_eq!(
        fixture
            .get(&alice(), memory.id)
            .expect("there")
            .access_count,
        1
    );
    assert_eq!(
        fixture.search(&alice(), "counted").hits[0]
            .memory
            .access_count,
        2
    );
    fixture.recalled(&alice(), Filter::default());
    assert_eq!(
        fixture
            .get(&alice(), memory.id)
            .expect("there")
            .access_count,
        4
    );
}
