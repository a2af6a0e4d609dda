//! Search sees a memory as soon as its creation is acknowledged, by words, codes and scripts.

use tmws::domain::{Access, Filter, MemoryPatch};

use crate::fixture::*;

on_every_store!(
    by_words_codes_and_scripts,
    stop_words_alone_are_looked_for,
    better_matches_come_first_with_scores_from_0_to_1,
    equal_scores_come_newest_first,
    importance_weighs,
    filters_narrow_down,
    an_update_is_found_by_its_new_words_only,
    a_cap_on_candidates_is_told
);

fn by_words_codes_and_scripts(store: Backend) {
    let fixture = store.open();
    let text = "Deployment of foo_bar failed (INC-20417), see /var/log/app.log or mail \
                ops@example.com: die Straße in Zürich, 東京都の天気は晴れ";
    let id = fixture.create(new(&alice(), text)).id;
    for noise in ["weather in Oslo", "log rotation", "mail server", "天下"] {
        fixture.create(new(&bob(), noise));
    }
    for query in [
        "deployments",
        "FAILING",
        "inc-20417",
        "INC-20417",
        "20417",
        "foo_bar",
        "/var/log/app.log",
        "app.log?",
        "ops@example.com",
        "zurich",
        "東京",
        "天気",
        "天",
        "what was the deployment?",
    ] {
        assert_eq!(fixture.found(&alice(), query), [id], "{query}");
    }
    for query in ["20418", "東北", "unrelated"] {
        assert!(fixture.found(&alice(), query).is_empty(), "{query}");
    }
}

fn stop_words_alone_are_looked_for(store: Backend) {
    let fixture = store.open();
    let id = fixture.create(new(&alice(), "to be or not to be")).id;
    assert_eq!(fixture.found(&alice(), "to be"), [id]);
}

fn better_matches_come_first_with_scores_from_0_to_1(store: Backend) {
    let fixture = store.open();
    let both = fixture.create(new(&alice(), "the cat chased the heron")).id;
    let mut tagged = new(&alice(), "something about a bird");
    tagged.tags = vec!["heron".into()];
    let tagged = fixture.create(tagged).id;
    let long = format!("a heron {}", "and many other words ".repeat(50));
    let long = fixture.create(new(&alice(), &long)).id;
    let page = fixture.search(&alice(), "cat heron");
    let order: Vec<_> = page.hits.iter().map(|hit| hit.memory.id).collect();
    assert_eq!(order, [both, tagged, long]);
    assert!(page.hits.iter().all(|hit| (0.0..=1.0).contains(&hit.score)));
    assert!(!page.truncated);
}

fn equal_scores_come_newest_first(store: Backend) {
    let fixture = store.open();
    let mut same: Vec<_> = (0..5)
        .map(|_| fixture.create(new(&alice(), "twin")).id)
        .collect();
    same.reverse();
    assert_eq!(fixture.found(&alice(), "twin"), same);
}

fn importance_weighs(store: Backend) {
    let fixture = store.open();
    let mut heavy = new(&alice(), "twin");
    heavy.importance = 1.0;
    let heavy = fixture.create(heavy).id;
    fixture.create(new(&alice(), "twin"));
    assert_eq!(fixture.found(&alice(), "twin")[0], heavy);
}

fn filters_narrow_down(store: Backend) {
    let fixture = store.open();
    let mut plan = new(&alice(), "harbour plan");
    (plan.kind, plan.tags) = (Some("plan".into()), vec!["a b".into(), "sea".into()]);
    let plan = fixture.create(plan).id;
    fixture.create(at_level(&bob(), Access::Team, "harbour team"));
    let find = |filter| {
        let page = fixture.search_with(&alice(), "harbour", filter);
        ids(page.hits.into_iter().map(|hit| hit.memory))
    };
    assert_eq!(find(everything()).len(), 2);
    assert_eq!(find(Filter::default()), [plan]);
    assert_eq!(
        find(Filter {
            tags: vec!["sea".into(), "a b".into()],
            ..everything()
        }),
        [plan]
    );
    assert!(
        find(Filter {
            tags: vec!["a".into()],
            ..everything()
        })
        .is_empty(),
        "part of a tag"
    );
    assert_eq!(
        find(Filter {
            kind: Some("plan".into()),
            ..everything()
        }),
        [plan]
    );
    assert_eq!(
        find(Filter {
            agent: Some("alice".into()),
            ..everything()
        }),
        [plan]
    );
    assert_eq!(
        find(Filter {
            ids: vec![plan],
            ..everything()
        }),
        [plan]
    );
    assert!(
        find(Filter {
            importance_min: Some(0.6),
            ..everything()
        })
        .is_empty()
    );
}

fn an_update_is_found_by_its_new_words_only(store: Backend) {
    let fixture = store.open();
    let id = fixture.create(new(&alice(), "sparrow")).id;
    let patch = MemoryPatch {
        content: Some("eagle".into()),
        ..MemoryPatch::default()
    };
    block(fixture.store.update_memory(&alice(), id, patch, None)).expect("updated");
    assert_eq!(fixture.found(&alice(), "eagle"), [id]);
    assert!(fixture.found(&alice(), "sparrow").is_empty());
}

fn a_cap_on_candidates_is_told(store: Backend) {
    let fixture = store.open();
    let rare = fixture
        .create(new(&alice(), "common words and one zebra"))
        .id;
    let many = (0..1_200).map(|_| new(&alice(), "common words")).collect();
    let results = block(fixture.store.create_memories(many)).expect("stored");
    assert!(results.iter().all(Result::is_ok));
    let mut page = fixture.search(&alice(), "common");
    assert_eq!(page.hits.len(), 10);
    let mut shown = ids(page.hits.iter().map(|hit| hit.memory.clone()));
    while let Some(cursor) = page.next_cursor.take() {
        assert!(!page.truncated, "not before the end");
        page = fixture.search_page(&alice(), "common", everything(), Some(cursor));
        shown.extend(ids(page.hits.iter().map(|hit| hit.memory.clone())));
    }
    assert!(page.truncated, "the pages end before the matches do");
    assert_eq!(shown.len(), 200);
    shown.sort_unstable();
    shown.dedup();
    assert_eq!(shown.len(), 200, "nothing is shown twice");
    // A rare word brings its memory to the top however old it is.
    assert_eq!(fixture.found(&alice(), "common zebra")[0], rare);
}
