//! What the PostgreSQL store costs: durable creates from many callers at once, reads and searches.
//!
//! ```text
//! cargo run --release --example postgres -- URL [memories]
//! ```
//!
//! The database at URL is filled and stays so; one agent owns all memories, each with a vector of
//! 384 numbers.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measuring program"
)]

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tmws::config::limits::SESSION_WINDOW_SECONDS;
use tmws::domain::{Access, AgentKey, Embedded, Filter, Mode, Model, NewMemory, Retention, Search};
use tmws::store::postgres::{PostgresOptions, PostgresStore};
use tmws::store::{Store, Viewer};
use uuid::Uuid;

const CALLERS: usize = 64;
const DIMENSION: usize = 384;
const WORDS: [&str; 12] = [
    "harbour", "deploy", "server", "heron", "budget", "incident", "plan", "latency", "cache",
    "weather", "invoice", "rollback",
];

struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn words(&mut self, count: usize) -> String {
        let words: Vec<String> = (0..count)
            .map(|_| match self.next() % 3 {
                0 => format!("topic{}", self.next() % 5_000),
                _ => WORDS[(self.next() % 12) as usize].into(),
            })
            .collect();
        words.join(" ")
    }

    fn vector(&mut self) -> Embedded {
        let side: Vec<f32> = (0..DIMENSION)
            .map(|_| (self.next() % 2_001) as f32 / 1_000.0 - 1.0)
            .collect();
        let length = side.iter().map(|value| value * value).sum::<f32>().sqrt();
        Embedded {
            model: Model {
                name: "perf".into(),
                dimension: DIMENSION,
            },
            vector: side.iter().map(|value| value / length).collect(),
        }
    }
}

fn viewer() -> Viewer {
    Viewer {
        key: AgentKey::new("perf", "one").unwrap(),
        admin: false,
    }
}

fn memory(numbers: &mut Numbers) -> NewMemory {
    NewMemory {
        owner: viewer().key,
        admin: false,
        session_id: None,
        content: numbers.words(25),
        kind: None,
        tags: vec!["measured".into()],
        importance: 0.5,
        access_level: Access::Private,
        metadata: Default::default(),
        source: None,
        trust: 1.0,
        valid_from: None,
        valid_to: None,
        ttl_seconds: None,
        supersedes: None,
        vector: Some(numbers.vector()),
    }
}

/// Runs `work` from all callers until `total` runs are done; prints how many a second, and how
/// long one took.
async fn load<F>(what: &str, total: usize, work: impl Fn(u64) -> F + Clone + 'static)
where
    F: Future<Output = ()>,
{
    let left = Rc::new(Cell::new(total));
    let begun = Instant::now();
    let callers: Vec<_> = (0..CALLERS as u64)
        .map(|caller| {
            let (left, work) = (left.clone(), work.clone());
            tokio::task::spawn_local(async move {
                let mut times = Vec::new();
                let mut seed = caller * 1_000_003 + 17;
                while left.get() > 0 {
                    left.set(left.get() - 1);
                    seed += 1;
                    let asked = Instant::now();
                    work(seed).await;
                    times.push(asked.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times: Vec<Duration> = Vec::new();
    for caller in callers {
        times.extend(caller.await.unwrap());
    }
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |part: usize| times[times.len() * part / 100];
    println!(
        "{what}: {rate:.0} a second, p50 {:.2?}, p99 {:.2?}",
        at(50),
        at(99)
    );
}

async fn measure(url: String, memories: usize) {
    let store = PostgresStore::connect(PostgresOptions::new(url))
        .await
        .unwrap();
    let ids: Rc<std::cell::RefCell<Vec<Uuid>>> = Rc::default();
    let created = ids.clone();
    let creating = store.clone();
    load("create with a vector", memories, move |seed| {
        let (store, ids) = (creating.clone(), created.clone());
        async move {
            let mut numbers = Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
            let stored = store
                .create_memories(vec![memory(&mut numbers)])
                .await
                .unwrap();
            ids.borrow_mut()
                .push(stored.into_iter().next().unwrap().unwrap().id);
        }
    })
    .await;
    let stats = store.flight_stats();
    println!(
        "  {} memories in {} transactions",
        stats.memories, stats.transactions
    );
    let reading = store.clone();
    load("get", 20_000, move |seed| {
        let store = reading.clone();
        let id = ids.borrow()[seed as usize % ids.borrow().len()];
        async move {
            store.get_memory(&viewer(), id).await.unwrap();
        }
    })
    .await;
    for mode in [Mode::Lexical, Mode::Semantic, Mode::Hybrid] {
        search(&store, mode).await;
    }
    let begun = Instant::now();
    let retention = Retention {
        half_life: Duration::from_secs(1 << 30),
        prune_below: 0.0,
        prune_age: Duration::from_secs(1 << 30),
        session_window: Duration::from_secs(SESSION_WINDOW_SECONDS),
    };
    store.upkeep(retention).await.unwrap();
    println!("upkeep: {:.2?}", begun.elapsed());
}

/// One after the other: a search has the server to itself.
async fn search(store: &PostgresStore, mode: Mode) {
    let mut times = Vec::new();
    let mut numbers = Numbers(0x5eed);
    for _ in 0..50 {
        let search = Search {
            query: numbers.words(4),
            mode,
            vector: Some(numbers.vector()),
            filter: Filter::default(),
            similarity_min: None,
            limit: 10,
            cursor: None,
            counts_access: false,
        };
        let asked = Instant::now();
        store.search_memories(&viewer(), search).await.unwrap();
        times.push(asked.elapsed());
    }
    times.sort_unstable();
    println!(
        "search {mode:?}: p50 {:.2?}, p99 {:.2?}",
        times[25], times[49]
    );
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().expect("a URL");
    let memories = arguments
        .next()
        .map_or(20_000, |text| text.parse().expect("a number"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, measure(url, memories));
}
