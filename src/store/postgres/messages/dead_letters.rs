//! Messages that were given up.

use uuid::Uuid;

use super::super::failure::Failure;
use super::super::pool::Transaction;
use super::super::query::Query;
use super::super::rows::{column, foreign};
use super::super::scope::Scope;
use super::super::session::Step;
use super::super::{PostgresStore, Shard};
use super::rows::{agent_key, letter, letter_columns};
use crate::config::limits::NODE_SILENT_SECONDS;
use crate::domain::message::{DEAD_LETTERS_AT_ONCE, DEAD_LETTERS_MAX, WAITING_MAX};
use crate::domain::{AgentKey, DeadLetter, DeathCause, Letters, Page};
use crate::store::{StoreError, cursor, message_rules as rules};

/// Makes dead letters of deliveries and tells whose they are. One that expired while another session
/// has a copy, which becomes one itself, only ends.
const BURY: &str = "WITH given AS MATERIALIZED (
        SELECT DISTINCT ON (key) * FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[])
        WITH ORDINALITY AS given (key, letter, cause, reason, place) ORDER BY key, place
    ), dead AS MATERIALIZED (
        SELECT d.*, g.letter, g.cause, g.reason FROM delivery d JOIN given g ON g.key = d.key
        ORDER BY d.key FOR UPDATE OF d
    ), letters AS (
        INSERT INTO dead_letter (id, namespace, agent, cause, reason, deliveries, died_at, message,
            sender_namespace, sender, topic, priority, sent_at, ttl, expires_at, correlation, body)
        SELECT d.letter, d.namespace, d.agent, d.cause, d.reason, d.deliveries, $5, m.id,
            m.namespace, m.agent, m.topic, m.priority, m.sent_at, m.ttl, d.expires_at,
            m.correlation, m.body
        FROM dead d JOIN message m ON m.id = d.message
        WHERE NOT (d.copied AND d.cause = 'expired')
        RETURNING namespace, agent
    ), gone AS (
        DELETE FROM delivery WHERE key IN (SELECT key FROM dead)
    )
    SELECT DISTINCT namespace, agent FROM letters";

/// Removes the oldest letters of agents that have too many.
const MAKE_ROOM: &str = "DELETE FROM dead_letter WHERE id IN (
        SELECT old.id
        FROM unnest($1::text[], $2::text[]) AS owners (namespace, agent)
        CROSS JOIN LATERAL (
            SELECT id FROM dead_letter l
            WHERE l.namespace = owners.namespace AND l.agent = owners.agent
            ORDER BY id DESC OFFSET $3) old)";

type Dead = Vec<(i64, DeathCause, Option<Box<str>>)>;

/// Makes dead letters of deliveries; the oldest of an agent make room.
pub(super) async fn bury(shard: &Shard, dead: Dead) -> Result<(), StoreError> {
    let work =
        async |transaction: &Transaction<'_>| bury_in(shard, transaction, dead.clone()).await;
    shard.pool.transact(Scope::operator(), work).await
}

async fn bury_in(shard: &Shard, transaction: &Transaction<'_>, dead: Dead) -> Result<(), Failure> {
    let (mut keys, mut ids, mut causes, mut reasons) = (vec![], vec![], vec![], vec![]);
    for (key, cause, reason) in dead {
        keys.push(key);
        ids.push(Uuid::now_v7());
        causes.push(cause.as_str().to_owned());
        reasons.push(rules::storable(reason));
    }
    let bury = Query::new(BURY)
        .with(keys)
        .with(ids)
        .with(causes)
        .with(reasons)
        .with(shard.now().as_micros());
    let answers = transaction.run(vec![bury]).await?;
    if answers[0].is_empty() {
        return Ok(());
    }
    let (mut namespaces, mut agents) = (Vec::new(), Vec::new());
    for row in &answers[0] {
        namespaces.push(column::<String>(row, 0)?);
        agents.push(column::<String>(row, 1)?);
    }
    let make_room = Query::new(MAKE_ROOM)
        .with(namespaces)
        .with(agents)
        .with(DEAD_LETTERS_MAX as i64);
    transaction.run(vec![make_room]).await.map(drop)
}

