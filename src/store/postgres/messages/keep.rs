//! Storing what was in memory only, when a node stops.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::super::Shard;
use super::super::pool::Transaction;
use super::super::query::Query;
use super::super::rows::column;
use super::super::scope::Scope;
use super::deliveries::{check, with_messages};
use crate::domain::message::WAITING_MAX;
use crate::domain::{Message, Unsettled};
use crate::store::{StoreError, message_rules as rules};

/// Stores deliveries whose agents have room, with their messages, unless they are there; answers the
/// place of each in what was given, and its key. A message that is stored already is locked, so that whoever ends its last
/// delivery waits, and finds this one.
const KEEP: &str = "WITH given AS MATERIALIZED (
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::int[],
            $6::bigint[], $7::bigint[], $8::bigint[], $9::text[], $10::text[])
        AS given (id, namespace, agent, topic, priority, sent_at, ttl, expires_at, correlation, body)
    ), towards AS MATERIALIZED (
        SELECT * FROM unnest($11::uuid[], $12::text[], $13::text[], $14::uuid[], $15::int[])
        WITH ORDINALITY AS towards (message, namespace, agent, session, deliveries, place)
    ), there AS MATERIALIZED (
        SELECT t.place, min(d.key) AS key FROM towards t JOIN delivery d
        ON d.message = t.message AND d.namespace = t.namespace AND d.agent = t.agent
            AND d.session = t.session
        GROUP BY t.place
    ), room AS MATERIALIZED (
        SELECT namespace, agent, (SELECT count(*) FROM (
            SELECT 1 FROM delivery d
            WHERE d.namespace = agents.namespace AND d.agent = agents.agent LIMIT $17) c) AS waiting
        FROM (SELECT DISTINCT namespace, agent FROM towards) agents
    ), placed AS MATERIALIZED (
        SELECT t.*, waiting + row_number() OVER (
            PARTITION BY namespace, agent ORDER BY place) AS nth
        FROM towards t JOIN room USING (namespace, agent)
        WHERE place NOT IN (SELECT place FROM there)
    ), going AS MATERIALIZED (
        SELECT p.*, g.priority, octet_length(g.body) AS bytes, g.expires_at
        FROM placed p JOIN given g ON g.id = p.message WHERE nth <= $17
    ), stored AS (
        INSERT INTO message (id, namespace, agent, topic, priority, sent_at, ttl, expires_at,
            correlation, body)
        SELECT * FROM given WHERE id IN (SELECT message FROM going) ORDER BY id
        ON CONFLICT (id) DO UPDATE SET expires_at = greatest(message.expires_at, excluded.expires_at)
    ), queued AS (
        INSERT INTO queue (namespace, agent, session, node)
        SELECT DISTINCT namespace, agent, session, $16::uuid FROM going ORDER BY 1, 2, 3
        ON CONFLICT DO NOTHING
    ), delivered AS (
        INSERT INTO delivery (message, namespace, agent, session, priority, bytes, expires_at,
            deliveries)
        SELECT message, namespace, agent, session, priority, bytes, expires_at, deliveries
        FROM going ORDER BY place
        RETURNING key, message, session
    )
    SELECT place, key FROM delivered JOIN going USING (message, session)
    UNION ALL SELECT place, key FROM there";

/// Stores what was in memory only. What has no room, or cannot be stored here, is refused alone.
pub(super) async fn keep(
    shard: &Shard,
    unsettled: &[Unsettled],
) -> Result<Vec<Result<i64, StoreError>>, StoreError> {
    let (storable, places): (Vec<&Unsettled>, Vec<usize>) = unsettled
        .iter()
        .zip(0..)
        .filter(|(one, _)| check(&one.message).is_ok())
        .unzip();
    let work = async |transaction: &Transaction<'_>| {
        let answers = transaction
            .commit(vec![statement(shard, &storable)])
            .await?;
        let mut keys = BTreeMap::new();
        for row in &answers[0] {
            let place = column::<i64>(row, 0)? as usize;
            // Places count from one.
            keys.extend(places.get(place.wrapping_sub(1)).zip(column(row, 1).ok()));
        }
        Ok(keys)
    };
    let keys: BTreeMap<&usize, i64> = shard.pool.transact(Scope::operator(), work).await?;
    let answer = |(place, one): (usize, &Unsettled)| {
        check(&one.message)?;
        keys.get(&place)
            .copied()
            .ok_or_else(|| rules::full(&one.agent))
    };
    Ok(unsettled.iter().enumerate().map(answer).collect())
}

fn statement(shard: &Shard, unsettled: &[&Unsettled]) -> Query {
    let messages: BTreeMap<Uuid, &Message> = unsettled
        .iter()
        .map(|one| (one.message.id, &*one.message))
        .collect();
    let to = || unsettled.iter();
    let namespaces: Vec<String> = to().map(|one| one.agent.namespace.to_string()).collect();
    let agents: Vec<String> = to().map(|one| one.agent.agent.to_string()).collect();
    let messages: Vec<&Message> = messages.into_values().collect();
    with_messages(Query::new(KEEP), &messages)
        .with(to().map(|one| one.message.id).collect::<Vec<_>>())
        .with(namespaces)
        .with(agents)
        .with(to().map(|one| one.session).collect::<Vec<_>>())
        .with(to().map(|one| one.deliveries as i32).collect::<Vec<_>>())
        .with(shard.node)
        .with(WAITING_MAX as i64)
}
