//! No query is an error, and none reaches the operators of the search engine.

use proptest::prelude::*;

use crate::fixture::*;

on_every_store!(
    hostile_queries,
    a_query_that_is_no_word_finds_nothing,
    any_string
);

fn hostile_queries(store: Backend) {
    let fixture = store.open();
    fixture.create(new(&bob(), "private to bob"));
    let mine = fixture.create(new(&alice(), "plain words")).id;
    for query in [
        "\"",
        "\"\"\"",
        "'",
        "*",
        "plain*",
        "^plain",
        "NEAR(a b)",
        "a AND",
        "OR",
        "NOT",
        "NOT plain",
        "scope : p1",
        "content : bob",
        "{content tags} : bob",
        "- bob",
        "(",
        ")",
        "a\0b",
        "\u{0}",
        "bob\" OR scope : \"p1",
        "Ⓐ",
        "\u{301}",
        "\u{FEFF}",
        "💥",
        "१२",
        "a + b",
        ";DROP TABLE memory",
    ] {
        let found = fixture.found(&alice(), query);
        assert!(found.is_empty() || found == [mine], "{query:?}");
    }
    assert_eq!(fixture.found(&alice(), "plain"), [mine]);
}

fn a_query_that_is_no_word_finds_nothing(store: Backend) {
    let fixture = store.open();
    fixture.create(new(&alice(), "plain words"));
    for query in ["💥", "...", "Ⓐ", "\u{301}", "ↀ"] {
        assert!(fixture.found(&alice(), query).is_empty(), "{query:?}");
    }
}

fn any_string(store: Backend) {
    let fixture = store.open();
    fixture.create(new(&bob(), "private to bob"));
    proptest!(ProptestConfig::with_cases(300), |(query in "\\PC{0,40}|[\"'*^:(){}+ A-Za-z\0-]{0,40}|.{0,20}")| {
        for hit in fixture.search(&alice(), &query).hits {
            prop_assert_eq!(&*hit.memory.agent_id, "alice");
        }
    });
}
