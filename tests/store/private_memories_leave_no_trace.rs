//! Two worlds, one with a private memory and one without: whatever anybody else tries, the answers are the same.
//!
//! That is more than not being shown the memory: no count, score, page, order or error may depend on it.

use tmws::domain::{
    Access, AgentKey, Embedded, Filter, Memory, MemoryPatch, Mode, Model, Order, Permission,
    Recall, Search, SearchPage, Share, Timestamp,
};
use tmws::store::{StoreError, Viewer};
use uuid::Uuid;

use crate::fixture::*;

on_every_store!(
    nobody_else_can_tell_the_worlds_apart,
    what_was_private_or_becomes_so
);

const SECRET: &str = "the vault code of the kraken project is 4711";

/// Answers, each under the name of the attempt.
type Answers = Vec<(String, String)>;

fn nobody_else_can_tell_the_worlds_apart(store: Backend) {
    let clock = TestClock::new().now();
    let without = World::new(store, clock, Secrets::None);
    let private = World::new(store, clock, Secrets::Private);
    let granted = World::new(store, clock, Secrets::SharedWithSomebodyElse);
    for (who, viewer) in [
        ("colleague", bob()),
        ("same name elsewhere", stranger()),
        ("admin", admin()),
    ] {
        let expected = without.attempts(&viewer);
        assert!(expected.len() >= 40, "{}", expected.len());
        for (level, world) in [("private", &private), ("shared", &granted)] {
            for ((attempt, expected), (_, found)) in expected.iter().zip(world.attempts(&viewer)) {
                assert_eq!(*expected, found, "{who}, {level}: {attempt}");
            }
        }
    }
}

fn what_was_private_or_becomes_so(store: Backend) {
    let world = World::new(store, TestClock::new().now(), Secrets::Private);
    let fixture = &world.fixture;
    let open = fixture.create(at_level(&alice(), Access::Team, "the plan of the kraken"));
    assert!(fixture.found(&bob(), "plan kraken").contains(&open.id));
    let patch = MemoryPatch {
        access_level: Some(Access::Private),
        content: Some("the plan of the kraken, now with the vault code".into()),
        ..MemoryPatch::default()
    };
    block(fixture.store.update_memory(&alice(), open.id, patch, None)).expect("alice owns it");
    assert!(!fixture.found(&bob(), "plan kraken").contains(&open.id));
    assert_not_found(fixture.get(&bob(), open.id));
    assert_not_found(block(fixture.store.memory_history(&bob(), open.id)));
    // A grant that is taken back leaves nothing behind.
    fixture
        .share(&alice(), world.secret, &bob(), Some(Permission::Read))
        .expect("alice owns it");
    assert!(
        fixture
            .found(&bob(), "vault kraken")
            .contains(&world.secret)
    );
    fixture
        .share(&alice(), world.secret, &bob(), None)
        .expect("alice owns it");
    assert!(fixture.found(&bob(), "vault kraken").is_empty());
    assert_not_found(fixture.get(&bob(), world.secret));
}

/// What alice keeps to herself.
#[derive(Clone, Copy, PartialEq)]
enum Secrets {
    None,
    Private,
    SharedWithSomebodyElse,
}

struct World {
    fixture: Fixture,
    /// Alice's secret, or an id that nobody has.
    secret: Uuid,
    begun: Timestamp,
}

impl World {
    fn new(store: Backend, begun: Timestamp, secrets: Secrets) -> Self {
        let fixture = store.open_at(TestClock::at(begun));
        let level = match secrets {
            Secrets::SharedWithSomebodyElse => Access::Shared,
            Secrets::None | Secrets::Private => Access::Private,
        };
        let mut secret = Uuid::now_v7();
        let hide = |content: &str, seed| {
            let mut new = at_level(&alice(), level, content);
            new.tags = vec!["kraken".into(), "vault".into()];
            new.kind = Some("secret".into());
            new.source = Some("alice's diary".into());
            new.importance = 0.9;
            new.vector = Some(vector(seed));
            match secrets {
                Secrets::None => drop(fixture.clock.advance(1)),
                _ => {
                    fixture.clock.advance(1);
                    secret = fixture.create_now(new).id;
                }
            }
        };
        hidden_among_others(&fixture, hide);
        if secrets == Secrets::SharedWithSomebodyElse {
            let carol = viewer("red", "carol");
            fixture
                .share(&alice(), secret, &carol, Some(Permission::Delete))
                .expect("alice owns it");
        }
        Self {
            fixture,
            secret,
            begun,
        }
    }

