//! Where sessions are that take deliveries: those of this process, and of its fellow nodes as far as
//! they have told of theirs.
//!
//! What happens to the sessions of this process is noted for the other nodes in the order in which it
//! happens, each time with all that they need to know of the session: so a note that comes twice
//! does no harm.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tokio::sync::Notify;
use uuid::Uuid;

use crate::domain::AgentKey;

mod notes;

pub(super) use notes::{Note, Taken};

/// Who serves a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    /// A shard of this process, whose hub has it.
    Shard(usize),
    /// Another node.
    Node(Uuid),
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) session: Uuid,
    pub(super) home: Home,
    pub(super) connected: bool,
}

#[derive(Debug)]
struct Known {
    home: Home,
    agent: AgentKey,
    connected: bool,
    /// Gets its agent's messages.
    listed: bool,
    topics: BTreeSet<Box<str>>,
}

/// The sessions. It is locked for moments only, and never while anything waits.
#[derive(Debug, Default)]
pub(super) struct Directory {
    sessions: HashMap<Uuid, Known, foldhash::fast::RandomState>,
    agents: BTreeMap<AgentKey, Vec<Uuid>>,
    /// Subscribers by namespace and topic.
    topics: HashMap<(Arc<str>, Box<str>), BTreeSet<Uuid>>,
    /// Sessions that a shard of this process is about to take over from elsewhere.
    claims: HashMap<Uuid, usize>,
    /// What other nodes are yet to be told, and who tells them; none if there are no others.
    notes: Option<(Vec<Note>, Arc<Notify>)>,
}

impl Directory {
    /// One whose changes are noted for other nodes, of which `wake` is told.
    pub(super) fn shared(wake: Arc<Notify>) -> Self {
        Self {
            notes: Some((Vec::new(), wake)),
            ..Self::default()
        }
    }

    /// Notes a session of a shard. It gets its agent's messages from now on if nobody else does;
    /// otherwise once it is [listed](Self::list). One that was elsewhere keeps its topics.
    pub(super) fn enter(&mut self, session: Uuid, agent: &AgentKey, shard: usize) {
        let listed = !self.agents.contains_key(agent);
        let known = self.sessions.entry(session).or_insert_with(|| Known {
            home: Home::Shard(shard),
            agent: agent.clone(),
            connected: true,
            listed,
            topics: BTreeSet::new(),
        });
        known.home = Home::Shard(shard);
        known.connected = true;
        let sessions = self.agents.entry(agent.clone()).or_default();
        if !sessions.contains(&session) {
            sessions.push(session);
        }
        self.note(session);
    }

    /// Has a session get its agent's messages.
    pub(super) fn list(&mut self, session: Uuid) {
        if let Some(known) = self.sessions.get_mut(&session)
            && !std::mem::replace(&mut known.listed, true)
        {
            self.note(session);
        }
    }

    /// Takes out a session that a shard of this process has had.
    pub(super) fn leave(&mut self, session: Uuid) {
        if let Some(Home::Shard(_)) = self.home(session)
            && let Some(known) = self.remove(session)
        {
            self.push(Note::gone(session, &known.agent));
        }
    }

    fn remove(&mut self, session: Uuid) -> Option<Known> {
        let known = self.sessions.remove(&session)?;
        if let Some(sessions) = self.agents.get_mut(&known.agent) {
            sessions.retain(|other| *other != session);
            if sessions.is_empty() {
                self.agents.remove(&known.agent);
            }
        }
        for topic in &known.topics {
            self.unlist_topic(session, &known.agent.namespace, topic);
        }
        Some(known)
    }

    pub(super) fn set_connected(&mut self, session: Uuid, connected: bool) {
        if let Some(known) = self.sessions.get_mut(&session)
            && std::mem::replace(&mut known.connected, connected) != connected
        {
            self.note(session);
        }
    }

    /// Who serves a session.
    pub(super) fn home(&self, session: Uuid) -> Option<Home> {
        self.sessions.get(&session).map(|known| known.home)
    }

    /// A shard is about to take a session over from elsewhere: what comes for it goes there.
    pub(super) fn claim(&mut self, session: Uuid, shard: usize) {
        self.claims.insert(session, shard);
    }

    /// It has, or has not.
    pub(super) fn unclaim(&mut self, session: Uuid) {
        self.claims.remove(&session);
    }

