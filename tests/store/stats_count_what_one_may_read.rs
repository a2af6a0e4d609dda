//! Statistics of one agent, and nothing of what it may not read.

use tmws::domain::{Access, Permission};

use crate::fixture::*;

on_every_store!(owned_and_shared);

fn owned_and_shared(store: Backend) {
    let fixture = store.open();
    for (content, tags, level) in [
        ("four", &["x", "y"][..], Access::Private),
        ("seven77", &["x"][..], Access::Team),
    ] {
        let mut memory = at_level(&alice(), level, content);
        memory.tags = tags.iter().map(|tag| (*tag).into()).collect();
        memory.importance = if tags.len() == 2 { 0.0 } else { 1.0 };
        fixture.create(memory);
    }
    fixture.create(new(&bob(), "bob's own"));
    fixture.create(at_level(&bob(), Access::Team, "the team's"));
    fixture.create(at_level(&stranger(), Access::Public, "everybody's"));
    fixture.create(at_level(&stranger(), Access::Team, "the other team's"));
    let granted = fixture.create(new(&stranger(), "granted")).id;
    fixture
        .share(&stranger(), granted, &alice(), Some(Permission::Read))
        .expect("shared");

    let stats = block(fixture.store.memory_stats(&alice())).expect("stats");
    assert_eq!(
        (stats.owned, stats.shared_with_me, stats.superseded),
        (2, 3, 0)
    );
    assert_eq!(stats.by_access_level.get("private"), Some(&1));
    assert_eq!(stats.by_access_level.get("team"), Some(&1));
    let tags: Vec<_> = stats
        .top_tags
        .iter()
        .map(|tag| (tag.tag.as_str(), tag.count))
        .collect();
    assert_eq!(tags, [("x", 2), ("y", 1)]);
    assert_eq!((stats.average_importance, stats.content_bytes), (0.5, 11));
    assert!(stats.oldest < stats.newest);
}
