//! What nodes say to each other, as it goes over the bus.
//!
//! A message is the length of its head (4 bytes, little-endian), the head as JSON, and the texts that
//! the head counts: texts are JSON already and are not escaped again.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::directory::Note;
use crate::delivery::Happened;
use crate::delivery::queue::{Missed, Parcel};
use crate::domain::{AgentKey, Priority, Status, Timestamp};
use crate::rpc::json;

/// Nodes of another version are not understood; they are told of in the log.
pub(super) const VERSION: u32 = 3;

/// The head of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) version: u32,
    /// Who says it.
    pub(super) from: Uuid,
    /// Counts what it says to this listener, or to all, from 1.
    pub(super) number: u64,
    pub(super) saying: Saying,
    /// Bytes of the texts behind the head.
    pub(super) texts: Vec<u32>,
}

/// A message without its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::delivery::courier) enum Saying {
    /// To all: it has come, or come back; and it may not have said everything if it has missed the bus.
    Hello { missed: bool },
    /// To all: it lives, and has said so much to each, with so many messages in memory only.
    Beat { sent: Vec<(Uuid, u64, u64)> },
    /// To all: it goes, and its sessions with it.
    Goodbye,
    /// To all: what has happened to its sessions.
    Sessions(Vec<Note>),
    /// To all: agents that have come or gone there, by whatever wire, or say something of themselves.
    Presence(Vec<(Agent, bool, Option<Status>)>),
    /// To all: what has changed in the store.
    Changes(Vec<Changed>),
    /// To all: messages were returned to inboxes.
    CatchUp,
    /// To itself: whoever hears this has heard what was said before.
    Echo,
    /// To one: tell me everything.
    Tell,
    /// To one: everything of its sessions, up to this number of what it says to all; in parts.
    All {
        number: u64,
        sessions: Vec<Note>,
        present: Vec<(Agent, Option<Status>)>,
        is_last: bool,
    },
    /// To one: a message for its sessions; one text.
    Offers {
        id: Uuid,
        priority: Priority,
        expires_at: Timestamp,
        to: Vec<Offered>,
        /// It went astray once.
        is_forwarded: bool,
    },
    /// To one: more may have come into the inbox of a session's agent.
    News(Uuid),
    /// To one: something was stored for a session.
    Ring(Uuid),
    /// To one: these deliveries of a session were settled.
    Withdraw { session: Uuid, keys: Vec<i64> },
    /// To one: hand this session over.
    Release {
        request: Uuid,
        session: Uuid,
        agent: Agent,
    },
    /// To one: the session is yours; a text for each message that was in memory only.
    Released {
        request: Uuid,
        session: Uuid,
        handed: Option<Handed>,
    },
}

/// An agent's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::delivery::courier) struct Agent(pub(super) Arc<str>, pub(super) Arc<str>);

/// A delivery to a session of another node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::delivery::courier) struct Offered {
    pub(in crate::delivery::courier) session: Uuid,
    pub(in crate::delivery::courier) agent: Agent,
    /// None if it is in memory only.
    pub(in crate::delivery::courier) key: Option<i64>,
    pub(in crate::delivery::courier) begun: bool,
}

/// What goes along with a session that is handed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::delivery::courier) struct Handed {
    /// What its client has missed for good and was not told.
    pub(in crate::delivery::courier) missed: Missed,
    /// An earlier server may have taken messages with it.
    pub(in crate::delivery::courier) volatile: bool,
    /// Messages that are in memory only; their texts go along.
    pub(in crate::delivery::courier) in_memory: Vec<InMemory>,
}

/// A message that is in memory only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::delivery::courier) struct InMemory {
    pub(in crate::delivery::courier) id: Uuid,
    pub(in crate::delivery::courier) priority: Priority,
    pub(in crate::delivery::courier) expires_at: Timestamp,
}

/// A [`Change`](crate::delivery::Change).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::delivery::courier) enum Changed {
    Memory {
        namespace: Option<Arc<str>>,
        id: Uuid,
        happened: Option<Arc<Happened>>,
    },
    Memories,
    Agent(Agent),
    McpTask {
        owner: Agent,
        id: Uuid,
    },
}

impl From<&AgentKey> for Agent {
    fn from(key: &AgentKey) -> Self {
        Self(Arc::clone(&key.namespace), Arc::clone(&key.agent))
    }
}

impl From<Agent> for AgentKey {
    fn from(Agent(namespace, agent): Agent) -> Self {
        Self { namespace, agent }
    }
}

/// A message as bytes.
pub(super) fn written(head: &Head, texts: &[Arc<Parcel>]) -> Bytes {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(&[0; 4]);
    if let Err(error) = json::write(&mut out, head) {
        // Names and numbers only.
        tracing::error!(%error, "a message to another node could not be written");
    }
    let length = (out.len() - 4) as u32;
    out[..4].copy_from_slice(&length.to_le_bytes());
    for text in texts {
        out.extend_from_slice(&text.text);
    }
    out.into()
}

/// Reads a message and its texts. `None` if it is none, or of another version.
pub(super) fn read(bytes: &Bytes) -> Option<(Head, Vec<Bytes>)> {
    let length = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let end = length.checked_add(4)?;
    let head: Head = sonic_rs::from_slice(bytes.get(4..end)?).ok()?;
    if head.version != VERSION {
        return None;
    }
    let mut texts = Vec::with_capacity(head.texts.len().min(bytes.len()));
    let mut from = end;
    for length in &head.texts {
        let to = from.checked_add(*length as usize)?;
        if to > bytes.len() {
            return None;
        }
        texts.push(bytes.slice(from..to));
        from = to;
    }
    Some((head, texts))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use uuid::Uuid;

    use super::{Head, Parcel, Saying, VERSION, read, written};

    #[test]
    fn a_message_comes_as_it_was_sent_and_rubbish_is_refused() {
        let head = Head {
            version: VERSION,
            from: Uuid::new_v4(),
            number: 7,
            saying: Saying::News(Uuid::new_v4()),
            texts: vec![2, 0, 3],
        };
        let texts = [&b"ab"[..], b"", b"cde"].map(|text| {
            Arc::new(Parcel {
                id: Uuid::new_v4(),
                text: text.into(),
            })
        });
        let bytes = written(&head, &texts);
        let (read_head, read_texts) = read(&bytes).unwrap();
        assert_eq!(read_head, head);
        assert_eq!(read_texts, ["ab", "", "cde"].map(Bytes::from));
        for end in 0..bytes.len() {
            assert!(read(&bytes.slice(..end)).is_none());
        }
        assert!(read(&Bytes::from_static(b"\xff\xff\xff\xffx")).is_none());
    }
}
