//! Queues: filling, taking over, closing, and what the upkeep does for sessions that are gone.

use uuid::Uuid;

use super::super::Shard;
use super::super::failure::Failure;
use super::super::pool::Transaction;
use super::super::query::Query;
use super::super::rows::{column, foreign};
use super::super::scope::Scope;
use super::deliveries::of_agent;
use super::rows::{agent_key, outline, outline_columns};
use crate::config::limits::NODE_SILENT_SECONDS;
use crate::domain::message::WAITING_MAX;
use crate::domain::{AgentKey, Outline};
use crate::store::{Looked, Queue, StoreError, message_rules as rules};

/// The first half of the locks under which an agent's queues are filled: "fill" in ASCII.
const FILL_LOCK: i32 = 0x6669_6c6c;

/// One queue of an agent is filled at a time: of two that copy from each other, each would leave the
/// message to the other.
const TURN: &str = "SELECT pg_advisory_xact_lock($3, hashtext($1 || ' ' || $2))";

/// Ends what waits in the inbox if its message is in the queue already: which may be an original whose
/// copy has returned to the inbox, and is none from then on.
const DROP_DOUBLES: &str = "WITH dropped AS (
        DELETE FROM delivery twice
        WHERE namespace = $1 AND agent = $2 AND session IS NULL AND EXISTS (
            SELECT 1 FROM delivery d WHERE d.message = twice.message
            AND d.namespace = $1 AND d.agent = $2 AND d.session = $3)
        RETURNING message
    )
    UPDATE delivery SET copied = false
    WHERE namespace = $1 AND agent = $2 AND session = $3 AND copied
      AND message IN (SELECT message FROM dropped)";

const TAKE_INBOX: &str = "UPDATE delivery SET session = $3, filled = true
     WHERE namespace = $1 AND agent = $2 AND session IS NULL AND expires_at > $4";

/// What came into the queue otherwise than by a post to it.
const FILLED: &str = concat!(
    "SELECT ",
    outline_columns!(),
    " FROM delivery
     WHERE namespace = $1 AND agent = $2 AND session = $3 AND filled ORDER BY message, key"
);

/// Copies what waits for sessions that are absent or whose node is gone, each message once and no
/// more than the agent has room for; whoever settles an original meanwhile waits. What the queue has
/// already, though its copy may be one of the others, is no original any more.
const COPY: &str = "WITH absent AS MATERIALIZED (
        SELECT session FROM unnest($5::uuid[]) AS absent (session)
        UNION
        SELECT session FROM queue q
        WHERE q.namespace = $1 AND q.agent = $2 AND q.node <> $6
          AND NOT EXISTS (SELECT 1 FROM node n WHERE n.id = q.node AND n.seen_at > $7)
    ), waiting AS MATERIALIZED (
        SELECT count(*) AS deliveries FROM (
            SELECT 1 FROM delivery WHERE namespace = $1 AND agent = $2 LIMIT $8) counted
    ), originals AS MATERIALIZED (
        SELECT key, message, priority, bytes, expires_at, deliveries FROM delivery
        WHERE namespace = $1 AND agent = $2 AND session IN (SELECT session FROM absent)
          AND session <> $3 AND NOT copied AND expires_at > $4
        ORDER BY key LIMIT $8 - (SELECT deliveries FROM waiting)
        FOR UPDATE
    ), marked AS (
        UPDATE delivery SET copied = true WHERE key IN (SELECT key FROM originals)
    ), unmarked AS (
        UPDATE delivery SET copied = false
        WHERE namespace = $1 AND agent = $2 AND session = $3 AND copied
          AND message IN (SELECT message FROM originals)
    )
        INSERT INTO delivery (message, namespace, agent, session, priority, bytes, expires_at,
            deliveries, filled)
        SELECT message, $1, $2, $3, priority, bytes, expires_at, deliveries, true
        FROM (SELECT DISTINCT ON (message) * FROM originals ORDER BY message, key) o
        WHERE NOT EXISTS (
            SELECT 1 FROM delivery d WHERE d.message = o.message
            AND d.namespace = $1 AND d.agent = $2 AND d.session = $3)
        ORDER BY key";

