//! What the writer knows of queues without asking: it is the only one that changes them.
//!
//! Invariants: an agent has at most as many deliveries as are noted here, since what is settled or rolled
//! back is not taken off; a queue that is noted here has a committed row.

use std::collections::{HashMap, HashSet};

use rusqlite::Connection;
use uuid::Uuid;

use super::deliveries::waiting_for;
use crate::domain::AgentKey;
use crate::domain::message::WAITING_MAX;
use crate::store::{StoreError, message_rules as rules};

/// Agents and queues that are remembered: some 2 MiB. Who has more of them in use is asked of again. Only a
/// message for more agents goes beyond it, until the next one.
const NAMES_MAX: usize = 16_384;

/// What is known of queues.
#[derive(Debug, Default)]
pub(in crate::store::sqlite) struct Known {
    /// How many deliveries wait for agents, at most: a count reads up to [`WAITING_MAX`] rows.
    waiting: HashMap<AgentKey, usize>,
    queues: HashSet<Uuid>,
    /// Begun in the transaction that is under way.
    begun: Vec<Uuid>,
}

impl Known {
    /// Counts one more for each recipient of a message, if each may have one more.
    pub(super) fn take<'a, Agents>(
        &mut self,
        connection: &Connection,
        agents: Agents,
    ) -> Result<(), StoreError>
    where
        Agents: ExactSizeIterator<Item = &'a AgentKey> + Clone,
    {
        // Only here, so that who is counted stays so until the message has its deliveries.
        if self.waiting.len() + agents.len() > NAMES_MAX {
            self.waiting.clear();
        }
        for (at, agent) in agents.clone().enumerate() {
            let Some(waiting) = self.waiting.get_mut(agent) else {
                let waiting = may_have_more(connection, agent, 0)?;
                self.waiting.insert(agent.clone(), waiting + 1);
                continue;
            };
            if *waiting >= WAITING_MAX {
                let named_before = agents.clone().take(at).filter(|one| *one == agent);
                *waiting = may_have_more(connection, agent, named_before.count())?;
            }
            *waiting += 1;
        }
        Ok(())
    }

    /// An agent got deliveries that were not counted.
    pub(super) fn forget(&mut self, agent: &AgentKey) {
        self.waiting.remove(agent);
    }

    /// Has the queue of a session a row?
    pub(super) fn has_queue(&self, session: Uuid) -> bool {
        self.queues.contains(&session)
    }

    /// It has, if what is under way is committed.
    pub(super) fn begin_queue(&mut self, session: Uuid) {
        self.begun.push(session);
    }

    /// It has none any more, or may not have.
    pub(super) fn end_queue(&mut self, session: Uuid) {
        self.queues.remove(&session);
        self.begun.retain(|begun| *begun != session);
    }

    /// Queues that were begun so far in this transaction.
    pub(in crate::store::sqlite) fn begun(&self) -> usize {
        self.begun.len()
    }

    /// What came after so many was rolled back.
    pub(in crate::store::sqlite) fn roll_back(&mut self, begun: usize) {
        self.begun.truncate(begun);
    }

    /// The transaction is over.
    pub(in crate::store::sqlite) fn end(&mut self, is_committed: bool) {
        if !is_committed {
            return self.begun.clear();
        }
        if self.queues.len() + self.begun.len() > NAMES_MAX {
            self.queues.clear();
        }
        self.queues.extend(self.begun.drain(..).take(NAMES_MAX));
    }
}

/// How many deliveries wait for `agent`, with `uncounted` that are not stored yet, if it may have one more.
fn may_have_more(
    connection: &Connection,
    agent: &AgentKey,
    uncounted: usize,
) -> Result<usize, StoreError> {
    let waiting = waiting_for(connection, agent)? + uncounted;
    if waiting >= WAITING_MAX {
        return Err(rules::full(agent));
    }
    Ok(waiting)
}
