//! What a large scope is searched with, by lowering what counts as large: the graph of a model from
//! its beginning to its end, and the index of terms.

use std::collections::HashSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tmws::config::limits::SESSION_WINDOW_SECONDS;
use tmws::domain::{
    Access, Embedded, Filter, Hit, Mode, Model, NewMemory, NewVector, Retention, Search,
};
use tmws::store::postgres::{Bounds, PostgresOptions, PostgresStore};
use tmws::store::{Store, Viewer};
use uuid::Uuid;

use crate::fixture::*;
use crate::service::Database;

const MEMORIES: usize = 600;
const DIMENSION: usize = 16;
const QUESTIONS: u64 = 20;
/// A graph is built and looked at by tasks of the store's own.
const PATIENCE: Duration = Duration::from_secs(60);

const LARGE: Bounds = Bounds {
    words_max: 50,
    compared_max: 100,
    graph_min: 300,
};

fn model(name: &str) -> Model {
    Model {
        name: name.into(),
        dimension: DIMENSION,
    }
}

/// Numbers from -1 to 1 that look like chance.
fn numbers(seed: u64) -> impl Iterator<Item = f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    })
}

fn embedded(name: &str, seed: u64) -> Embedded {
    let model = model(name);
    let vector = numbers(seed).skip(9).take(DIMENSION).collect();
    Embedded { model, vector }
}

fn cosine(a: &Embedded, b: &Embedded) -> f32 {
    let dot = |a: &Embedded, b: &Embedded| -> f32 {
        a.vector
            .iter()
            .zip(b.vector.iter())
            .map(|(a, b)| a * b)
            .sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Every level; every word in a part of all.
fn memory(n: usize) -> NewMemory {
    let owner = [alice(), bob(), stranger()][n % 3].clone();
    let level = [Access::Private, Access::Team, Access::Public][n / 3 % 3];
    let parts = (2..12).filter(|part| n.is_multiple_of(*part));
    let words: Vec<_> = parts.map(|part| format!("part{part}")).collect();
    let mut new = at_level(&owner, level, &format!("number{n} {}", words.join(" ")));
    new.vector = Some(embedded("first", n as u64));
    new.tags = vec![format!("tag{}", n % 7)];
    new
}

fn is_visible(n: usize, viewer: &Viewer) -> bool {
    let new = memory(n);
    new.owner == viewer.key
        || new.access_level == Access::Public
        || (new.access_level == Access::Team && new.owner.namespace == viewer.key.namespace)
}

struct World {
    store: Rc<PostgresStore>,
    /// The same data with scopes that count as small.
    exact: Rc<PostgresStore>,
    ids: Vec<Uuid>,
    database: Database,
}

impl World {
    fn new() -> Self {
        let database = Database::migrated();
        let open = |bounds| {
            let options = PostgresOptions {
                bounds,
                ..PostgresOptions::new(database.url.clone())
            };
            Rc::new(block(PostgresStore::connect(options)).expect("the store opens"))
        };
        let (store, exact) = (open(LARGE), open(Bounds::default()));
        let new = (0..MEMORIES).map(memory).collect();
        let stored = block(store.create_memories(new)).expect("committed");
        let ids = stored.into_iter().map(|memory| memory.expect("stored").id);
        Self {
            ids: ids.collect(),
            store,
            exact,
            database,
        }
    }

    fn search(&self, store: &PostgresStore, viewer: &Viewer, search: Search) -> Vec<Hit> {
        let page = block(store.search_memories(viewer, search));
        page.expect("the search is answered").hits
    }

    fn upkeep(&self) {
        let retention = Retention {
            half_life: Duration::from_secs(60),
            prune_below: 0.0,
            prune_age: Duration::from_secs(60),
            session_window: Duration::from_secs(SESSION_WINDOW_SECONDS),
        };
        block(self.store.upkeep(retention)).expect("the upkeep runs");
    }

    /// Runs the upkeep until `sql` says true.
    fn upkeep_until(&self, sql: &str) {
        self.until(sql, || self.upkeep());
    }

    fn until(&self, sql: &str, mut turn: impl FnMut()) {
        let started = Instant::now();
        let client = block(self.database.client());
        loop {
            turn();
            let row = block(client.query_one(sql, &[])).expect("an answer");
            if row.get(0) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{sql}");
            block(async { tokio::time::sleep(Duration::from_millis(100)).await });
        }
    }

    /// The part of the truly nearest ten that are found, over all questions.
    fn recall(&self, model: &str, offset: u64) -> f64 {
        let mut found = 0;
        for seed in 0..QUESTIONS {
            let question = embedded(model, 10_000 + seed);
            let mut all: Vec<_> = (0..MEMORIES)
                .filter(|&n| is_visible(n, &alice()))
                .map(|n| (cosine(&question, &embedded(model, n as u64 + offset)), n))
                .collect();
            all.sort_by(|a, b| b.0.total_cmp(&a.0));
            let nearest: HashSet<_> = all.iter().take(10).map(|(_, n)| self.ids[*n]).collect();
            let hits = self.search(&self.store, &alice(), meaning(question, everything()));
            found += hits
                .iter()
                .filter(|hit| nearest.contains(&hit.memory.id))
                .count();
        }
        found as f64 / (10 * QUESTIONS) as f64
    }
}

fn meaning(question: Embedded, filter: Filter) -> Search {
    Search {
        query: "anything".into(),
        mode: Mode::Semantic,
        vector: Some(question),
        filter,
        similarity_min: None,
        limit: 10,
        cursor: None,
        counts_access: false,
    }
}

/// All vectors of the model `name` are in its graph.
fn is_grown(name: &str) -> String {
    format!(
        "SELECT EXISTS (SELECT 1 FROM pg_index WHERE indexrelid = {} AND indisvalid)
             AND NOT EXISTS (SELECT 1 FROM tmws.memory_vector v JOIN tmws.embedding_model e
                 ON e.id = v.model WHERE e.name = '{name}' AND NOT v.in_graph)",
        graph_of(name)
    )
}

/// What the server counts of the use of a graph: it is used by the very statements of the store.
fn is_used(name: &str) -> String {
    format!(
        "SELECT coalesce((SELECT idx_scan > 0 FROM pg_stat_user_indexes
             WHERE indexrelid = {}), false)",
        graph_of(name)
    )
}

