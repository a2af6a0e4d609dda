//! Posting, loading, counting and settling deliveries.

use std::collections::HashMap;

use tokio_postgres::Row;
use uuid::Uuid;

use super::super::failure::{Failure, no_nul};
use super::super::pool::Transaction;
use super::super::query::Query;
use super::super::rows::{column, foreign};
use super::super::scope::Scope;
use super::super::{PostgresStore, Shard};
use super::counts::WaitingCounts;
use super::rows::{message, message_columns};
use crate::domain::message::WAITING_MAX;
use crate::domain::{AgentKey, Destination, Message, NewMessage, Waiting};
use crate::store::{Settled, StoreError, message_rules as rules};

/// Stores messages that have room with their deliveries, in the order given. The rows tell, by the
/// first column: 0 a message and the key of a delivery, 1 a message and the place of its first
/// destination that has no room, 2 the first place of an agent and how many wait for it, which
/// was not known.
///
/// An agent's count holds what this statement brings before, even if that is refused for another
/// agent's sake; what others post at the same moment is not counted. Locking the queues makes
/// who closes one wait, and find what was posted to it.
const POST: &str = "WITH given AS MATERIALIZED (
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::int[],
            $6::bigint[], $7::bigint[], $8::bigint[], $9::text[], $10::text[])
        AS given (id, namespace, agent, topic, priority, sent_at, ttl, expires_at, correlation, body)
    ), towards AS MATERIALIZED (
        SELECT * FROM unnest($11::uuid[], $12::text[], $13::text[], $14::uuid[], $15::int[],
            $16::bigint[], $17::uuid[])
        WITH ORDINALITY AS towards (message, namespace, agent, session, deliveries, known, node,
            place)
    ), room AS MATERIALIZED (
        SELECT namespace, agent, place, known, coalesce(known, (SELECT count(*) FROM (
            SELECT 1 FROM delivery d
            WHERE d.namespace = agents.namespace AND d.agent = agents.agent LIMIT $18) c)) AS waiting
        FROM (SELECT namespace, agent, min(place) AS place, min(known) AS known
              FROM towards GROUP BY namespace, agent) agents
    ), placed AS MATERIALIZED (
        SELECT t.*, r.waiting + row_number() OVER (
            PARTITION BY t.namespace, t.agent ORDER BY t.place) > $18 AS is_full
        FROM towards t JOIN room r ON r.namespace = t.namespace AND r.agent = t.agent
    ), refused AS MATERIALIZED (
        SELECT message, min(place) AS place FROM placed WHERE is_full GROUP BY message
    ), stored AS (
        INSERT INTO message (id, namespace, agent, topic, priority, sent_at, ttl, expires_at,
            correlation, body)
        SELECT * FROM given WHERE id NOT IN (SELECT message FROM refused)
        ON CONFLICT (id) DO NOTHING
        RETURNING id, priority, octet_length(body) AS bytes, expires_at
    ), going AS MATERIALIZED (
        SELECT p.*, s.priority, s.bytes, s.expires_at
        FROM placed p JOIN stored s ON s.id = p.message
    ), held AS MATERIALIZED (
        SELECT 1 FROM queue q JOIN (
            SELECT DISTINCT namespace, agent, session FROM going WHERE session IS NOT NULL) g
        ON q.namespace = g.namespace AND q.agent = g.agent AND q.session = g.session
        FOR KEY SHARE OF q
    ), queued AS (
        INSERT INTO queue (namespace, agent, session, node)
        SELECT DISTINCT ON (namespace, agent, session) namespace, agent, session, node FROM going
        WHERE session IS NOT NULL ORDER BY 1, 2, 3
        ON CONFLICT DO NOTHING
    ), delivered AS (
        INSERT INTO delivery (message, namespace, agent, session, priority, bytes, expires_at,
            deliveries)
        SELECT message, namespace, agent, session, priority, bytes, expires_at, deliveries
        FROM going ORDER BY place
        RETURNING key, message
    )
    SELECT 0, message, key, 0::bigint FROM delivered
    UNION ALL SELECT 1, message, place, 0 FROM refused
    UNION ALL SELECT 2, NULL, place, waiting FROM room WHERE known IS NULL
    UNION ALL SELECT 3, NULL, count(*), 0 FROM held";

