//! What messages cost a store: `cargo run --release --example messages -- [postgres://...]`.
//!
//! Without an address it measures the embedded store in a directory of its own. The database must be
//! one for trials: what is posted stays in it if the measurement is interrupted.

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tmws::domain::{AgentKey, Destination, JsonText, Message, NewMessage, Priority, Timestamp};
use tmws::store::Store;
use tmws::store::postgres::{PostgresOptions, PostgresStore};
use tmws::store::sqlite::{SqliteOptions, SqliteStore};
use tokio::task::LocalSet;
use uuid::Uuid;

/// Callers at once.
const CALLERS: usize = 64;
/// Messages that each caller posts.
const EACH: usize = 500;
/// Receivers of the broadcast.
const RECEIVERS: usize = 10_000;

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let dir = tempfile::tempdir()?;
    let url = std::env::args().nth(1);
    LocalSet::new().block_on(&runtime, async {
        let store: Rc<dyn Store> = match &url {
            Some(url) => Rc::new(PostgresStore::connect(PostgresOptions::new(url.as_str())).await?),
            None => Rc::new(SqliteStore::open(dir.path(), SqliteOptions::default())?),
        };
        println!(
            "{}",
            if url.is_some() {
                "PostgreSQL"
            } else {
                "SQLite"
            }
        );
        exchange(&store).await?;
        broadcast(&store).await
    })
}

fn agent(number: usize) -> anyhow::Result<AgentKey> {
    Ok(AgentKey::new("perf", &format!("agent-{number}"))?)
}

fn message(bytes: usize) -> anyhow::Result<Arc<Message>> {
    let sent_at = Timestamp::now();
    let body = format!("{{\"text\":\"{}\"}}", "x".repeat(bytes));
    Ok(Arc::new(Message {
        id: Uuid::now_v7(),
        sender: agent(0)?,
        topic: "message".into(),
        priority: Priority::Normal,
        sent_at,
        expires_at: sent_at
            .plus_seconds(300)
            .context("a time of this century")?,
        correlation_id: None,
        body: JsonText::parse(&body).context("JSON")?,
    }))
}

fn to(agent: AgentKey, session: Option<Uuid>) -> Destination {
    Destination {
        agent,
        session,
        node: None,
        begun: true,
    }
}

/// Every caller posts to a session of its own and then settles what it has posted, one by one.
async fn exchange(store: &Rc<dyn Store>) -> anyhow::Result<()> {
    let post = async |store: Rc<dyn Store>, caller: usize| {
        let (agent, session) = (agent(caller)?, Some(Uuid::new_v4()));
        let mut posted = Vec::with_capacity(EACH);
        for _ in 0..EACH {
            let new = NewMessage {
                message: message(256)?,
                to: vec![to(agent.clone(), session)],
            };
            posted.extend(store.post_messages(vec![new]).await?.remove(0)?);
        }
        anyhow::Ok(posted)
    };
    let begun = Instant::now();
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| tokio::task::spawn_local(post(store.clone(), caller)))
        .collect();
    let mut keys = Vec::new();
    for caller in callers {
        keys.push(caller.await??);
    }
    report("posts", begun.elapsed());
    let settle = async |store: Rc<dyn Store>, keys: Vec<i64>| {
        for key in keys {
            store.settle_deliveries(vec![key]).await?;
        }
        anyhow::Ok(())
    };
    let begun = Instant::now();
    let callers: Vec<_> = keys
        .into_iter()
        .map(|keys| tokio::task::spawn_local(settle(store.clone(), keys)))
        .collect();
    for caller in callers {
        caller.await??;
    }
    report("settlements", begun.elapsed());
    Ok(())
}

/// One message for thousands, settled by all of them.
async fn broadcast(store: &Rc<dyn Store>) -> anyhow::Result<()> {
    let receivers: Vec<_> = (0..RECEIVERS).map(agent).collect::<Result<_, _>>()?;
    for round in 0..3 {
        let new = NewMessage {
            message: message(256)?,
            to: receivers.iter().map(|key| to(key.clone(), None)).collect(),
        };
        let begun = Instant::now();
        let keys = store.post_messages(vec![new]).await?.remove(0)?;
        let posted = begun.elapsed();
        let begun = Instant::now();
        for some in keys.chunks(256) {
            store.settle_deliveries(some.to_vec()).await?;
        }
        println!(
            "broadcast {round} to {RECEIVERS}: {posted:.1?}, settled in {:.1?}",
            begun.elapsed()
        );
    }
    Ok(())
}

fn report(what: &str, took: Duration) {
    let rate = (CALLERS * EACH) as f64 / took.as_secs_f64();
    println!("{what} from {CALLERS} callers: {rate:.0} a second");
}
