//! Vectors belong to a model and to a text; searches compare those of one model, which changes
//! only when nothing lacks a vector of the next.

use tmws::domain::{Embedded, MemoryPatch, Mode, Model, NewVector, Search, Unembedded};
use tmws::store::StoreError;

use crate::fixture::*;

on_every_store!(
    vectors_are_of_texts,
    a_switch_waits_for_all,
    a_foreign_vector_is_a_conflict
);

fn model(name: &str, dimension: usize) -> Model {
    Model {
        name: name.into(),
        dimension,
    }
}

/// Points along one axis.
fn axis(model: &Model, place: usize) -> Embedded {
    let vector = (0..model.dimension).map(|n| if n == place { 1.0 } else { 0.0 });
    Embedded {
        model: model.clone(),
        vector: vector.collect(),
    }
}

fn meaning(vector: Embedded) -> Search {
    Search {
        query: "anything".into(),
        mode: Mode::Semantic,
        vector: Some(vector),
        filter: everything(),
        similarity_min: Some(0.5),
        limit: 10,
        cursor: None,
        counts_access: true,
    }
}

/// Attaches the vectors along axis 1 that `lacking` lacks.
fn attach(fixture: &Fixture, model: &Model, lacking: &[Unembedded]) -> u64 {
    let vectors = lacking.iter().map(|memory| NewVector {
        id: memory.id,
        text_version: memory.text_version,
        vector: axis(model, 1).vector,
    });
    block(fixture.store.attach_vectors(model, vectors.collect())).expect("attached")
}

fn vectors_are_of_texts(store: Backend) {
    let fixture = store.open();
    let small = model("small", 4);
    let mut with = new(&alice(), "has one from the start");
    with.vector = Some(axis(&small, 0));
    let with = fixture.create(with).id;
    let without = fixture.create(new(&alice(), "gets one later")).id;
    let lacking = block(fixture.store.unembedded(&small, 10)).expect("listed");
    assert_eq!(lacking.len(), 1);
    assert_eq!((lacking[0].id, lacking[0].text_version), (without, 1));

    // A vector of a text that has changed meanwhile is of no use.
    let patch = MemoryPatch {
        content: Some("another text".into()),
        ..MemoryPatch::default()
    };
    block(fixture.store.update_memory(&alice(), without, patch, None)).expect("updated");
    assert_eq!(attach(&fixture, &small, &lacking), 0);
    let lacking = block(fixture.store.unembedded(&small, 10)).expect("listed");
    assert_eq!(lacking[0].text_version, 2);
    assert_eq!(attach(&fixture, &small, &lacking), 1);
    let found = |place| {
        let page = block(
            fixture
                .store
                .search_memories(&alice(), meaning(axis(&small, place))),
        );
        ids(page
            .expect("answered")
            .hits
            .into_iter()
            .map(|hit| hit.memory))
    };
    assert_eq!((found(0), found(1)), (vec![with], vec![without]));

    let patch = MemoryPatch {
        content: Some("a third text".into()),
        ..MemoryPatch::default()
    };
    block(fixture.store.update_memory(&alice(), without, patch, None)).expect("updated");
    assert!(found(1).is_empty(), "the vector of the old text is gone");
    let state = block(fixture.store.embedding_state()).expect("a state");
    let active = state.active.expect("the first model is active");
    assert_eq!(
        (active.model, active.embedded, state.memories),
        (small, 1, 2)
    );
    assert_eq!(state.target, None);
}

fn a_switch_waits_for_all(store: Backend) {
    let fixture = store.open();
    let (first, second) = (model("first", 4), model("second", 3));
    let mut memory = new(&alice(), "of the first model");
    memory.vector = Some(axis(&first, 0));
    let id = fixture.create(memory).id;
    let activate = |model| block(fixture.store.activate_model(model)).expect("an answer");
    assert!(activate(&first), "it is active");
    assert!(!activate(&second), "one memory lacks a vector");
    let state = block(fixture.store.embedding_state()).expect("a state");
    assert_eq!(state.target.expect("noted").model, second);
    let lacking = block(fixture.store.unembedded(&second, 10)).expect("listed");
    assert_eq!(attach(&fixture, &second, &lacking), 1);
    assert!(activate(&second));
    let state = block(fixture.store.embedding_state()).expect("a state");
    assert_eq!(
        (state.active.expect("one").model, state.target),
        (second.clone(), None)
    );
    let page = block(
        fixture
            .store
            .search_memories(&alice(), meaning(axis(&second, 1))),
    );
    assert_eq!(page.expect("answered").hits[0].memory.id, id);
    let old = block(
        fixture
            .store
            .search_memories(&alice(), meaning(axis(&first, 0))),
    );
    assert!(matches!(old, Err(StoreError::Conflict { .. })), "{old:?}");
    assert!(activate(&first), "its vectors were kept");
}

fn a_foreign_vector_is_a_conflict(store: Backend) {
    let fixture = store.open();
    let small = model("small", 4);
    let mut memory = new(&alice(), "too many numbers");
    memory.vector = Some(Embedded {
        model: small,
        vector: axis(&model("large", 5), 0).vector,
    });
    let refused = fixture.try_create(memory);
    assert!(
        matches!(refused, Err(StoreError::Conflict { .. })),
        "{refused:?}"
    );
    assert!(fixture.recalled(&alice(), everything()).is_empty());
}