    /// The shard to which messages of other nodes for a session go.
    pub(super) fn entrance(&self, session: Uuid) -> Option<usize> {
        match self.home(session) {
            Some(Home::Shard(shard)) => Some(shard),
            _ => self.claims.get(&session).copied(),
        }
    }

    /// Where what is for a session goes.
    pub(super) fn place(&self, session: Uuid) -> Option<Home> {
        let entrance = self.entrance(session).map(Home::Shard);
        entrance.or_else(|| self.home(session))
    }

    /// Another node serves a session from now on that a shard of this process has had.
    pub(super) fn hand_over(&mut self, session: Uuid, node: Uuid) {
        if let Some(known) = self.sessions.get_mut(&session) {
            known.home = Home::Node(node);
        }
    }

    /// The sessions of an agent that get its messages.
    pub(super) fn of_agent(&self, agent: &AgentKey) -> Vec<Listed> {
        let sessions = self.agents.get(agent);
        sessions.map_or_else(Vec::new, |sessions| self.listed_of(sessions))
    }

    fn listed_of(&self, sessions: &[Uuid]) -> Vec<Listed> {
        let known = sessions
            .iter()
            .filter_map(|session| Some((*session, self.sessions.get(session)?)));
        known
            .filter(|(_, known)| known.listed)
            .map(|(session, known)| known.as_listed(session))
            .collect()
    }

    /// The agents of a namespace that have sessions, in the order of their names, with those that get
    /// their messages.
    pub(super) fn of_namespace(&self, namespace: &Arc<str>) -> Vec<(AgentKey, Vec<Listed>)> {
        let first = AgentKey {
            namespace: Arc::clone(namespace),
            agent: "".into(),
        };
        let from = self.agents.range(first..);
        from.take_while(|(agent, _)| agent.namespace == *namespace)
            .map(|(agent, sessions)| (agent.clone(), self.listed_of(sessions)))
            .collect()
    }

    /// Adds a subscriber; false if it is one already.
    pub(super) fn subscribe(&mut self, session: Uuid, topic: &str) -> bool {
        let Some(known) = self.sessions.get_mut(&session) else {
            return false;
        };
        if !known.topics.insert(topic.into()) {
            return false;
        }
        let key = (Arc::clone(&known.agent.namespace), topic.into());
        self.topics.entry(key).or_default().insert(session);
        self.note(session);
        true
    }

    /// Takes a subscriber out; false if it was none.
    pub(super) fn unsubscribe(&mut self, session: Uuid, topic: &str) -> bool {
        let Some(known) = self.sessions.get_mut(&session) else {
            return false;
        };
        if !known.topics.remove(topic) {
            return false;
        }
        let namespace = Arc::clone(&known.agent.namespace);
        self.unlist_topic(session, &namespace, topic);
        self.note(session);
        true
    }

    fn unlist_topic(&mut self, session: Uuid, namespace: &Arc<str>, topic: &str) {
        let key = (Arc::clone(namespace), topic.into());
        if let Some(subscribers) = self.topics.get_mut(&key) {
            subscribers.remove(&session);
            if subscribers.is_empty() {
                self.topics.remove(&key);
            }
        }
    }

    /// The topics of a session.
    pub(super) fn topics_of(&self, session: Uuid) -> Vec<Box<str>> {
        let known = self.sessions.get(&session);
        known.map_or_else(Vec::new, |known| known.topics.iter().cloned().collect())
    }

    /// The subscribers of a topic, with their agents.
    pub(super) fn subscribers(&self, namespace: &Arc<str>, topic: &str) -> Vec<(AgentKey, Listed)> {
        let key = (Arc::clone(namespace), topic.into());
        let subscribers = self.topics.get(&key);
        let subscribers = subscribers.into_iter().flatten();
        let found = subscribers.filter_map(|session| {
            let agent = self.sessions.get(session)?.agent.clone();
            Some((agent, self.listed(*session)?))
        });
        found.collect()
    }

    fn listed(&self, session: Uuid) -> Option<Listed> {
        let known = self.sessions.get(&session)?;
        Some(known.as_listed(session))
    }
}

impl Known {
    fn as_listed(&self, session: Uuid) -> Listed {
        Listed {
            session,
            home: self.home,
            connected: self.connected,
        }
    }
}

#[cfg(test)]
mod tests;