/// The statement that stores `new`, whose ids differ; queues that were unknown become `node`'s.
pub(super) fn post(node: Uuid, new: &[&NewMessage], counts: &WaitingCounts) -> Query {
    let messages: Vec<&Message> = new.iter().map(|new| &*new.message).collect();
    let query = with_messages(Query::new(POST), &messages);
    with_destinations(query, node, new, counts).with(WAITING_MAX as i64)
}

/// Binds messages, a column at a time.
pub(super) fn with_messages(query: Query, messages: &[&Message]) -> Query {
    let messages = || messages.iter().copied();
    let texts = |text: &dyn Fn(&Message) -> &str| -> Vec<String> {
        messages().map(|message| text(message).to_owned()).collect()
    };
    let numbers =
        |number: &dyn Fn(&Message) -> i64| -> Vec<i64> { messages().map(number).collect() };
    let priorities: Vec<i32> = messages()
        .map(|message| message.priority.rank() as i32)
        .collect();
    let correlations: Vec<Option<String>> = messages()
        .map(|message| message.correlation_id.as_deref().map(str::to_owned))
        .collect();
    query
        .with(messages().map(|message| message.id).collect::<Vec<_>>())
        .with(texts(&|message| &message.sender.namespace))
        .with(texts(&|message| &message.sender.agent))
        .with(texts(&|message| &message.topic))
        .with(priorities)
        .with(numbers(&|message| message.sent_at.as_micros()))
        .with(numbers(&rules::ttl))
        .with(numbers(&|message| message.expires_at.as_micros()))
        .with(correlations)
        .with(texts(&|message| message.body.as_str()))
}

/// Refuses what PostgreSQL cannot keep: it has no U+0000.
pub(super) fn check(message: &Message) -> Result<(), StoreError> {
    let correlation = message.correlation_id.as_deref().unwrap_or_default();
    for (name, text) in [("topic", &*message.topic), ("correlation_id", correlation)] {
        if text.contains('\0') {
            return Err(no_nul(name).into());
        }
    }
    Ok(())
}

fn with_destinations(
    query: Query,
    node: Uuid,
    new: &[&NewMessage],
    counts: &WaitingCounts,
) -> Query {
    let messages: Vec<Uuid> = new
        .iter()
        .flat_map(|new| std::iter::repeat_n(new.message.id, new.to.len()))
        .collect();
    let to = || destinations(new);
    let namespaces: Vec<String> = to().map(|to| to.agent.namespace.to_string()).collect();
    let agents: Vec<String> = to().map(|to| to.agent.agent.to_string()).collect();
    let mut coming: HashMap<&AgentKey, i64> = HashMap::new();
    to().for_each(|to| *coming.entry(&to.agent).or_default() += 1);
    let known: Vec<Option<i64>> = to()
        .map(|to| counts.of(&to.agent, coming[&to.agent]))
        .collect();
    query
        .with(messages)
        .with(namespaces)
        .with(agents)
        .with(to().map(|to| to.session).collect::<Vec<_>>())
        .with(to().map(|to| i32::from(to.begun)).collect::<Vec<_>>())
        .with(known)
        .with(to().map(|to| to.node.unwrap_or(node)).collect::<Vec<_>>())
}

fn destinations<'n>(new: &'n [&NewMessage]) -> impl Iterator<Item = &'n Destination> {
    new.iter().flat_map(|new| &new.to)
}

/// What became of each post.
pub(super) type Posted = Vec<Result<Vec<i64>, StoreError>>;

/// Reads what [`post`] answers, and notes how many wait for whom.
pub(super) fn posted(
    new: &[&NewMessage],
    rows: &[Row],
    counts: &mut WaitingCounts,
) -> Result<Posted, Failure> {
    let to: Vec<_> = destinations(new).map(|to| &to.agent).collect();
    let agent = |place: i64| to.get(place as usize - 1).ok_or_else(foreign);
    let mut keys: HashMap<Uuid, Vec<i64>> = HashMap::new();
    let mut refused = HashMap::new();
    for row in rows {
        let number: i64 = column(row, 2)?;
        match column::<i32>(row, 0)? {
            0 => keys.entry(column(row, 1)?).or_default().push(number),
            1 => drop(refused.insert(column::<Uuid>(row, 1)?, number)),
            2 => counts.learn(agent(number)?, column(row, 3)?),
            _ => {}
        }
    }
    let mut answers = Vec::with_capacity(new.len());
    for entry in new {
        let id = &entry.message.id;
        answers.push(match (keys.remove(id), refused.get(id)) {
            (Some(mut keys), _) => {
                keys.sort_unstable();
                entry.to.iter().for_each(|to| counts.add(&to.agent));
                Ok(keys)
            }
            (None, Some(place)) => Err(rules::full(agent(*place)?)),
            (None, None) => Err(rules::taken(*id)),
        });
    }
    Ok(answers)
}