/// Gives up what has expired in inboxes and in queues of nodes that are gone. A live node buries its
/// own; what it has forgotten goes when no session can come back for it. Returns how many. Also
/// removes messages that lost their last two deliveries at once.
pub(super) async fn bury_expired(
    shard: &Shard,
    transaction: &Transaction<'_>,
    window_seconds: u64,
    limit: i64,
) -> Result<u64, Failure> {
    let now = shard.now();
    let expired = Query::new(
        "SELECT key FROM delivery d
         WHERE expires_at <= $1 AND (session IS NULL OR expires_at <= $2 OR NOT EXISTS (
             SELECT 1 FROM queue q WHERE q.namespace = d.namespace AND q.agent = d.agent
             AND q.session = d.session AND (q.node = $3 OR EXISTS (
                 SELECT 1 FROM node n WHERE n.id = q.node AND n.seen_at > $4))))
         ORDER BY expires_at LIMIT $5 FOR UPDATE SKIP LOCKED",
    )
    .with(now.as_micros())
    .with(rules::before(now, window_seconds))
    .with(shard.node)
    .with(rules::before(now, NODE_SILENT_SECONDS))
    .with(limit);
    let bare = Query::new(
        "DELETE FROM message WHERE id IN (
             SELECT id FROM message m WHERE expires_at <= $1
             AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.message = m.id)
             ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
    )
    .with(now.as_micros())
    .with(limit);
    let answers = transaction.run(vec![expired, bare]).await?;
    let expired = answers[0]
        .iter()
        .map(|row| Ok((column(row, 0)?, DeathCause::Expired, None)));
    let expired = expired.collect::<Result<Dead, Failure>>()?;
    let buried = expired.len() as u64;
    if buried > 0 {
        bury_in(shard, transaction, expired).await?;
    }
    Ok(buried)
}

/// Removes dead letters whose time is over. Returns how many.
pub(super) async fn remove_old(
    shard: &Shard,
    transaction: &Transaction<'_>,
    limit: i64,
) -> Result<u64, Failure> {
    let query = Query::new(
        "WITH removed AS (
             DELETE FROM dead_letter WHERE id IN (
                 SELECT id FROM dead_letter WHERE died_at <= $1
                 ORDER BY died_at LIMIT $2 FOR UPDATE SKIP LOCKED)
             RETURNING 1
         )
         SELECT count(*) FROM removed",
    )
    .with(rules::letters_before(shard.now()))
    .with(limit);
    let answers = transaction.run(vec![query]).await?;
    let row = answers[0].first().ok_or_else(foreign)?;
    Ok(column::<i64>(row, 0)? as u64)
}

fn scope(owner: Option<&AgentKey>) -> Scope {
    match owner {
        Some(owner) => Scope::namespace(owner.namespace.clone()),
        None => Scope::operator(),
    }
}

/// The condition that the first two values of [`of_owner`] fill.
macro_rules! owned {
    () => {
        "($1::text IS NULL OR namespace = $1 AND agent = $2)"
    };
}

fn of_owner(sql: &'static str, owner: Option<&AgentKey>) -> Query {
    Query::new(sql)
        .with(owner.map(|owner| owner.namespace.to_string()))
        .with(owner.map(|owner| owner.agent.to_string()))
}

/// A page, the latest first.
pub(super) async fn list(
    shard: &Shard,
    owner: Option<&AgentKey>,
    limit: u32,
    cursor: Option<&str>,
) -> Result<Page<DeadLetter>, StoreError> {
    let before = cursor
        .map(cursor::parse_dead_letter)
        .transpose()?
        .unwrap_or(Uuid::max());
    let sql = concat!(
        "SELECT ",
        letter_columns!(),
        " FROM dead_letter WHERE ",
        owned!(),
        " AND id < $3 ORDER BY id DESC LIMIT $4"
    );
    let query = of_owner(sql, owner).with(before).with(i64::from(limit) + 1);
    let answers = shard.pool.read(&scope(owner), vec![query]).await?;
    let items = answers[0].iter().take(limit as usize).map(letter);
    let items = items.collect::<Result<Vec<_>, _>>()?;
    let last = items.last().filter(|_| answers[0].len() > items.len());
    Ok(Page {
        next_cursor: last.map(|last| cursor::write_dead_letter(last.id)),
        items,
    })
}

/// One dead letter.
pub(super) async fn get(
    shard: &Shard,
    owner: Option<&AgentKey>,
    id: Uuid,
) -> Result<DeadLetter, StoreError> {
    let sql = concat!(
        "SELECT ",
        letter_columns!(),
        " FROM dead_letter WHERE ",
        owned!(),
        " AND id = $3"
    );
    let query = of_owner(sql, owner).with(id);
    let answers = shard.pool.read(&scope(owner), vec![query]).await?;
    Ok(letter(answers[0].first().ok_or_else(rules::not_found)?)?)
}

