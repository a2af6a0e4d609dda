//! Where sessions are that take deliveries, for all shards of the process.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use uuid::Uuid;

use crate::domain::AgentKey;

/// One session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) session: Uuid,
    /// The shard whose hub has it.
    pub(super) home: usize,
    pub(super) connected: bool,
}

#[derive(Debug)]
struct Known {
    home: usize,
    agent: AgentKey,
    connected: bool,
    /// Gets its agent's messages.
    listed: bool,
}

/// The sessions. It is locked for moments only, and never while anything waits.
#[derive(Debug, Default)]
pub(super) struct Directory {
    sessions: HashMap<Uuid, Known>,
    agents: BTreeMap<AgentKey, Vec<Uuid>>,
    /// Subscribers by namespace and topic.
    topics: HashMap<(Arc<str>, Box<str>), BTreeSet<Uuid>>,
}

impl Directory {
    /// Notes a session. It gets its agent's messages from now on if nobody else does; otherwise once
    /// it is [listed](Self::list).
    pub(super) fn enter(&mut self, session: Uuid, agent: &AgentKey, home: usize) {
        let sessions = self.agents.entry(agent.clone()).or_default();
        let known = Known {
            home,
            agent: agent.clone(),
            connected: true,
            listed: sessions.is_empty(),
        };
        if self.sessions.insert(session, known).is_none() {
            sessions.push(session);
        }
    }

    /// Has a session get its agent's messages.
    pub(super) fn list(&mut self, session: Uuid) {
        if let Some(known) = self.sessions.get_mut(&session) {
            known.listed = true;
        }
    }

    pub(super) fn leave(&mut self, session: Uuid) {
        let Some(known) = self.sessions.remove(&session) else {
            return;
        };
        if let Some(sessions) = self.agents.get_mut(&known.agent) {
            sessions.retain(|other| *other != session);
            if sessions.is_empty() {
                self.agents.remove(&known.agent);
            }
        }
        self.topics.retain(|_, subscribers| {
            subscribers.remove(&session);
            !subscribers.is_empty()
        });
    }

    pub(super) fn set_connected(&mut self, session: Uuid, connected: bool) {
        if let Some(known) = self.sessions.get_mut(&session) {
            known.connected = connected;
        }
    }

    /// The shard that has a session.
    pub(super) fn home(&self, session: Uuid) -> Option<usize> {
        self.sessions.get(&session).map(|known| known.home)
    }

    /// The sessions of an agent that get its messages.
    pub(super) fn of_agent(&self, agent: &AgentKey) -> Vec<Listed> {
        let sessions = self.agents.get(agent);
        let is_listed = |session: &&Uuid| {
            self.sessions
                .get(*session)
                .is_some_and(|known| known.listed)
        };
        let sessions = sessions.into_iter().flatten().filter(is_listed);
        sessions
            .filter_map(|session| self.listed(*session))
            .collect()
    }

    /// The agents of a namespace that have sessions here.
    pub(super) fn agents_of(&self, namespace: &Arc<str>) -> Vec<AgentKey> {
        let first = AgentKey {
            namespace: Arc::clone(namespace),
            agent: "".into(),
        };
        let from = self.agents.range(first..).map(|(agent, _)| agent);
        let of_namespace = from.take_while(|agent| agent.namespace == *namespace);
        of_namespace.cloned().collect()
    }

    /// Adds a subscriber; false if it is one already.
    pub(super) fn subscribe(&mut self, session: Uuid, namespace: &Arc<str>, topic: &str) -> bool {
        let key = (Arc::clone(namespace), topic.into());
        self.sessions.contains_key(&session) && self.topics.entry(key).or_default().insert(session)
    }

    /// Takes a subscriber out; false if it was none.
    pub(super) fn unsubscribe(&mut self, session: Uuid, namespace: &Arc<str>, topic: &str) -> bool {
        let key = (Arc::clone(namespace), topic.into());
        let Some(subscribers) = self.topics.get_mut(&key) else {
            return false;
        };
        let was = subscribers.remove(&session);
        if subscribers.is_empty() {
            self.topics.remove(&key);
        }
        was
    }

    /// The topics of a session.
    pub(super) fn topics_of(&self, session: Uuid) -> Vec<Box<str>> {
        let topics = self.topics.iter();
        let of_session = topics.filter(|(_, subscribers)| subscribers.contains(&session));
        let mut topics: Vec<_> = of_session.map(|((_, topic), _)| topic.clone()).collect();
        topics.sort_unstable();
        topics
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
        Some(Listed {
            session,
            home: known.home,
            connected: known.connected,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::Directory;
    use crate::domain::AgentKey;

    #[test]
    fn sessions_are_found_by_agent_namespace_and_topic() {
        let mut directory = Directory::default();
        let key = |namespace: &str, agent: &str| AgentKey::new(namespace, agent).unwrap();
        let [one, two, other] = [(); 3].map(|()| Uuid::new_v4());
        let (space, spaces): (Arc<str>, Arc<str>) = ("space".into(), "spaces".into());
        directory.enter(one, &key("space", "a"), 0);
        directory.enter(two, &key("space", "b"), 1);
        directory.enter(other, &key("spaces", "a"), 1);
        assert_eq!(directory.agents_of(&space).len(), 2);
        assert_eq!(directory.agents_of(&spaces), [key("spaces", "a")]);
        assert!(
            directory.subscribe(two, &space, "news") && !directory.subscribe(two, &space, "news")
        );
        assert_eq!(directory.subscribers(&space, "news")[0].1.session, two);
        assert!(directory.subscribers(&spaces, "news").is_empty());
        directory.set_connected(two, false);
        assert!(!directory.of_agent(&key("space", "b"))[0].connected);
        directory.leave(two);
        assert!(directory.of_agent(&key("space", "b")).is_empty());
        assert!(directory.subscribers(&space, "news").is_empty());
        assert_eq!(directory.home(one), Some(0));
    }
}