const BEGIN_FILLED: &str = "INSERT INTO queue (namespace, agent, session, node)
    SELECT $1, $2, $3, $4
    WHERE EXISTS (SELECT 1 FROM delivery WHERE namespace = $1 AND agent = $2 AND session = $3)
    ON CONFLICT DO NOTHING";

/// Everything in the queue.
const WAITING: &str = concat!(
    "SELECT ",
    outline_columns!(),
    " FROM delivery WHERE namespace = $1 AND agent = $2 AND session = $3 ORDER BY message, key"
);

/// Brings into the queue of `session` what waits in the inbox and, as copies, what waits for
/// sessions that are absent.
pub(super) async fn fill(
    shard: &Shard,
    agent: &AgentKey,
    session: Uuid,
    absent: Vec<Uuid>,
) -> Result<Vec<Outline>, StoreError> {
    let now = shard.now();
    let work = async |transaction: &Transaction<'_>| {
        let turn = of_agent(TURN, agent).with(FILL_LOCK);
        let drop_doubles = of_agent(DROP_DOUBLES, agent).with(session);
        let take = of_agent(TAKE_INBOX, agent)
            .with(session)
            .with(now.as_micros());
        let copy = of_agent(COPY, agent)
            .with(session)
            .with(now.as_micros())
            .with(absent.clone())
            .with(shard.node)
            .with(rules::before(now, NODE_SILENT_SECONDS))
            .with(WAITING_MAX as i64);
        let begin = of_agent(BEGIN_FILLED, agent).with(session).with(shard.node);
        let look = of_agent(FILLED, agent).with(session);
        let answers = transaction
            .commit(vec![turn, drop_doubles, take, copy, begin, look])
            .await?;
        answers[5]
            .iter()
            .map(outline)
            .collect::<Result<Vec<_>, _>>()
    };
    let scope = Scope::namespace(agent.namespace.clone());
    shard.pool.transact(scope, work).await
}

/// Takes the queue over; if there is none, the node that had it is `before`. Whoever is taking it over
/// at this moment is waited for: the queue was theirs.
pub(super) async fn resume(
    shard: &Shard,
    agent: &AgentKey,
    session: Uuid,
    before: Uuid,
) -> Result<Queue, StoreError> {
    let wait = "SELECT 1 FROM queue
        WHERE namespace = $1 AND agent = $2 AND session = $3 FOR UPDATE";
    let had = "SELECT volatile FROM node WHERE id = coalesce(
            (SELECT node FROM queue WHERE namespace = $1 AND agent = $2 AND session = $3), $4)";
    let take = "INSERT INTO queue (namespace, agent, session, node)
        SELECT $1, $2, $3, $4
        WHERE EXISTS (SELECT 1 FROM queue WHERE namespace = $1 AND agent = $2 AND session = $3)
           OR EXISTS (SELECT 1 FROM node WHERE id = $5)
        ON CONFLICT (namespace, agent, session) DO UPDATE SET node = excluded.node";
    let work = async |transaction: &Transaction<'_>| {
        let wait = of_agent(wait, agent).with(session);
        let had = of_agent(had, agent).with(session).with(before);
        let take = of_agent(take, agent)
            .with(session)
            .with(shard.node)
            .with(before);
        let look = of_agent(WAITING, agent).with(session);
        let answers = transaction.commit(vec![wait, had, take, look]).await?;
        let [known, had, _, waiting] = &answers[..] else {
            return Err(foreign());
        };
        Ok(Queue {
            waiting: waiting.iter().map(outline).collect::<Result<_, _>>()?,
            known: !known.is_empty(),
            volatile: had.first().map(|node| column(node, 0)).transpose()?,
        })
    };
    let scope = Scope::namespace(agent.namespace.clone());
    shard.pool.transact(scope, work).await
}

/// The queue as it is.
pub(super) async fn look(
    shard: &Shard,
    agent: &AgentKey,
    session: Uuid,
) -> Result<Looked, StoreError> {
    let node = "SELECT node FROM queue WHERE namespace = $1 AND agent = $2 AND session = $3";
    let queries = [node, WAITING]
        .into_iter()
        .map(|sql| of_agent(sql, agent).with(session))
        .collect();
    let scope = Scope::namespace(agent.namespace.clone());
    let answers = shard.pool.read(&scope, queries).await?;
    let [node, waiting] = &answers[..] else {
        return Err(foreign().into());
    };
    Ok(Looked {
        node: node.first().map(|row| column(row, 0)).transpose()?,
        waiting: waiting.iter().map(outline).collect::<Result<_, _>>()?,
    })
}