/// The statement that locks the letters that a call is about and answers their ids.
fn chosen(owner: Option<&AgentKey>, letters: &Letters) -> Query {
    let ids = match letters {
        Letters::Ids(ids) => Some(ids.clone()),
        Letters::All => None,
    };
    let sql = concat!(
        "SELECT id FROM dead_letter WHERE ",
        owned!(),
        " AND ($3::uuid[] IS NULL OR id = ANY ($3)) ORDER BY id LIMIT $4 FOR UPDATE"
    );
    of_owner(sql, owner)
        .with(ids)
        .with(DEAD_LETTERS_AT_ONCE as i64)
}

/// Makes deliveries of those letters whose agents have room. The message is still there if it waits
/// for others too; locking it makes who ends their last delivery wait, and find this one.
const PUT_BACK: &str = "WITH room AS MATERIALIZED (
        SELECT namespace, agent, (SELECT count(*) FROM (
            SELECT 1 FROM delivery d
            WHERE d.namespace = agents.namespace AND d.agent = agents.agent LIMIT $3) counted) AS waiting
        FROM (SELECT DISTINCT namespace, agent FROM dead_letter WHERE id = ANY ($1)) agents
    ), placed AS MATERIALIZED (
        SELECT l.*, waiting + row_number() OVER (PARTITION BY namespace, agent ORDER BY id) AS nth
        FROM dead_letter l JOIN room USING (namespace, agent) WHERE id = ANY ($1)
    ), fitting AS MATERIALIZED (
        SELECT * FROM placed WHERE nth <= $3
    ), gone AS (
        DELETE FROM dead_letter WHERE id IN (SELECT id FROM fitting)
    ), stored AS (
        INSERT INTO message (id, namespace, agent, topic, priority, sent_at, ttl, expires_at,
            correlation, body)
        SELECT DISTINCT ON (message) message, sender_namespace, sender, topic, priority, sent_at,
            ttl, $2 + ttl, correlation, body
        FROM fitting ORDER BY message
        ON CONFLICT (id) DO UPDATE SET expires_at = greatest(message.expires_at, excluded.expires_at)
    ), delivered AS (
        INSERT INTO delivery (message, namespace, agent, priority, bytes, expires_at, deliveries)
        SELECT message, namespace, agent, priority, octet_length(body), $2 + ttl, 0
        FROM fitting ORDER BY id
        RETURNING namespace, agent
    )
    SELECT namespace, agent, count(*) FROM delivered GROUP BY 1, 2 ORDER BY 1, 2";

/// Puts dead letters back into inboxes that have room.
pub(super) async fn retry(
    store: &PostgresStore,
    owner: Option<&AgentKey>,
    letters: Letters,
) -> Result<Vec<(AgentKey, u64)>, StoreError> {
    let work = async |transaction: &Transaction<'_>| {
        let answers = transaction.run(vec![chosen(owner, &letters)]).await?;
        let ids = answers[0].iter().map(|row| column(row, 0));
        let put_back = Query::new(PUT_BACK)
            .with(ids.collect::<Result<Vec<Uuid>, _>>()?)
            .with(store.shard.now().as_micros())
            .with(WAITING_MAX as i64);
        // The message may wait in other namespaces, where its owner sees nothing.
        let steps = vec![Step::Enter(Scope::operator()), put_back.into()];
        let answers = transaction.commit_steps(steps).await?;
        let agents = answers[1]
            .iter()
            .map(|row| Ok((agent_key(row, 0)?, column::<i64>(row, 2)? as u64)));
        agents.collect()
    };
    store.transact(scope(owner), work).await
}

/// Removes dead letters.
pub(super) async fn purge(
    store: &PostgresStore,
    owner: Option<&AgentKey>,
    letters: Letters,
) -> Result<u64, StoreError> {
    let work = async |transaction: &Transaction<'_>| {
        let answers = transaction.run(vec![chosen(owner, &letters)]).await?;
        let ids = answers[0].iter().map(|row| column(row, 0));
        let ids = ids.collect::<Result<Vec<Uuid>, _>>()?;
        let removed = ids.len() as u64;
        let remove = Query::new("DELETE FROM dead_letter WHERE id = ANY ($1)").with(ids);
        transaction.commit(vec![remove]).await?;
        Ok(removed)
    };
    store.transact(scope(owner), work).await
}
