//! The same memories and the same questions give the same answers in the same order, whichever
//! store is asked.

use tmws::domain::{
    Access, Embedded, Filter, Hit, Mode, Model, NewMemory, Permission, Search, Timestamp,
};
use tmws::store::Viewer;

use crate::fixture::*;

const MEMORIES: usize = 200;
const DIMENSION: usize = 32;
/// Two stores add the products of a cosine in different orders.
const SCORE_ERROR: f64 = 2e-6;

/// Numbers that look like chance and are the same every time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Towards a corner of a cube: rounding to bytes loses nothing of such a vector.
    fn vector(&mut self) -> Embedded {
        let side = 1.0 / (DIMENSION as f32).sqrt();
        let vector = (0..DIMENSION).map(|_| if self.below(2) == 0 { side } else { -side });
        Embedded {
            model: model(),
            vector: vector.collect(),
        }
    }

    fn words(&mut self, count: u64) -> String {
        const WORDS: [&str; 16] = [
            "harbour",
            "deploy",
            "server",
            "heron",
            "budget",
            "INC-20417",
            "plan",
            "東京",
            "latency",
            "cache",
            "the",
            "weather",
            "getUserById",
            "invoice",
            "rollback",
            "sea",
        ];
        let words: Vec<_> = (0..count).map(|_| WORDS[self.below(16) as usize]).collect();
        words.join(" ")
    }
}

fn model() -> Model {
    Model {
        name: "test".into(),
        dimension: DIMENSION,
    }
}

fn memory(numbers: &mut Numbers, n: usize, now: Timestamp) -> NewMemory {
    let owner = [alice(), bob(), stranger()][numbers.below(3) as usize].clone();
    let level = [
        Access::Private,
        Access::Team,
        Access::Shared,
        Access::Public,
    ];
    let count = 1 + numbers.below(60);
    let text = format!("{} number{n}", numbers.words(count));
    let mut new = at_level(&owner, level[numbers.below(4) as usize], &text);
    new.importance = numbers.below(11) as f64 / 10.0;
    new.trust = numbers.below(5) as f64 / 4.0;
    new.kind = (numbers.below(3) == 0).then(|| "plan".into());
    new.source = (numbers.below(3) == 0).then(|| "a book".into());
    new.tags = if numbers.below(3) == 0 {
        vec!["red".into(), "sea".into()]
    } else {
        Vec::new()
    };
    new.valid_to =
        (numbers.below(8) == 0).then(|| now.plus_seconds(numbers.below(100)).expect("a time"));
    new.vector = (numbers.below(10) != 0).then(|| numbers.vector());
    new
}

/// The same memories in both, a millisecond apart.
fn filled(store: Backend) -> Fixture {
    let fixture = store.open_at(TestClock::at(
        Timestamp::from_micros(1_790_000_000_000_000).expect("a time"),
    ));
    let mut numbers = Numbers(0x5eed);
    let now = fixture.clock.now();
    for n in 0..MEMORIES {
        let new = memory(&mut numbers, n, now);
        let owner = Viewer {
            key: new.owner.clone(),
            admin: false,
        };
        let shared = new.access_level == Access::Shared;
        let stored = fixture.create(new);
        if shared && n % 2 == 0 {
            let receiver = if owner.key == alice().key {
                stranger()
            } else {
                alice()
            };
            let shared = fixture.share(&owner, stored.id, &receiver, Some(Permission::Read));
            shared.expect("shared");
        }
        if n % 20 == 7 && !stored.content.is_empty() {
            let mut newer = memory(&mut numbers, n + 1_000, now);
            newer.owner = owner.key.clone();
            newer.supersedes = Some(stored.id);
            fixture.create(newer);
        }
    }
    fixture.clock.advance(50);
    fixture
}

fn filters(now: Timestamp) -> Vec<Filter> {
    vec![
        everything(),
        Filter::default(),
        Filter {
            tags: vec!["sea".into()],
            ..everything()
        },
        Filter {
            kind: Some("plan".into()),
            importance_min: Some(0.3),
            ..everything()
        },
        Filter {
            agent: Some("alice".into()),
            trust_min: Some(0.5),
            ..everything()
        },
        Filter {
            source: Some("a book".into()),
            created_to: Some(now),
            ..everything()
        },
        Filter {
            as_of: Some(now),
            ..everything()
        },
    ]
}

/// All pages of a search, joined.
fn walk(fixture: &Fixture, viewer: &Viewer, mut search: Search) -> (Vec<Hit>, bool) {
    let mut all = Vec::new();
    loop {
        let page = block(fixture.store.search_memories(viewer, search.clone()));
        let page = page.expect("the search is answered");
        all.extend(page.hits);
        search.cursor = page.next_cursor;
        if search.cursor.is_none() {
            return (all, page.truncated);
        }
    }
}

#[test]
fn in_the_same_order() {
    let stores = [filled(Backend::Sqlite), filled(Backend::Postgres)];
    let mut numbers = Numbers(0xa5ced);
    let (mut compared, mut searches) = (0, 0);
    for round in 0..4 {
        let count = 1 + numbers.below(6);
        let (query, vector) = (numbers.words(count), numbers.vector());
        for mode in [Mode::Hybrid, Mode::Semantic, Mode::Lexical] {
            for (place, filter) in filters(stores[0].clock.now()).into_iter().enumerate() {
                for viewer in [alice(), stranger()] {
                    let search = Search {
                        query: query.clone(),
                        mode,
                        vector: (mode != Mode::Lexical).then(|| vector.clone()),
                        filter: filter.clone(),
                        similarity_min: (round == 3).then_some(0.05),
                        limit: 7,
                        cursor: None,
                        counts_access: false,
                    };
                    let [(one, one_cut), (other, other_cut)] =
                        [0, 1].map(|n| walk(&stores[n], &viewer, search.clone()));
                    let label = format!("{query:?} {mode:?} filter {place} {:?}", viewer.key);
                    assert_alike(&one, &other, &label);
                    assert_eq!(one_cut, other_cut, "{label}");
                    compared += one.len();
                    searches += 1;
                }
            }
        }
    }
    assert!(
        compared > searches * 5,
        "{compared} hits of {searches} searches"
    );
}

#[track_caller]
fn assert_alike(one: &[Hit], other: &[Hit], label: &str) {
    assert_eq!(one.len(), other.len(), "{label}");
    for (place, (a, b)) in one.iter().zip(other).enumerate() {
        assert!(
            (a.score - b.score).abs() <= SCORE_ERROR,
            "{label} at {place}: {a:?} {b:?}"
        );
        // What scores the same but for rounding may change places.
        let twin = |hit: &Hit| {
            (hit.score - a.score).abs() <= SCORE_ERROR && hit.memory.content == a.memory.content
        };
        assert!(other.iter().any(twin), "{label} at {place}: {a:?} {b:?}");
        let near = |hit: &&Hit| (hit.score - a.score).abs() <= SCORE_ERROR;
        if one.iter().filter(near).count() == 1 {
            assert_eq!(a.memory.content, b.memory.content, "{label} at {place}");
        }
    }
}