/// No other node has the queue.
macro_rules! nobodys {
    () => {
        "NOT EXISTS (SELECT 1 FROM queue q
         WHERE q.namespace = $1 AND q.agent = $2 AND q.session = $3 AND q.node <> $4)"
    };
}

/// Ends a queue: whoever posts to it or copies from it at this moment is waited for, what another
/// session or the inbox has already is dropped, and the rest returns to the inbox and is counted.
const CLOSE: [&str; 4] = [
    "DELETE FROM queue WHERE namespace = $1 AND agent = $2 AND session = $3 AND node = $4",
    concat!(
        "SELECT 1 FROM delivery WHERE namespace = $1 AND agent = $2 AND session = $3 AND ",
        nobodys!(),
        " ORDER BY key FOR UPDATE"
    ),
    concat!(
        "DELETE FROM delivery gone
         WHERE namespace = $1 AND agent = $2 AND session = $3 AND (copied OR EXISTS (
             SELECT 1 FROM delivery d WHERE d.message = gone.message
             AND d.namespace = $1 AND d.agent = $2 AND d.session IS NULL)) AND ",
        nobodys!()
    ),
    concat!(
        "WITH returned AS (
             UPDATE delivery SET session = NULL, filled = false
             WHERE namespace = $1 AND agent = $2 AND session = $3 AND ",
        nobodys!(),
        " RETURNING 1
         )
         SELECT count(*) FROM returned"
    ),
];

/// Closes the queue if it is `node`'s, or nobody's.
fn closing(agent: &AgentKey, session: Uuid, node: Uuid) -> Vec<Query> {
    CLOSE
        .into_iter()
        .map(|sql| of_agent(sql, agent).with(session).with(node))
        .collect()
}

fn returned(answers: &[Vec<tokio_postgres::Row>]) -> Result<u64, Failure> {
    let row = answers.last().and_then(|rows| rows.first());
    Ok(column::<i64>(row.ok_or_else(foreign)?, 0)? as u64)
}

/// Ends the queue of a session.
pub(super) async fn close(
    shard: &Shard,
    agent: &AgentKey,
    session: Uuid,
) -> Result<u64, StoreError> {
    let work = async |transaction: &Transaction<'_>| {
        returned(
            &transaction
                .commit(closing(agent, session, shard.node))
                .await?,
        )
    };
    let scope = Scope::namespace(agent.namespace.clone());
    shard.pool.transact(scope, work).await
}

/// Closes queues of nodes that have been gone for longer than a session may be resumed; stops when
/// about `limit` deliveries have moved. Returns how many queues.
pub(super) async fn close_left(
    shard: &Shard,
    transaction: &Transaction<'_>,
    window_seconds: u64,
    limit: i64,
) -> Result<u64, Failure> {
    let silent = rules::before(shard.now(), window_seconds);
    let left = "SELECT namespace, agent, session, node FROM queue q WHERE node <> $1
        AND NOT EXISTS (SELECT 1 FROM node n WHERE n.id = q.node AND n.seen_at > $2)
        LIMIT $3 FOR UPDATE OF q SKIP LOCKED";
    let left = Query::new(left).with(shard.node).with(silent).with(limit);
    let answers = transaction.run(vec![left]).await?;
    let (mut closed, mut moved) = (0, 0);
    for row in &answers[0] {
        let (agent, session, node) = (agent_key(row, 0)?, column(row, 2)?, column(row, 3)?);
        moved += returned(&transaction.run(closing(&agent, session, node)).await?)?;
        closed += 1;
        if moved >= limit as u64 {
            break;
        }
    }
    let forget = "DELETE FROM node WHERE id <> $1 AND seen_at <= $2
        AND NOT EXISTS (SELECT 1 FROM queue q WHERE q.node = node.id)";
    let forget = Query::new(forget).with(shard.node).with(silent);
    transaction.run(vec![forget]).await?;
    Ok(closed)
}