fn graph_of(name: &str) -> String {
    format!(
        "(SELECT to_regclass('tmws.memory_vector_graph_' || id) FROM tmws.embedding_model
          WHERE name = '{name}')"
    )
}

#[test]
fn by_a_graph_from_its_beginning_to_its_end() {
    let world = World::new();
    assert_eq!(world.recall("first", 0), 1.0, "compared one by one");
    world.upkeep_until(&is_grown("first"));
    world.upkeep();
    let ask = || {
        let question = embedded("first", 77_777);
        drop(world.search(&world.store, &alice(), meaning(question, everything())));
    };
    world.until(&is_used("first"), ask);
    let recall = world.recall("first", 0);
    assert!(recall >= 0.97, "{recall}");

    // What the viewer may not see is walked past, and so is what the filter leaves out.
    let tagged = Filter {
        tags: vec!["tag3".into()],
        ..everything()
    };
    for n in [3, 10, 17, 24] {
        let question = meaning(embedded("first", n as u64), tagged.clone());
        let hits = world.search(&world.store, &alice(), question);
        assert_eq!(hits.len(), 10);
        assert_eq!(
            hits[0].memory.id == world.ids[n],
            is_visible(n, &alice()),
            "{n}"
        );
        assert!(hits.iter().all(|hit| hit.memory.tags == ["tag3"]));
    }

    // What a filter admits little of is found all the same.
    for n in [0, 1, 2, 3] {
        let only = Filter {
            ids: vec![world.ids[n]],
            ..everything()
        };
        let question = meaning(embedded("first", 88_888), only);
        let hits = world.search(&world.store, &alice(), question);
        let wanted = if is_visible(n, &alice()) { 1 } else { 0 };
        assert_eq!(hits.len(), wanted, "{n}");
    }

    // A new one is found at once, whether in the graph or not.
    let mut newest = new(&alice(), "the newest");
    newest.vector = Some(embedded("first", 99_999));
    let newest = block(world.store.create_memories(vec![newest])).expect("committed");
    let newest = newest.into_iter().next().expect("one").expect("stored").id;
    let found = || {
        let question = meaning(embedded("first", 99_999), everything());
        world.search(&world.store, &alice(), question)[0].memory.id
    };
    assert_eq!(found(), newest);
    world.upkeep_until(&is_grown("first"));
    assert_eq!(found(), newest);

    // Another model: compared one by one until it has a graph, which ends that of the first.
    let mut rest = world.ids.clone();
    rest.push(newest);
    let vectors = rest.iter().enumerate().map(|(n, id)| NewVector {
        id: *id,
        text_version: 1,
        vector: embedded("second", n as u64 + 5_000).vector,
    });
    let second = model("second");
    block(world.store.attach_vectors(&second, vectors.collect())).expect("attached");
    assert!(block(world.store.activate_model(&second)).expect("activated"));
    let recall = world.recall("second", 5_000);
    assert!(recall >= 0.97, "{recall}");
    world.upkeep_until(&is_grown("second"));
    world.upkeep_until(&format!("SELECT {} IS NULL", graph_of("first")));
    let ask = || {
        let question = embedded("second", 77_777);
        drop(world.search(&world.store, &alice(), meaning(question, everything())));
    };
    world.until(&is_used("second"), ask);
    let recall = world.recall("second", 5_000);
    assert!(recall >= 0.97, "{recall}");
}

#[test]
fn by_words_as_small_ones() {
    let world = World::new();
    for query in [
        "part7",
        "part2 part3 part5",
        "number33 part11 part2",
        "part4 nowhere",
        "nowhere",
        "number5 number6 number7 number8 number9",
    ] {
        for viewer in [alice(), bob(), stranger()] {
            for filter in [everything(), Filter::default()] {
                let search = Search {
                    query: query.into(),
                    mode: Mode::Lexical,
                    vector: None,
                    limit: 30,
                    ..meaning(embedded("first", 1), filter)
                };
                let answer = |store: &PostgresStore| -> Vec<_> {
                    let hits = world.search(store, &viewer, search.clone());
                    let of = |hit: Hit| (hit.memory.id, hit.parts.lexical);
                    hits.into_iter().map(of).collect()
                };
                assert_eq!(answer(&world.store), answer(&world.exact), "{query}");
            }
        }
    }
}
