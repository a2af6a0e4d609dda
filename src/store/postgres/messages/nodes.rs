//! Nodes: that they live, what they have noted of themselves, and the secret that they share.

use uuid::Uuid;

use super::super::Shard;
use super::super::failure::Failure;
use super::super::pool::Transaction;
use super::super::query::Query;
use super::super::rows::{column, foreign};
use super::super::scope::Scope;
use super::rows::agent_key;
use crate::config::limits::NODE_SILENT_SECONDS;
use crate::domain::AgentKey;
use crate::store::{StoreError, message_rules as rules};

/// Says that the shard's node lives, which may be new.
pub(in crate::store::postgres) async fn begin_node(shard: &Shard) -> Result<(), StoreError> {
    let sql = "INSERT INTO node (id, seen_at) VALUES ($1, $2)
        ON CONFLICT (id) DO UPDATE SET seen_at = greatest(node.seen_at, excluded.seen_at)";
    say(shard, sql).await
}

/// Says that the shard's node lives. If others have forgotten it meanwhile, so is what it had noted,
/// and it may have noted that it had sent volatile messages.
pub(super) async fn keep_node(shard: &Shard) -> Result<(), StoreError> {
    let sql = "INSERT INTO node (id, seen_at, volatile) VALUES ($1, $2, true)
        ON CONFLICT (id) DO UPDATE SET seen_at = greatest(node.seen_at, excluded.seen_at)";
    say(shard, sql).await
}

/// Notes that the shard's node has sent messages that are in its memory only, and that it lives.
pub(super) async fn note_volatile(shard: &Shard) -> Result<(), StoreError> {
    let sql = "INSERT INTO node (id, seen_at, volatile) VALUES ($1, $2, true)
        ON CONFLICT (id) DO UPDATE
        SET seen_at = greatest(node.seen_at, excluded.seen_at), volatile = true";
    say(shard, sql).await
}

/// Notes that there are messages that are in the memory of `node` only, or will be.
pub(super) async fn note_volatile_of(shard: &Shard, node: Uuid) -> Result<(), StoreError> {
    let sql = "UPDATE node SET volatile = true WHERE id = $1 AND NOT volatile";
    let work = async |transaction: &Transaction<'_>| {
        let query = Query::new(sql).with(node);
        transaction.commit(vec![query]).await.map(drop)
    };
    shard.pool.transact(Scope::operator(), work).await
}

/// Takes back that the shard's node has sent messages that are in its memory only.
pub(super) async fn withdraw_volatile(shard: &Shard) -> Result<(), StoreError> {
    let sql = "UPDATE node SET volatile = false, seen_at = greatest(seen_at, $2) WHERE id = $1";
    say(shard, sql).await
}

/// Runs `sql` with the shard's node and the time.
async fn say(shard: &Shard, sql: &'static str) -> Result<(), StoreError> {
    let work = async |transaction: &Transaction<'_>| {
        let query = Query::new(sql)
            .with(shard.node)
            .with(shard.now().as_micros());
        transaction.commit(vec![query]).await.map(drop)
    };
    shard.pool.transact(Scope::operator(), work).await
}

/// Agents that have queues of nodes that are gone and not `known`.
pub(super) async fn left_agents(
    shard: &Shard,
    known: Vec<Uuid>,
) -> Result<Vec<(Uuid, AgentKey)>, StoreError> {
    let sql = "SELECT DISTINCT q.namespace, q.agent, q.node FROM queue q
        WHERE q.node <> $1 AND NOT q.node = ANY($3)
          AND NOT EXISTS (SELECT 1 FROM node n WHERE n.id = q.node AND n.seen_at > $2)";
    let query = Query::new(sql)
        .with(shard.node)
        .with(rules::before(shard.now(), NODE_SILENT_SECONDS))
        .with(known);
    let answers = shard.pool.read(&Scope::operator(), vec![query]).await?;
    let left = answers[0].iter();
    let left = left.map(|row| Ok((column(row, 2)?, agent_key(row, 0)?)));
    Ok(left.collect::<Result<_, Failure>>()?)
}

/// The secret of sessions.
pub(super) async fn session_secret(shard: &Shard) -> Result<Vec<u8>, StoreError> {
    let sql = "SELECT value FROM secret WHERE name = 'session'";
    let queries = vec![Query::new(sql)];
    let answers = shard.pool.read(&Scope::operator(), queries).await?;
    Ok(column(answers[0].first().ok_or_else(foreign)?, 0)?)
}
