//! Who is here, counted over all shards.

use std::collections::HashMap;
use std::time::Instant;

use parking_lot::Mutex;

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

    /// The agents of a namespace that have an open session.
    pub fn agents_of(&self, namespace: &str) -> Vec<AgentKey> {
        let counts = self.counts.lock();
        let agents = counts.agents.keys();
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
        *self.agents.entry(agent.clone()).or_default() += 1;
    }

    fn part(&mut self, agent: &AgentKey) {
        if let Some(sessions) = self.agents.get_mut(agent) {
            *sessions -= 1;
            if *sessions == 0 {
                self.agents.remove(agent);
            }
        }
    }
}
