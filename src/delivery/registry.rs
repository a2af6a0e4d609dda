//! Who is here, counted over all shards.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::domain::AgentKey;

/// Counts of sessions, shared by the shards. It is locked when a session begins, ends or changes
/// its agent, and when statistics are asked for; never for a message.
#[derive(Debug)]
pub struct Registry {
    epoch: Instant,
    counts: Mutex<Counts>,
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
    /// Who has come or gone here that other nodes are yet to be told of; none if there are no others.
    notes: Option<(Vec<Note>, Arc<Notify>)>,
}

/// Who has come (true) or gone.
type Note = (AgentKey, bool);

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
    /// One whose agents other nodes are told of; `wake` says that there is something to tell.
    pub fn shared(wake: Arc<Notify>) -> Self {
        let registry = Self::default();
        registry.counts.lock().notes = Some((Vec::new(), wake));
        registry
    }

    /// Who has come (true) or gone here since this was last asked, in order.
    pub(super) fn take_notes(&self) -> Vec<Note> {
        let mut counts = self.counts.lock();
        let notes = counts.notes.as_mut();
        notes.map_or_else(Vec::new, |(notes, _)| std::mem::take(notes))
    }

    /// Who is here.
    pub(super) fn agents_here(&self) -> Vec<AgentKey> {
        self.counts.lock().agents.keys().cloned().collect()
    }

    /// An agent has come to another node, or gone from there.
    pub(super) fn note_elsewhere(&self, node: Uuid, agent: AgentKey, is_there: bool) {
        let mut counts = self.counts.lock();
        let agents = counts.elsewhere.entry(node).or_default();
        if is_there {
            agents.insert(agent);
        } else {
            agents.remove(&agent);
        }
    }

    /// These are the agents of another node, and no others; none if it is gone.
    pub(super) fn set_elsewhere(&self, node: Uuid, agents: HashSet<AgentKey>) {
        let mut counts = self.counts.lock();
        if agents.is_empty() {
            counts.elsewhere.remove(&node);
        } else {
            counts.elsewhere.insert(node, agents);
        }
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
    fn join(&mut self, agent: &AgentKey) {
        let sessions = self.agents.entry(agent.clone()).or_default();
        *sessions += 1;
        if *sessions == 1 {
            self.note(agent, true);
        }
    }

    fn part(&mut self, agent: &AgentKey) {
        if let Some(sessions) = self.agents.get_mut(agent) {
            *sessions -= 1;
            if *sessions == 0 {
                self.agents.remove(agent);
                self.note(agent, false);
            }
        }
    }

    fn note(&mut self, agent: &AgentKey, is_here: bool) {
        if let Some((notes, wake)) = &mut self.notes {
            notes.push((agent.clone(), is_here));
            wake.notify_one();
        }
    }
}