    /// Everything that `viewer` can try.
    fn attempts(&self, viewer: &Viewer) -> Answers {
        let mut answers = Vec::new();
        self.by_id(viewer, &mut answers);
        self.by_search(viewer, &mut answers);
        self.by_recall(viewer, &mut answers);
        let stats = block(self.fixture.store.memory_stats(viewer)).expect("counted");
        answers.push(("stats".into(), format!("{stats:?}")));
        answers
    }

    fn by_id(&self, viewer: &Viewer, answers: &mut Answers) {
        let store = &self.fixture.store;
        let id = self.secret;
        let mut note = |attempt: &str, answer: String| answers.push((attempt.into(), answer));
        note("get", outcome(self.fixture.get(viewer, id)));
        note("history", outcome(block(store.memory_history(viewer, id))));
        for expected in [None, Some(1), Some(9)] {
            let patch = MemoryPatch {
                importance: Some(0.1),
                ..MemoryPatch::default()
            };
            let answer = outcome(block(store.update_memory(viewer, id, patch, expected)));
            note(&format!("update, expecting {expected:?}"), answer);
            for purge in [false, true] {
                let answer = outcome(block(store.delete_memory(viewer, id, purge, expected)));
                note(
                    &format!("delete, purge {purge}, expecting {expected:?}"),
                    answer,
                );
            }
        }
        let open = MemoryPatch {
            access_level: Some(Access::Public),
            ..MemoryPatch::default()
        };
        note(
            "make public",
            outcome(block(store.update_memory(viewer, id, open, None))),
        );
        for permission in [Some(Permission::Read), Some(Permission::Delete), None] {
            let answer = outcome(self.fixture.share(viewer, id, viewer, permission));
            note(&format!("share with oneself, {permission:?}"), answer);
        }
        let agents = vec![AgentKey::new("red", "carol").expect("a name")];
        let share = Share {
            id,
            agents,
            permission: Some(Permission::Read),
        };
        note(
            "share with another",
            outcome(block(store.share_memory(viewer, share))),
        );
        let mut replacement = new(viewer, "mine now");
        replacement.supersedes = Some(id);
        note("supersede", outcome(self.fixture.try_create(replacement)));
    }

    fn by_search(&self, viewer: &Viewer, answers: &mut Answers) {
        let queries = [
            SECRET,
            "kraken",
            "vault code 4711",
            "alice",
            "common harbour",
            "zebra",
        ];
        for mode in [Mode::Lexical, Mode::Semantic, Mode::Hybrid] {
            for query in queries {
                let answer = self.search(viewer, query, mode, everything(), None);
                answers.push((format!("search {mode:?} {query}"), answer));
            }
        }
        for (name, filter) in self.filters() {
            let answer = self.search(viewer, "kraken harbour", Mode::Hybrid, filter, None);
            answers.push((format!("search by {name}"), answer));
        }
        for least in [0.2, 0.9] {
            let answer = self.search(viewer, SECRET, Mode::Semantic, everything(), Some(least));
            answers.push((format!("search, at least {least}"), answer));
        }
    }

    fn by_recall(&self, viewer: &Viewer, answers: &mut Answers) {
        for (name, filter) in self.filters() {
            for order in [
                Order::Newest,
                Order::Oldest,
                Order::Importance,
                Order::Updated,
            ] {
                let mut pages = Vec::new();
                let mut cursor = None;
                loop {
                    let recall = Recall {
                        filter: filter.clone(),
                        order,
                        limit: 2,
                        cursor,
                        counts_access: true,
                    };
                    let page = block(self.fixture.store.recall_memories(viewer, recall));
                    let page = page.expect("recalled");
                    pages.push(page.items.iter().map(seen).collect::<Vec<_>>());
                    cursor = page.next_cursor;
                    if let Some(cursor) = &cursor {
                        assert_tells_no_row(cursor);
                    } else {
                        break;
                    }
                }
                answers.push((format!("recall {order:?} by {name}"), format!("{pages:?}")));
            }
        }
    }

