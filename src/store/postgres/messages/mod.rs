//! Messages: what is to be delivered, and what was given up.
//!
//! What names an agent runs in the scope of its namespace. Posts and what names deliveries by key
//! are the server's own work over all namespaces.

mod counts;
mod dead_letters;
mod deliveries;
mod flight;
mod keep;
mod nodes;
mod queues;
mod rows;

use std::cell::RefCell;
use std::time::Duration;

use futures_util::future::join_all;
use uuid::Uuid;

pub(super) use flight::MessageFlights;
pub(super) use nodes::begin_node;

use counts::WaitingCounts;

use super::failure::Failure;
use super::pool::Transaction;
use super::scope::Scope;
use super::{PostgresStore, Shard};
use crate::domain::{
    AgentKey, DeadLetter, DeathCause, Letters, Message, NewMessage, Outline, Page, Unsettled,
    UpkeepReport, Waiting,
};
use crate::store::{Answer, Looked, Messages, Posted, Queue, Settled, StoreError};

/// Closes queues that nobody came back for, gives up what has expired in nobody's care, and removes
/// old dead letters; about `limit` of each. `window` is the time for which a session may be resumed.
pub(super) async fn sweep(
    shard: &Shard,
    transaction: &Transaction<'_>,
    window: Duration,
    limit: i64,
    report: &mut UpkeepReport,
) -> Result<(), Failure> {
    report.queues = queues::close_left(shard, transaction, window.as_secs(), limit).await?;
    report.deliveries =
        dead_letters::bury_expired(shard, transaction, window.as_secs(), limit).await?;
    report.dead_letters = dead_letters::remove_old(shard, transaction, limit).await?;
    Ok(())
}

fn closed<E>(_: E) -> StoreError {
    StoreError::Unavailable("the store is closed".into())
}

impl Messages for PostgresStore {
    fn post_messages(&self, new: Vec<NewMessage>) -> Answer<Vec<Result<Vec<i64>, StoreError>>> {
        let flights = &self.shard.message_flights;
        // At once, not when it is awaited: posts keep the order in which they were asked for.
        let boarded: Vec<_> = new.into_iter().map(|new| flights.post(new)).collect();
        Box::pin(async move {
            let landed = boarded
                .into_iter()
                .map(async |boarded| boarded?.await.map_err(closed)?);
            Ok(join_all(landed).await)
        })
    }

    fn keep_messages(&self, unsettled: Vec<Unsettled>) -> Answer<Vec<Result<i64, StoreError>>> {
        self.write(async move |store: Self| keep::keep(&store.shard, &unsettled).await)
    }

    fn fill_queue(
        &self,
        agent: &AgentKey,
        session: Uuid,
        absent: Vec<Uuid>,
    ) -> Answer<Vec<Outline>> {
        let agent = agent.clone();
        self.write(async move |store: Self| {
            queues::fill(&store.shard, &agent, session, absent).await
        })
    }

    fn resume_queue(&self, agent: &AgentKey, session: Uuid, before: Uuid) -> Answer<Queue> {
        let agent = agent.clone();
        self.write(async move |store: Self| {
            queues::resume(&store.shard, &agent, session, before).await
        })
    }

    fn look_at_queue(&self, agent: &AgentKey, session: Uuid) -> Answer<Looked> {
        let agent = agent.clone();
        self.read(async move |store: Self| queues::look(&store.shard, &agent, session).await)
    }

    fn close_queue(&self, agent: &AgentKey, session: Uuid) -> Answer<u64> {
        let agent = agent.clone();
        self.write(async move |store: Self| queues::close(&store.shard, &agent, session).await)
    }

    fn load_deliveries(&self, keys: Vec<i64>) -> Answer<Vec<(i64, Message)>> {
        self.read(async move |store: Self| deliveries::load(&store.shard, keys).await)
    }

    fn count_deliveries(&self, keys: Vec<i64>) -> Answer<()> {
        let boarded = self.shard.message_flights.count(keys);
        Box::pin(async move { boarded?.await.map_err(closed)? })
    }

    fn settle_deliveries(&self, keys: Vec<i64>) -> Answer<()> {
        let boarded = self.shard.message_flights.settle(keys);
        Box::pin(async move { boarded?.await.map_err(closed)? })
    }

