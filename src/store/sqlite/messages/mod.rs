//! Messages: what is to be delivered, and what was given up.
//!
//! Every other node is gone by definition: one process holds the data directory.

mod dead_letters;
mod deliveries;
mod known;
mod queues;
mod rows;

use std::time::Duration;

use rusqlite::Connection;
use uuid::Uuid;

pub(super) use deliveries::post;
pub(super) use known::Known;

use super::SqliteStore;
use super::writer::Batch;
use crate::domain::{
    AgentKey, DeadLetter, DeathCause, Letters, Message, NewMessage, Outline, Page, Timestamp,
    Unsettled, UpkeepReport, Waiting,
};
use crate::store::message_rules::DELIVERY_BYTES;
use crate::store::{Answer, Looked, Messages, Queue, Settled, StoreError};

/// Says that `node` lived at `now`.
pub(super) fn keep_node(
    connection: &Connection,
    node: Uuid,
    now: Timestamp,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO node (id, seen_at) VALUES (?1, ?2)
             ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at",
        )?
        .execute((node.as_bytes(), now.as_micros()))?;
    Ok(())
}

/// Notes that `node` has sent messages that are in its memory only, and that it lived at `now`.
fn note_volatile(connection: &Connection, node: Uuid, now: Timestamp) -> Result<(), StoreError> {
    keep_node(connection, node, now)?;
    set_volatile(connection, node, true)
}

fn set_volatile(connection: &Connection, node: Uuid, volatile: bool) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE node SET volatile = ?2 WHERE id = ?1")?
        .execute((node.as_bytes(), volatile))?;
    Ok(())
}

fn session_secret(connection: &Connection) -> Result<Vec<u8>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT value FROM secret WHERE name = 'session'")?;
    Ok(statement.query_row([], |row| row.get(0))?)
}

/// Closes queues that nobody came back for, gives up what has expired in nobody's care, and removes
/// old dead letters; about `limit` of each. `window` is the time for which a session may be resumed.
pub(super) fn sweep(
    batch: &mut Batch<'_>,
    node: Uuid,
    window: Duration,
    limit: usize,
    report: &mut UpkeepReport,
) -> Result<(), StoreError> {
    report.queues = queues::close_left(batch, node, window.as_secs(), limit)?;
    report.deliveries = dead_letters::bury_expired(batch, node, window.as_secs(), limit)?;
    report.dead_letters = dead_letters::remove_old(batch, limit)?;
    Ok(())
}

impl Messages for SqliteStore {
    fn post_messages(&self, new: Vec<NewMessage>) -> Answer<Vec<Result<Vec<i64>, StoreError>>> {
        let bytes =
            |new: &NewMessage| new.message.body.as_str().len() + new.to.len() * DELIVERY_BYTES;
        let node = self.threads.node;
        self.write(new.iter().map(bytes).sum(), move |batch| {
            Ok(new
                .iter()
                .map(|new| batch.isolated(|batch| deliveries::post(batch, node, new)))
                .collect())
        })
    }

    fn keep_messages(&self, unsettled: Vec<Unsettled>) -> Answer<Vec<Result<i64, StoreError>>> {
        let bytes = |one: &Unsettled| one.message.body.as_str().len() + DELIVERY_BYTES;
        let node = self.threads.node;
        self.write(unsettled.iter().map(bytes).sum(), move |batch| {
            Ok(unsettled
                .iter()
                .map(|one| batch.isolated(|batch| deliveries::keep(batch, node, one)))
                .collect())
        })
    }

    fn fill_queue(
        &self,
        agent: &AgentKey,
        session: Uuid,
        absent: Vec<Uuid>,
    ) -> Answer<Vec<Outline>> {
        let (agent, node) = (agent.clone(), self.threads.node);
        self.write(0, move |batch| {
            batch.isolated(|batch| queues::fill(batch, node, &agent, session, &absent))
        })
    }

    fn resume_queue(&self, agent: &AgentKey, session: Uuid, before: Uuid) -> Answer<Queue> {
        let (agent, node) = (agent.clone(), self.threads.node);
        self.write(0, move |batch| {
            batch.isolated(|batch| queues::resume(batch, node, &agent, session, before))
        })
    }

