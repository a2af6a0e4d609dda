//! Who is here, counted over all shards.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Notify;
use uuid::Uuid;

use super::events::{Events, Move, Topic, What};
use crate::domain::{AgentKey, Status};

/// An agent that has come (true) or gone here, and what it says of itself if that is new.
type Note = (AgentKey, bool, Option<Status>);

/// Counts of sessions, shared by the shards. It is locked when a session begins, ends or changes
/// its agent, and when statistics are asked for; never for a message.
#[derive(Debug)]
pub struct Registry {
    epoch: Instant,
    counts: Mutex<Counts>,
}

/// An agent that is here, on whatever node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The agent.
    pub agent: AgentKey,
    /// What it says of itself.
    pub status: Status,
}

#[derive(Debug, Default)]
struct Counts {
    open: u64,
    opened: u64,
    /// Sum of the open sessions' start times after the epoch: with their number it gives the sum
    /// of their ages without a walk.
    open_starts_ms: u64,
    closed_duration_ms: u64,
    agents: HashMap<AgentKey, u64>,
    /// Agents of other nodes.
    elsewhere: HashMap<Uuid, HashSet<AgentKey>>,
    /// What agents that are here or elsewhere say of themselves.
    statuses: HashMap<AgentKey, Status>,
    /// Who has come or gone here that other nodes are yet to be told of; none if there are no others.
    notes: Option<(Vec<Note>, Arc<Notify>)>,
    /// Who is told of all this.
    events: Option<Arc<Events>>,
}

/// A view of the registry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Presence {
    /// Sessions open now.
    pub open: u64,
    /// Sessions opened since the start.
    pub opened: u64,
    /// Distinct agents with an open session.
    pub agents: u64,
    /// Mean age of all sessions since the start, the open ones up to now.
    pub average_duration_seconds: f64,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            epoch: Instant::now(),
            counts: Mutex::default(),
        }
    }
}

impl Registry {
    /// One that tells of who comes and goes by `events`. Other nodes are told as well if there is a
    /// `wake`, which says that there is something to tell.
    pub fn new(events: Arc<Events>, wake: Option<Arc<Notify>>) -> Self {
        let registry = Self::default();
        {
            let mut counts = registry.counts.lock();
            counts.events = Some(events);
            counts.notes = wake.map(|wake| (Vec::new(), wake));
        }
        registry
    }

    /// What other nodes are to be told since this was last asked, in order.
    pub(super) fn take_notes(&self) -> Vec<Note> {
        let mut counts = self.counts.lock();
        let notes = counts.notes.as_mut();
        notes.map_or_else(Vec::new, |(notes, _)| std::mem::take(notes))
    }

    /// Who is here, and what they say of themselves.
    pub(super) fn agents_here(&self) -> Vec<(AgentKey, Option<Status>)> {
        let counts = self.counts.lock();
        let agents = counts.agents.keys();
        agents
            .map(|agent| (agent.clone(), counts.statuses.get(agent).cloned()))
            .collect()
    }

    /// An agent has come to another node or gone from there, or says something of itself.
    pub(super) fn note_elsewhere(
        &self,
        node: Uuid,
        agent: AgentKey,
        is_there: bool,
        status: Option<Status>,
    ) {
        let mut counts = self.counts.lock();
        let was_present = counts.is_present(&agent);
        let agents = counts.elsewhere.entry(node).or_default();
        if is_there {
            agents.insert(agent.clone());
        } else {
            agents.remove(&agent);
        }
        counts.moved(&agent, was_present, status);
    }

    /// These are the agents of another node, and no others; none if it is gone.
    pub(super) fn set_elsewhere(&self, node: Uuid, agents: HashMap<AgentKey, Option<Status>>) {
        let mut counts = self.counts.lock();
        let before = counts.elsewhere.remove(&node).unwrap_or_default();
        let names: BTreeSet<AgentKey> = before.iter().chain(agents.keys()).cloned().collect();
        // With that node as it was.
        let present = names.into_iter().map(|agent| {
            let was_present = before.contains(&agent) || counts.is_present(&agent);
            (agent, was_present)
        });
        let present: Vec<_> = present.collect();
        let mut statuses = agents;
        if !statuses.is_empty() {
            let agents = statuses.keys().cloned().collect();
            counts.elsewhere.insert(node, agents);
        }
        for (agent, was_present) in present {
            let status = statuses.remove(&agent).flatten();
            counts.moved(&agent, was_present, status);
        }
    }

    /// Notes what an agent says of itself; false if it is not here, on no node.
    pub fn set_status(&self, agent: &AgentKey, status: Status) -> bool {
        let mut counts = self.counts.lock();
        let is_present = counts.is_present(agent);
        if is_present {
            counts.moved(agent, true, Some(status.clone()));
            let is_here = counts.agents.contains_key(agent);
            counts.note(agent, is_here, Some(status));
        }
        is_present
    }

    /// What an agent says of itself; `None` if it is not here, on no node.
    pub fn status_of(&self, agent: &AgentKey) -> Option<Status> {
        let counts = self.counts.lock();
        let is_present = counts.is_present(agent);
        is_present.then(|| counts.statuses.get(agent).cloned().unwrap_or_default())
    }