/// Counts one more delivery for each time that a key is named.
pub(super) fn count(keys: Vec<i64>) -> Query {
    Query::new(
        "UPDATE delivery d SET deliveries = d.deliveries + more.times
         FROM (SELECT key, count(*)::int AS times FROM unnest($1::bigint[]) AS more (key)
               GROUP BY key) more
         WHERE d.key = more.key",
    )
    .with(keys)
}

/// Ends deliveries; a message goes with its last one (`end_messages` in the schema).
pub(super) fn settle(keys: Vec<i64>) -> Query {
    Query::new("DELETE FROM delivery WHERE key = ANY ($1)").with(keys)
}

/// The messages of deliveries.
pub(super) async fn load(shard: &Shard, keys: Vec<i64>) -> Result<Vec<(i64, Message)>, StoreError> {
    let sql = concat!(
        "SELECT ",
        message_columns!(),
        ", d.key FROM delivery d JOIN message m ON m.id = d.message WHERE d.key = ANY ($1)"
    );
    let query = Query::new(sql).with(keys);
    let answers = shard.pool.read(&Scope::operator(), vec![query]).await?;
    let loaded = answers[0]
        .iter()
        .map(|row| Ok((column(row, 9)?, message(row, 0)?)));
    Ok(loaded.collect::<Result<_, Failure>>()?)
}

/// What waits for `agent`, each message once.
pub(super) async fn waiting(
    shard: &Shard,
    agent: &AgentKey,
    limit: u32,
) -> Result<Vec<Waiting>, StoreError> {
    let sql = concat!(
        "SELECT ",
        message_columns!(),
        ", d.deliveries
         FROM (SELECT message, min(key) AS key, max(deliveries) AS deliveries,
                   max(expires_at) AS expires_at, min(priority) AS priority
               FROM delivery
               WHERE namespace = $1 AND agent = $2 AND expires_at > $3
               GROUP BY message ORDER BY min(priority), min(key) LIMIT $4) d
         JOIN message m ON m.id = d.message
         ORDER BY d.priority, d.key"
    );
    let query = of_agent(sql, agent)
        .with(shard.now().as_micros())
        .with(i64::from(limit));
    let scope = Scope::namespace(agent.namespace.clone());
    let answers = shard.pool.read(&scope, vec![query]).await?;
    let waiting = answers[0].iter().map(|row| {
        Ok(Waiting {
            message: message(row, 0)?,
            deliveries: column::<i32>(row, 9)? as u32,
        })
    });
    Ok(waiting.collect::<Result<_, Failure>>()?)
}

/// A statement whose first values name an agent.
pub(super) fn of_agent(sql: &'static str, agent: &AgentKey) -> Query {
    Query::new(sql)
        .with(agent.namespace.to_string())
        .with(agent.agent.to_string())
}

/// Ends the deliveries of messages to `agent`, in whatever queues they are.
pub(super) async fn settle_messages(
    store: &PostgresStore,
    agent: &AgentKey,
    ids: Vec<Uuid>,
) -> Result<Vec<Settled>, StoreError> {
    let work = async |transaction: &Transaction<'_>| {
        let sql = "DELETE FROM delivery WHERE namespace = $1 AND agent = $2 AND message = ANY ($3)
             RETURNING key, session";
        let query = of_agent(sql, agent).with(ids.clone());
        let answers = transaction.commit(vec![query]).await?;
        let settled = answers[0].iter().map(|row| {
            Ok(Settled {
                key: column(row, 0)?,
                session: column(row, 1)?,
            })
        });
        settled.collect()
    };
    let scope = Scope::namespace(agent.namespace.clone());
    store.transact(scope, work).await
}
