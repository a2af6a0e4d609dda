//! What nodes tell each other of their sessions.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Directory, Home, Known};
use crate::domain::AgentKey;

/// What other nodes are told of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::delivery::courier) struct Note {
    pub(in crate::delivery::courier) session: Uuid,
    pub(in crate::delivery::courier) namespace: Arc<str>,
    pub(in crate::delivery::courier) agent: Arc<str>,
    /// None if it is here no more.
    pub(in crate::delivery::courier) state: Option<State>,
}

/// The part of a [`Note`] that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::delivery::courier) struct State {
    pub(in crate::delivery::courier) connected: bool,
    pub(in crate::delivery::courier) listed: bool,
    pub(in crate::delivery::courier) topics: Vec<Box<str>>,
}

/// What a note has changed.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::delivery::courier) enum Taken {
    /// Nothing that matters to messages on their way.
    Known,
    /// A session of this agent is connected there, and gets its messages.
    Here(AgentKey),
    /// A session of this agent was connected there and is so no more, or was not known.
    Absent(AgentKey),
    /// The session was on another node before: what was sent there may not have come along.
    Moved,
    /// A shard of this process has the session as well: one of the two is wrong.
    Disputed,
}

impl Directory {
    /// Takes in what a node tells of its sessions.
    pub(in crate::delivery::courier) fn take_note(&mut self, node: Uuid, note: Note) -> Taken {
        let before = self.sessions.get(&note.session).map(|known| known.home);
        match before {
            Some(Home::Shard(_)) if note.state.is_some() => return Taken::Disputed,
            Some(Home::Shard(_)) => return Taken::Known,
            // The one who serves it now has told more.
            Some(Home::Node(other)) if other != node && note.state.is_none() => {
                return Taken::Known;
            }
            _ => {}
        }
        let was_absent = self.remove(note.session).map(|known| !known.connected);
        let Some(state) = note.state else {
            return Taken::Known;
        };
        let agent = AgentKey {
            namespace: note.namespace,
            agent: note.agent,
        };
        for topic in &state.topics {
            let key = (Arc::clone(&agent.namespace), topic.clone());
            self.topics.entry(key).or_default().insert(note.session);
        }
        let sessions = self.agents.entry(agent.clone()).or_default();
        sessions.push(note.session);
        let known = Known {
            home: Home::Node(node),
            agent: agent.clone(),
            connected: state.connected,
            listed: state.listed,
            topics: state.topics.into_iter().collect(),
        };
        self.sessions.insert(note.session, known);
        match before {
            Some(Home::Node(other)) if other != node => Taken::Moved,
            _ if state.connected && state.listed => Taken::Here(agent),
            _ if !state.connected && was_absent != Some(true) => Taken::Absent(agent),
            _ => Taken::Known,
        }
    }

    /// A node has gone, and its sessions may turn up on others: they are absent. Answers sessions of
    /// shards here whose agents had some there, which may have to see to their messages.
    pub(in crate::delivery::courier) fn lose(&mut self, node: Uuid) -> Vec<(Uuid, usize)> {
        let mut agents = Vec::new();
        for known in self.sessions.values_mut() {
            if known.home == Home::Node(node) {
                known.connected = false;
                agents.push(known.agent.clone());
            }
        }
        self.here(&agents)
    }

    /// The sessions of these agents on shards here.
    pub(in crate::delivery::courier) fn here(&self, agents: &[AgentKey]) -> Vec<(Uuid, usize)> {
        let sessions = agents.iter().filter_map(|agent| self.agents.get(agent));
        let here = sessions.flatten().filter_map(|session| {
            let Home::Shard(shard) = self.home(*session)? else {
                return None;
            };
            Some((*session, shard))
        });
        let mut here: Vec<_> = here.collect();
        here.sort_unstable();
        here.dedup();
        here
    }

    /// Forgets the sessions of a node.
    pub(in crate::delivery::courier) fn forget(&mut self, node: Uuid) {
        let sessions = self.sessions.iter();
        let of_node = sessions.filter(|(_, known)| known.home == Home::Node(node));
        let gone: Vec<Uuid> = of_node.map(|(session, _)| *session).collect();
        for session in gone {
            self.remove(session);
        }
    }

    /// What other nodes are to be told next.
    pub(in crate::delivery::courier) fn take_notes(&mut self) -> Vec<Note> {
        let notes = self.notes.as_mut();
        notes.map_or_else(Vec::new, |(notes, _)| std::mem::take(notes))
    }

    /// All that other nodes are to know of the sessions of this process.
    pub(in crate::delivery::courier) fn all_notes(&self) -> Vec<Note> {
        let sessions = self.sessions.iter();
        let own = sessions.filter(|(_, known)| matches!(known.home, Home::Shard(_)));
        own.map(|(session, known)| Note::of(*session, known))
            .collect()
    }

    /// Notes a session of a shard as it is now; also when nothing has changed, for a node that believes
    /// otherwise.
    pub(in crate::delivery::courier) fn note(&mut self, session: Uuid) {
        if self.notes.is_some()
            && let Some(known) = self.sessions.get(&session)
            && matches!(known.home, Home::Shard(_))
        {
            self.push(Note::of(session, known));
        }
    }

    pub(super) fn push(&mut self, note: Note) {
        if let Some((notes, wake)) = &mut self.notes {
            notes.push(note);
            wake.notify_one();
        }
    }
}

impl Note {
    fn of(session: Uuid, known: &Known) -> Self {
        Self {
            session,
            namespace: Arc::clone(&known.agent.namespace),
            agent: Arc::clone(&known.agent.agent),
            state: Some(State {
                connected: known.connected,
                listed: known.listed,
                topics: known.topics.iter().cloned().collect(),
            }),
        }
    }

    pub(super) fn gone(session: Uuid, agent: &AgentKey) -> Self {
        Self {
            session,
            namespace: Arc::clone(&agent.namespace),
            agent: Arc::clone(&agent.agent),
            state: None,
        }
    }
}