    fn filters(&self) -> Vec<(&'static str, Filter)> {
        let tag = |tag: &str| vec![tag.to_owned()];
        vec![
            ("nothing", everything()),
            ("own only", Filter::default()),
            (
                "id",
                Filter {
                    ids: vec![self.secret],
                    ..everything()
                },
            ),
            (
                "owner",
                Filter {
                    agent: Some("alice".into()),
                    ..everything()
                },
            ),
            (
                "tag",
                Filter {
                    tags: tag("kraken"),
                    ..everything()
                },
            ),
            (
                "kind",
                Filter {
                    kind: Some("secret".into()),
                    ..everything()
                },
            ),
            (
                "source",
                Filter {
                    source: Some("alice's diary".into()),
                    ..everything()
                },
            ),
            (
                "importance",
                Filter {
                    importance_min: Some(0.85),
                    ..everything()
                },
            ),
            (
                "trust",
                Filter {
                    trust_min: Some(1.0),
                    ..everything()
                },
            ),
            (
                "time",
                Filter {
                    created_from: Some(self.begun),
                    ..everything()
                },
            ),
            (
                "as of",
                Filter {
                    as_of: Some(self.fixture.clock.now()),
                    ..everything()
                },
            ),
        ]
    }

    fn search(
        &self,
        viewer: &Viewer,
        query: &str,
        mode: Mode,
        filter: Filter,
        similarity_min: Option<f64>,
    ) -> String {
        let mut cursor = None;
        let mut answer = String::new();
        loop {
            let search = Search {
                query: query.into(),
                mode,
                vector: Some(vector(query.len() as u64)),
                filter: filter.clone(),
                similarity_min,
                limit: 3,
                cursor,
                counts_access: false,
            };
            let page = block(self.fixture.store.search_memories(viewer, search));
            let SearchPage {
                hits,
                truncated,
                next_cursor,
            } = page.expect("answered");
            for hit in &hits {
                answer += &format!("{} {} {:?}\n", seen(&hit.memory), hit.score, hit.parts);
            }
            answer += &format!("truncated {truncated}\n");
            cursor = next_cursor;
            if cursor.is_none() {
                return answer;
            }
        }
    }
}

/// Memories that others see, with what alice hides between them.
fn hidden_among_others(fixture: &Fixture, mut hide: impl FnMut(&str, u64)) {
    let open = |owner: &Viewer, level, content: &str, seed| {
        let mut new = at_level(owner, level, content);
        new.vector = Some(vector(seed));
        new.tags = vec!["harbour".into()];
        fixture.clock.advance(1);
        fixture.create_now(new)
    };
    open(&bob(), Access::Private, "common harbour of bob", 1);
    hide(SECRET, 2);
    open(&alice(), Access::Team, "common harbour of the team", 3);
    hide("the kraken sleeps in the common harbour", 4);
    open(&stranger(), Access::Private, "common harbour elsewhere", 5);
    open(
        &stranger(),
        Access::Public,
        "a zebra in the common harbour",
        6,
    );
    hide("zebra, vault and kraken", 7);
    open(&admin(), Access::System, "harbour rules for all", 8);
    hide("common common common harbour", 9);
    open(&bob(), Access::Shared, "harbour notes of bob", 10);
}

/// A row's number would tell how many memories all agents have: it must not stand in a cursor.
#[track_caller]
fn assert_tells_no_row(cursor: &str) {
    use base64::Engine;
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let bytes = engine.decode(cursor).expect("base64");
    // Two bytes say what cursor it is; numbers follow.
    let (numbers, _) = bytes[2..].as_chunks::<8>();
    let mut numbers = numbers.iter().map(|bytes| u64::from_be_bytes(*bytes));
    let small = numbers.any(|number| (1..1_000).contains(&number));
    assert!(!small, "{bytes:?}");
}

/// A memory as it looks but for its id, which no world has in common.
fn seen(memory: &Memory) -> String {
    format!(
        "{}/{} {:?} v{} {} {} {:?}",
        memory.namespace,
        memory.agent_id,
        memory.content,
        memory.version,
        memory.created_at,
        memory.access_level.as_str(),
        memory.tags,
    )
}

fn outcome<T>(result: Result<T, StoreError>) -> String {
    match result {
        Ok(_) => "it worked".into(),
        Err(error) => format!("{error:?}"),
    }
}

/// A vector of few dimensions that has much in common with all others.
fn vector(seed: u64) -> Embedded {
    let values: Vec<f32> = (0..64)
        .map(|n| 1.0 + ((seed * 31 + n * 17) % 13) as f32 / 6.0)
        .collect();
    let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    Embedded {
        model: Model {
            name: "made up".into(),
            dimension: values.len(),
        },
        vector: values.iter().map(|value| value / length).collect(),
    }
}