    fn look_at_queue(&self, agent: &AgentKey, session: Uuid) -> Answer<Looked> {
        let agent = agent.clone();
        self.read(move |connection, _| queues::look(connection, &agent, session))
    }

    fn close_queue(&self, agent: &AgentKey, session: Uuid) -> Answer<u64> {
        let (agent, node) = (agent.clone(), self.threads.node);
        self.write(0, move |batch| {
            batch.isolated(|batch| queues::close(batch, node, &agent, session))
        })
    }

    fn load_deliveries(&self, keys: Vec<i64>) -> Answer<Vec<(i64, Message)>> {
        self.read(move |connection, _| deliveries::load(connection, &keys))
    }

    fn count_deliveries(&self, keys: Vec<i64>) -> Answer<()> {
        self.write(0, move |batch| {
            batch.isolated(|batch| deliveries::count(batch, &keys))
        })
    }

    fn settle_deliveries(&self, keys: Vec<i64>) -> Answer<()> {
        self.write(0, move |batch| {
            batch.isolated(|batch| deliveries::settle(batch, &keys))
        })
    }

    fn bury_deliveries(&self, dead: Vec<(i64, DeathCause, Option<Box<str>>)>) -> Answer<()> {
        self.write(dead.len() * DELIVERY_BYTES, move |batch| {
            batch.isolated(|batch| dead_letters::bury(batch, dead))
        })
    }

    fn waiting_messages(&self, agent: &AgentKey, limit: u32) -> Answer<Vec<Waiting>> {
        let agent = agent.clone();
        self.read(move |connection, now| deliveries::waiting(connection, &agent, limit, now))
    }

    fn settle_messages(&self, agent: &AgentKey, ids: Vec<Uuid>) -> Answer<Vec<Settled>> {
        let agent = agent.clone();
        self.once(0, move |batch| {
            deliveries::settle_messages(batch, &agent, &ids)
        })
    }

    fn list_dead_letters(
        &self,
        owner: Option<&AgentKey>,
        limit: u32,
        cursor: Option<String>,
    ) -> Answer<Page<DeadLetter>> {
        let owner = owner.cloned();
        self.read(move |connection, _| {
            dead_letters::list(connection, owner.as_ref(), limit, cursor.as_deref())
        })
    }

    fn get_dead_letter(&self, owner: Option<&AgentKey>, id: Uuid) -> Answer<DeadLetter> {
        let owner = owner.cloned();
        self.read(move |connection, _| dead_letters::get(connection, owner.as_ref(), id))
    }

    fn retry_dead_letters(
        &self,
        owner: Option<&AgentKey>,
        letters: Letters,
    ) -> Answer<Vec<(AgentKey, u64)>> {
        let owner = owner.cloned();
        self.once(0, move |batch| {
            dead_letters::retry(batch, owner.as_ref(), &letters)
        })
    }

    fn purge_dead_letters(&self, owner: Option<&AgentKey>, letters: Letters) -> Answer<u64> {
        let owner = owner.cloned();
        self.once(0, move |batch| {
            dead_letters::purge(batch, owner.as_ref(), &letters)
        })
    }

    fn node(&self) -> Uuid {
        self.threads.node
    }

    fn left_agents(&self, _: Vec<Uuid>) -> Answer<Vec<(Uuid, AgentKey)>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn keep_node(&self) -> Answer<()> {
        let node = self.threads.node;
        self.write(0, move |batch| {
            batch.isolated(|batch| keep_node(batch.connection, node, batch.now))
        })
    }

    fn note_volatile(&self) -> Answer<()> {
        let node = self.threads.node;
        self.write(0, move |batch| {
            batch.isolated(|batch| note_volatile(batch.connection, node, batch.now))
        })
    }

    fn note_volatile_of(&self, node: Uuid) -> Answer<()> {
        self.write(0, move |batch| {
            batch.isolated(|batch| set_volatile(batch.connection, node, true))
        })
    }

    fn withdraw_volatile(&self) -> Answer<()> {
        let node = self.threads.node;
        self.write(0, move |batch| {
            batch.isolated(|batch| set_volatile(batch.connection, node, false))
        })
    }

    fn session_secret(&self) -> Answer<Vec<u8>> {
        self.read(|connection, _| session_secret(connection))
    }
}
