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

impl Directory {
    /// Takes in what a node tells of its sessions. True if a shard of this process has the session
    /// as well: one of the two is wrong.
    pub(in crate::delivery::courier) fn take_note(&mut self, node: Uuid, note: Note) -> bool {
        let known = self.sessions.get(&note.session);
        if let Some(known) = known {
            match known.home {
                Home::Shard(_) => return note.state.is_some(),
                // The one who serves it now has told more.
                Home::Node(other) if other != node && note.state.is_none() => return false,
                Home::Node(_) => {}
            }
        }
        self.remove(note.session);
        let Some(state) = note.state else {
            return false;
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
            agent,
            connected: state.connected,
            listed: state.listed,
            topics: state.topics.into_iter().collect(),
        };
        self.sessions.insert(note.session, known);
        false
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
