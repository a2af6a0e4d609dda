//! Row security holds whatever a statement asks for: a session that serves sees the rows of the
//! namespace that it says it is for, and those that are shared with it; one that says nothing
//! sees nothing.

use std::rc::Rc;

use tmws::domain::{
    Access, DeathCause, Embedded, MemoryPatch, Model, NewMcpTask, Permission, Timestamp,
};
use tmws::store::Store;
use tmws::store::postgres::PostgresStore;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::fixture::*;
use crate::mail::*;
use crate::service::Database;

const TABLES: [&str; 11] = [
    "memory",
    "revision",
    "memory_grant",
    "memory_access",
    "memory_vector",
    "agent",
    "mcp_task",
    "message",
    "delivery",
    "queue",
    "dead_letter",
];

/// A session as the store's own, for `namespace`.
async fn session(database: &Database, namespace: &str) -> Client {
    let client = database.client().await;
    let sql = format!(
        "SET search_path TO tmws, public; SET ROLE tmws_app; SET tmws.namespace TO '{namespace}'"
    );
    client
        .batch_execute(&sql)
        .await
        .expect("the role may serve");
    client
}

async fn count(client: &Client, table: &str) -> i64 {
    let row = client
        .query_one(&format!("SELECT count(*) FROM {table}"), &[])
        .await;
    row.expect("a count").get(0)
}

#[test]
fn from_those_who_forget_to_ask_for_them() {
    let database = Database::empty();
    let options = tmws::store::postgres::PostgresOptions::new(database.url.clone());
    let store: Rc<dyn Store> = Rc::new(block(PostgresStore::connect(options)).expect("open"));
    let create = |mut memory: tmws::domain::NewMemory| {
        memory.vector = Some(Embedded {
            model: Model {
                name: "m".into(),
                dimension: 2,
            },
            vector: [1.0, 0.0].into(),
        });
        let results = block(store.create_memories(vec![memory])).expect("committed");
        results.into_iter().next().expect("one").expect("stored").id
    };
    let secret = create(new(&alice(), "red secret"));
    let open = create(at_level(&alice(), Access::Public, "for all"));
    let granted = create(new(&alice(), "for the stranger"));
    let share = tmws::domain::Share {
        id: granted,
        agents: vec![stranger().key],
        permission: Some(Permission::Read),
    };
    block(store.share_memory(&alice(), share)).expect("shared");
    let patch = MemoryPatch {
        importance: Some(1.0),
        ..MemoryPatch::default()
    };
    block(store.update_memory(&alice(), secret, patch, None)).expect("updated");
    let task = NewMcpTask {
        id: Uuid::new_v4(),
        owner: alice().key,
        tool: "sleep".into(),
        ttl_ms: None,
        lease_ms: 60_000,
    };
    block(store.create_mcp_task(task)).expect("recorded");
    let post = |to| {
        let message = message_at(Timestamp::now(), "hello");
        let posted = block(store.post_messages(vec![new_message(&message, to)]));
        posted.expect("committed").remove(0).expect("stored")
    };
    post(vec![queue(&alice(), Uuid::new_v4()), inbox(&stranger())]);
    let dead = post(vec![inbox(&alice())])[0];
    let dead = vec![(dead, DeathCause::Terminated, None)];
    block(store.bury_deliveries(dead)).expect("buried");
    block(async {
        // The owner of the tables is a superuser here; the serving role is what must be bound.
        let unsaid = session(&database, "").await;
        for table in TABLES {
            assert_eq!(
                count(&unsaid, table).await,
                0,
                "{table} without a namespace"
            );
        }
        let red = session(&database, "red").await;
        let blue = session(&database, "blue").await;
        let green = session(&database, "green").await;
        assert_eq!(count(&red, "memory").await, 3);
        assert_eq!(
            count(&blue, "memory").await,
            2,
            "the public and the granted one"
        );
        assert_eq!(count(&green, "memory").await, 1, "the public one");
        for (table, red_sees, blue_sees, green_sees) in [
            ("revision", 2, 1, 0),
            ("memory_grant", 1, 1, 0),
            ("memory_vector", 3, 2, 1),
            ("mcp_task", 1, 0, 0),
            ("message", 1, 1, 0),
            ("delivery", 1, 1, 0),
            ("queue", 1, 0, 0),
            ("dead_letter", 1, 0, 0),
        ] {
            assert_eq!(count(&red, table).await, red_sees, "{table}");
            assert_eq!(count(&blue, table).await, blue_sees, "{table}");
            assert_eq!(count(&green, table).await, green_sees, "{table}");
        }
        for forbidden in [
            "UPDATE memory SET content = 'mine'",
            "DELETE FROM memory",
            "DELETE FROM memory_grant",
            "UPDATE mcp_task SET status = 'cancelled'",
            "DELETE FROM mcp_task",
            "UPDATE queue SET node = session",
            "DELETE FROM dead_letter",
        ] {
            assert_eq!(
                blue.execute(forbidden, &[]).await.expect("no error"),
                0,
                "{forbidden}"
            );
        }
        let foreign =
            "INSERT INTO memory_grant SELECT seq, 'blue', 'x', 'delete', 'red' FROM memory";
        assert!(
            blue.execute(foreign, &[]).await.is_err(),
            "a grant on what is not one's own"
        );
        let strange = "UPDATE memory SET namespace = 'blue'";
        assert!(
            red.execute(strange, &[]).await.is_err(),
            "nothing leaves its namespace"
        );
        let define = "ALTER TABLE memory DISABLE ROW LEVEL SECURITY";
        assert!(
            red.execute(define, &[]).await.is_err(),
            "the role owns nothing"
        );
    });
    // A vector says itself who may see it: what is taken back goes at once.
    let patch = MemoryPatch {
        access_level: Some(Access::Private),
        ..MemoryPatch::default()
    };
    block(store.update_memory(&alice(), open, patch, None)).expect("updated");
    let unshare = tmws::domain::Share {
        id: granted,
        agents: vec![stranger().key],
        permission: None,
    };
    block(store.share_memory(&alice(), unshare)).expect("taken back");
    block(async {
        for namespace in ["blue", "green"] {
            let session = session(&database, namespace).await;
            for table in ["memory", "memory_vector", "revision"] {
                assert_eq!(
                    count(&session, table).await,
                    0,
                    "{table} of {namespace} after it was taken back"
                );
            }
        }
    });
}
