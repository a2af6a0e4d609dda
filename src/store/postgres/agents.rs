//! Registrations of agents.

use tokio_postgres::Row;

use super::failure::{Failure, no_nul};
use super::pool::Transaction;
use super::query::Query;
use super::rows::{column, foreign, time};
use super::scope::Scope;
use super::{PostgresStore, Shard};
use crate::domain::{Agent, AgentKey, JsonObject, NewAgent, Page};
use crate::store::{StoreError, cursor};

/// The order of the columns is the order in which [`agent`] reads them.
macro_rules! columns {
    () => {
        "agent, namespace, name, description, capabilities, metadata, registered_at, updated_at"
    };
}

/// Registers an agent; what the registration leaves out stays as it was.
pub(super) async fn register(store: &PostgresStore, new: &NewAgent) -> Result<Agent, StoreError> {
    if new
        .name
        .iter()
        .chain(&new.description)
        .any(|text| text.contains('\0'))
    {
        return Err(no_nul("description").into());
    }
    let sql = concat!(
        "INSERT INTO agent AS a (namespace, agent, name, description, capabilities, metadata,
             registered_at, updated_at)
         VALUES ($1, $2, $3, $4, coalesce($5, '{}'), coalesce($6, '{}'), $7, $7)
         ON CONFLICT (namespace, agent) DO UPDATE SET
             name = coalesce($3, a.name), description = coalesce($4, a.description),
             capabilities = coalesce($5, a.capabilities), metadata = coalesce($6, a.metadata),
             updated_at = $7
         RETURNING ",
        columns!()
    );
    let now = store.shard.now();
    let work = async |transaction: &Transaction<'_>| {
        let query = Query::new(sql)
            .with(new.key.namespace.to_string())
            .with(new.key.agent.to_string())
            .with(new.name.clone())
            .with(new.description.clone())
            .with(new.capabilities.clone())
            .with(
                new.metadata
                    .as_ref()
                    .map(|metadata| metadata.as_str().to_owned()),
            )
            .with(now.as_micros());
        let answers = transaction.commit(vec![query]).await?;
        agent(answers[0].first().ok_or_else(foreign)?)
    };
    store
        .transact(Scope::namespace(new.key.namespace.clone()), work)
        .await
}

/// One registration.
pub(super) async fn get(shard: &Shard, key: &AgentKey) -> Result<Agent, StoreError> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM agent WHERE namespace = $1 AND agent = $2"
    );
    let query = Query::new(sql)
        .with(key.namespace.to_string())
        .with(key.agent.to_string());
    let scope = Scope::namespace(key.namespace.clone());
    let answers = shard.pool.read(&scope, vec![query]).await?;
    let row = answers[0]
        .first()
        .ok_or(StoreError::NotFound { what: "agent" })?;
    Ok(agent(row)?)
}

/// Registrations of a namespace in the order of their ids.
pub(super) async fn list(
    shard: &Shard,
    namespace: &str,
    capability: Option<String>,
    limit: u32,
    cursor: Option<&str>,
) -> Result<Page<Agent>, StoreError> {
    let after = cursor
        .map(cursor::parse_agent)
        .transpose()?
        .unwrap_or_default();
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM agent
         WHERE namespace = $1 AND agent > $2 AND ($3 IS NULL OR $3 = ANY (capabilities))
         ORDER BY agent LIMIT $4"
    );
    let query = Query::new(sql)
        .with(namespace.to_owned())
        .with(after.replace('\0', ""))
        .with(capability.map(|name| name.replace('\0', "\u{FFFD}")))
        .with(i64::from(limit) + 1);
    let answers = shard
        .pool
        .read(&Scope::namespace(namespace), vec![query])
        .await?;
    let mut items = answers[0]
        .iter()
        .map(agent)
        .collect::<Result<Vec<_>, _>>()?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next_cursor = items
        .last()
        .filter(|_| more)
        .map(|last| cursor::write_agent(&last.agent_id));
    Ok(Page { items, next_cursor })
}

fn agent(row: &Row) -> Result<Agent, Failure> {
    Ok(Agent {
        agent_id: column::<&str>(row, 0)?.into(),
        namespace: column::<&str>(row, 1)?.into(),
        name: column(row, 2)?,
        description: column(row, 3)?,
        capabilities: column(row, 4)?,
        metadata: JsonObject::parse(column(row, 5)?).ok_or_else(foreign)?,
        registered_at: time(row, 6)?,
        updated_at: time(row, 7)?,
    })
}
