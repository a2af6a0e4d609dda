//! What an older program has stored is found after the migration, by whom it was for, however the
//! scope is searched.

use std::time::{Duration, Instant};

use tmws::config::limits::SESSION_WINDOW_SECONDS;
use tmws::domain::{Embedded, Mode, Model, Retention, Search};
use tmws::store::postgres::{Bounds, PostgresOptions, PostgresStore, SCHEMA_VERSION};
use tmws::store::{Store, Viewer};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::fixture::*;
use crate::service::Database;

/// The schema before searches had indexes of their own.
const OLDER: [&str; 4] = [
    include_str!("../../migrations/postgres/0001_memories.sql"),
    include_str!("../../migrations/postgres/0002_row_security.sql"),
    include_str!("../../migrations/postgres/0003_secrets.sql"),
    include_str!("../../migrations/postgres/0004_mcp_tasks.sql"),
];

/// Owner's agent in namespace `red`, level, text, and who finds it of alice, bob and the stranger.
const MEMORIES: [(&str, &str, &str, [bool; 3]); 6] = [
    ("alice", "private", "heron one", [true, false, false]),
    ("alice", "team", "heron two", [true, true, false]),
    ("bob", "team", "heron three", [true, true, false]),
    ("bob", "public", "heron four", [true, true, true]),
    ("bob", "system", "heron five", [true, true, true]),
    // Granted to the stranger.
    ("bob", "shared", "heron six", [false, true, true]),
];

fn id(place: usize) -> Uuid {
    Uuid::from_u128(place as u128 + 1)
}

/// As the older program left it, its graph included.
async fn fill(client: &Client) {
    let schema = "CREATE SCHEMA tmws; SET search_path TO tmws, public;
         CREATE TABLE schema_version (version INTEGER PRIMARY KEY)";
    client.batch_execute(schema).await.expect("a schema");
    for (place, statements) in OLDER.iter().enumerate() {
        client.batch_execute(statements).await.expect("migrated");
        let version = format!("INSERT INTO schema_version VALUES ({})", place + 1);
        client.batch_execute(&version).await.expect("noted");
    }
    let model = "INSERT INTO embedding_model (name, dimension, state) VALUES ('m', 2, 'active');
         CREATE INDEX memory_vector_graph_1 ON memory_vector
             USING hnsw ((embedding::public.vector(2)) public.vector_cosine_ops)
             WHERE model = 1 AND in_graph";
    client.batch_execute(model).await.expect("a model");
    for (place, (agent, access, content, _)) in MEMORIES.iter().enumerate() {
        let insert = "WITH m AS (
                INSERT INTO memory (id, namespace, agent, access, version, text_version, change,
                    changed_by, created_at, updated_at, tags, importance, trust, words,
                    content_bytes, terms, metadata, content)
                VALUES ($1, 'red', $2, $3, 1, 1, 'created', $2, 1, 1, '{}', 0.5, 1, 2, 10,
                    array_to_tsvector(string_to_array($4, ' ')), '{}', $4)
                RETURNING seq
            )
            INSERT INTO memory_vector (memory, model, namespace, in_graph, embedding)
            SELECT seq, 1, 'red', true, '[1, 0.5]' FROM m";
        let id = id(place);
        client
            .execute(insert, &[&id, agent, access, content])
            .await
            .expect("inserted");
    }
    let grant = "INSERT INTO memory_grant SELECT seq, 'blue', 'alice', 'read', 'red' FROM memory
         WHERE access = 'shared'";
    client.batch_execute(grant).await.expect("granted");
}

fn found(store: &PostgresStore, viewer: &Viewer, mode: Mode) -> Vec<Uuid> {
    let model = Model {
        name: "m".into(),
        dimension: 2,
    };
    let vector = [1.0, 0.0].into();
    let search = Search {
        query: "heron".into(),
        mode,
        vector: Some(Embedded { model, vector }),
        filter: everything(),
        similarity_min: None,
        limit: 10,
        cursor: None,
        counts_access: false,
    };
    let page = block(store.search_memories(viewer, search)).expect("answered");
    let mut found = ids(page.hits.into_iter().map(|hit| hit.memory));
    found.sort_unstable();
    found
}

fn assert_all_found(store: &PostgresStore) {
    for (column, viewer) in [alice(), bob(), stranger()].iter().enumerate() {
        let places = 0..MEMORIES.len();
        let wanted: Vec<_> = places
            .filter(|&place| MEMORIES[place].3[column])
            .map(id)
            .collect();
        for mode in [Mode::Lexical, Mode::Semantic, Mode::Hybrid] {
            assert_eq!(found(store, viewer, mode), wanted, "{mode:?} {viewer:?}");
        }
    }
}

#[test]
fn in_every_way_of_searching() {
    let database = Database::empty();
    let client = block(database.client());
    block(fill(&client));
    let open = |bounds| {
        let options = PostgresOptions {
            bounds,
            ..PostgresOptions::new(database.url.clone())
        };
        block(PostgresStore::connect(options)).expect("the store opens")
    };
    let small = open(Bounds::default());
    let version = "SELECT max(version) FROM tmws.schema_version";
    let version: i32 = block(client.query_one(version, &[])).expect("one").get(0);
    assert_eq!(version as u32, SCHEMA_VERSION);
    let graph = "SELECT to_regclass('tmws.memory_vector_graph_1') IS NULL";
    let gone: bool = block(client.query_one(graph, &[])).expect("one").get(0);
    assert!(gone, "a graph of numbers in full");
    assert_all_found(&small);

    let large = open(Bounds {
        words_max: 0,
        compared_max: 0,
        graph_min: 1,
    });
    assert_all_found(&large);
    let started = Instant::now();
    let finished = "SELECT EXISTS (SELECT 1 FROM pg_index
         WHERE indexrelid = to_regclass('tmws.memory_vector_graph_1') AND indisvalid)";
    loop {
        let retention = Retention {
            half_life: Duration::from_secs(60),
            prune_below: 0.0,
            prune_age: Duration::from_secs(60),
            session_window: Duration::from_secs(SESSION_WINDOW_SECONDS),
        };
        block(large.upkeep(retention)).expect("the upkeep runs");
        if block(client.query_one(finished, &[])).expect("one").get(0) {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "no graph");
        block(async { tokio::time::sleep(Duration::from_millis(50)).await });
    }
    // Looks which graphs there are.
    let large = open(Bounds {
        words_max: 0,
        compared_max: 0,
        graph_min: 1,
    });
    assert_all_found(&large);
}