    /// At most `limit` agents of a namespace that are here, on whatever node, by id, those after
    /// `after`; and whether there are more.
    pub fn seen(&self, namespace: &str, after: Option<&str>, limit: usize) -> (Vec<Seen>, bool) {
        let mut agents = self.agents_of(namespace);
        agents.retain(|agent| after.is_none_or(|after| *agent.agent > *after));
        agents.sort_unstable();
        agents.dedup();
        let more = agents.len() > limit;
        agents.truncate(limit);
        let counts = self.counts.lock();
        let seen = agents.into_iter().map(|agent| Seen {
            status: counts.statuses.get(&agent).cloned().unwrap_or_default(),
            agent,
        });
        (seen.collect(), more)
    }

    /// Milliseconds since the registry was made.
    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn enter(&self, agent: &AgentKey, start_ms: u64) {
        let mut counts = self.counts.lock();
        counts.open += 1;
        counts.opened += 1;
        counts.open_starts_ms += start_ms;
        counts.join(agent);
    }

    pub(super) fn leave(&self, agent: &AgentKey, start_ms: u64) {
        let now_ms = self.now_ms();
        let mut counts = self.counts.lock();
        counts.open -= 1;
        counts.open_starts_ms -= start_ms;
        counts.closed_duration_ms += now_ms - start_ms;
        counts.part(agent);
    }

    pub(super) fn switch(&self, from: &AgentKey, to: &AgentKey) {
        let mut counts = self.counts.lock();
        counts.part(from);
        counts.join(to);
    }

    /// The same key as other sessions of this agent hold, so that 10,000 sessions of one agent
    /// share its names.
    pub fn intern(&self, agent: AgentKey) -> AgentKey {
        let counts = self.counts.lock();
        counts
            .agents
            .get_key_value(&agent)
            .map_or(agent, |(known, _)| known.clone())
    }

    /// The agents of a namespace that have an open session, on whatever node; each may come twice.
    pub fn agents_of(&self, namespace: &str) -> Vec<AgentKey> {
        let counts = self.counts.lock();
        let elsewhere = counts.elsewhere.values().flatten();
        let agents = counts.agents.keys().chain(elsewhere);
        let of_namespace = agents.filter(|agent| *agent.namespace == *namespace);
        of_namespace.cloned().collect()
    }

    /// The counts of the moment.
    pub fn presence(&self) -> Presence {
        let now_ms = self.now_ms();
        let counts = self.counts.lock();
        let open_ms = counts.open * now_ms - counts.open_starts_ms;
        let total_ms = (open_ms + counts.closed_duration_ms) as f64;
        Presence {
            open: counts.open,
            opened: counts.opened,
            agents: counts.agents.len() as u64,
            average_duration_seconds: total_ms / 1e3 / (counts.opened.max(1) as f64),
        }
    }
}

impl Counts {
    fn is_present(&self, agent: &AgentKey) -> bool {
        let mut elsewhere = self.elsewhere.values();
        self.agents.contains_key(agent) || elsewhere.any(|agents| agents.contains(agent))
    }

    /// Tells of an agent that is here or elsewhere, or was, if anything is new.
    fn moved(&mut self, agent: &AgentKey, was_present: bool, status: Option<Status>) {
        let happened = match (was_present, self.is_present(agent)) {
            (false, false) => return,
            (true, false) => {
                self.statuses.remove(agent);
                return self.publish(agent, Move::Leave, None);
            }
            (false, true) => Move::Join,
            (true, true) => Move::Status,
        };
        let known = self.statuses.get(agent);
        let newer = status.filter(|new| known.is_none_or(|known| known.since < new.since));
        let is_new = newer.is_some();
        if let Some(status) = newer {
            self.statuses.insert(agent.clone(), status);
        }
        if happened == Move::Join || is_new {
            let status = self.statuses.get(agent).cloned().unwrap_or_default();
            self.publish(agent, happened, Some(status));
        }
    }

    fn publish(&self, agent: &AgentKey, happened: Move, status: Option<Status>) {
        if let Some(events) = &self.events {
            let what = What::Presence {
                happened,
                agent: agent.clone(),
                status,
            };
            events.publish(Topic::Presence, &agent.namespace, what);
        }
    }

    fn join(&mut self, agent: &AgentKey) {
        if let Some(sessions) = self.agents.get_mut(agent) {
            *sessions += 1;
            return;
        }
        let was_present = self.is_present(agent);
        self.agents.insert(agent.clone(), 1);
        self.moved(agent, was_present, None);
        self.note(agent, true, None);
    }

    fn part(&mut self, agent: &AgentKey) {
        if let Some(sessions) = self.agents.get_mut(agent) {
            *sessions -= 1;
            if *sessions == 0 {
                self.agents.remove(agent);
                self.moved(agent, true, None);
                self.note(agent, false, None);
            }
        }
    }

    fn note(&mut self, agent: &AgentKey, is_here: bool, status: Option<Status>) {
        if let Some((notes, wake)) = &mut self.notes {
            notes.push((agent.clone(), is_here, status));
            wake.notify_one();
        }
    }
}