    fn bury_deliveries(&self, dead: Vec<(i64, DeathCause, Option<Box<str>>)>) -> Answer<()> {
        self.write(async move |store: Self| dead_letters::bury(&store.shard, dead).await)
    }

    fn waiting_messages(&self, agent: &AgentKey, limit: u32) -> Answer<Vec<Waiting>> {
        let agent = agent.clone();
        self.read(async move |store: Self| deliveries::waiting(&store.shard, &agent, limit).await)
    }

    fn settle_messages(&self, agent: &AgentKey, ids: Vec<Uuid>) -> Answer<Vec<Settled>> {
        let agent = agent.clone();
        self.write(async move |store: Self| deliveries::settle_messages(&store, &agent, ids).await)
    }

    fn list_dead_letters(
        &self,
        owner: Option<&AgentKey>,
        limit: u32,
        cursor: Option<String>,
    ) -> Answer<Page<DeadLetter>> {
        let owner = owner.cloned();
        self.read(async move |store: Self| {
            dead_letters::list(&store.shard, owner.as_ref(), limit, cursor.as_deref()).await
        })
    }

    fn get_dead_letter(&self, owner: Option<&AgentKey>, id: Uuid) -> Answer<DeadLetter> {
        let owner = owner.cloned();
        self.read(async move |store: Self| {
            dead_letters::get(&store.shard, owner.as_ref(), id).await
        })
    }

    fn retry_dead_letters(
        &self,
        owner: Option<&AgentKey>,
        letters: Letters,
    ) -> Answer<Vec<(AgentKey, u64)>> {
        let owner = owner.cloned();
        self.write(async move |store: Self| {
            dead_letters::retry(&store, owner.as_ref(), letters).await
        })
    }

    fn purge_dead_letters(&self, owner: Option<&AgentKey>, letters: Letters) -> Answer<u64> {
        let owner = owner.cloned();
        self.write(async move |store: Self| {
            dead_letters::purge(&store, owner.as_ref(), letters).await
        })
    }

    fn node(&self) -> Uuid {
        self.shard.node
    }

    fn left_agents(&self, known: Vec<Uuid>) -> Answer<Vec<(Uuid, AgentKey)>> {
        self.read(async move |store: Self| nodes::left_agents(&store.shard, known).await)
    }

    fn keep_node(&self) -> Answer<()> {
        self.write(async move |store: Self| nodes::keep_node(&store.shard).await)
    }

    fn note_volatile(&self) -> Answer<()> {
        self.write(async move |store: Self| nodes::note_volatile(&store.shard).await)
    }

    fn note_volatile_of(&self, node: Uuid) -> Answer<()> {
        self.write(async move |store: Self| nodes::note_volatile_of(&store.shard, node).await)
    }

    fn withdraw_volatile(&self) -> Answer<()> {
        self.write(async move |store: Self| nodes::withdraw_volatile(&store.shard).await)
    }

    fn session_secret(&self) -> Answer<Vec<u8>> {
        self.read(async move |store: Self| nodes::session_secret(&store.shard).await)
    }
}

/// Stores a message with its deliveries, once if `store` has a key. Flights are for those that need
/// not be asked anything, so this is a transaction of its own.
pub(super) async fn post_once(
    store: &PostgresStore,
    new: NewMessage,
    recipients: u64,
) -> Result<Posted, StoreError> {
    deliveries::check(&new.message)?;
    let shard = &store.shard;
    // Set by whichever try is committed; none if it was committed before.
    let keys = RefCell::new(None);
    let work = async |transaction: &Transaction<'_>| {
        keys.replace(None);
        let mut posted = Vec::new();
        if !new.to.is_empty() {
            let mut counts = WaitingCounts::default();
            let posts = [&new];
            let post = deliveries::post(shard.node, &posts, &counts);
            let answers = transaction.run(vec![post]).await?;
            let mut became = deliveries::posted(&posts, &answers[0], &mut counts)?;
            posted = became.pop().unwrap_or_else(|| Err(closed(())))?;
        }
        keys.replace(Some(posted));
        let id = new.message.id;
        Ok(Posted {
            id,
            recipients,
            keys: None,
        })
    };
    let posted = store.transact(Scope::operator(), work).await?;
    Ok(Posted {
        keys: keys.take(),
        ..posted
    })
}
