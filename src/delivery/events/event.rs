//! Events: what they tell, and how they are written.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::{Access, AgentKey, Availability, JsonText, Memory, Status, Timestamp};
use crate::rpc::json;

/// What events are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// Agents of a namespace that come, go, or change their status.
    Presence,
    /// Memories of a namespace, and those that are shared with its agents.
    Memory,
    /// What the operator of the server wants to hear of; it has no namespace.
    Diagnostics,
}

impl Topic {
    /// All.
    pub const ALL: [Self; 3] = [Self::Presence, Self::Memory, Self::Diagnostics];

    /// The name on every wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Presence => "presence",
            Self::Memory => "memory",
            Self::Diagnostics => "diagnostics",
        }
    }

    /// The topic of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.as_str() == name)
    }
}

/// What happened to an agent's presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Move {
    /// Its first session began, on whatever node.
    Join,
    /// Its last session ended.
    Leave,
    /// It says something else of itself.
    Status,
}

/// What happened to a memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Done {
    /// It was stored.
    Created,
    /// It was changed.
    Updated,
    /// Agents may do more with it.
    Shared,
    /// Agents may do less with it.
    Unshared,
    /// It was deleted.
    Deleted,
}

/// What a memory was like before it was deleted: who may read it cannot be asked any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// Whose it was.
    pub owner: AgentKey,
    /// Who could read it.
    pub access: Access,
    /// Its labels.
    pub tags: Vec<String>,
}

impl From<&Memory> for Last {
    fn from(memory: &Memory) -> Self {
        Self {
            owner: AgentKey {
                namespace: Arc::clone(&memory.namespace),
                agent: Arc::clone(&memory.agent_id),
            },
            access: memory.access_level,
            tags: memory.tags.clone(),
        }
    }
}

/// What an event tells. It names things and does not show them: whoever is told reads with rights of
/// its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Of an agent.
    Presence {
        /// What happened.
        happened: Move,
        /// The agent.
        agent: AgentKey,
        /// Its status, unless it is gone.
        status: Option<Status>,
    },
    /// Of a memory.
    Memory {
        /// What happened.
        happened: Done,
        /// The memory.
        id: Uuid,
        /// What it was like, if it is gone.
        last: Option<Arc<Last>>,
    },
    /// Of the server.
    Diagnostics {
        /// What happened, as one word.
        happened: &'static str,
        /// What is known of it.
        detail: Option<Box<str>>,
    },
    /// More happened than is told: whoever must know looks again.
    Gap,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its place among all events of this process.
    pub offset: u64,
    /// When it was noticed here.
    pub at: Timestamp,
    /// What it tells.
    pub what: What,
}

#[derive(Serialize)]
struct Body<'a> {
    event: Word,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Availability>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    epoch: u64,
    offset: u64,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Word {
    Move(Move),
    Done(Done),
    Other(&'static str),
}

impl Event {
    /// Bytes that it takes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        let held = match &self.what {
            What::Presence { status, .. } => {
                let text = status.as_ref().and_then(|status| status.text.as_deref());
                text.map_or(0, str::len)
            }
            What::Memory { last, .. } => last.as_ref().map_or(0, |last| {
                let tags = last.tags.iter().map(|tag| tag.len() + size_of::<String>());
                size_of::<Last>() + tags.sum::<usize>()
            }),
            What::Diagnostics { detail, .. } => detail.as_deref().map_or(0, str::len),
            What::Gap => 0,
        };
        size_of::<Self>() + held
    }

    /// The body of its delivery.
    pub fn body(&self, epoch: u64) -> Option<JsonText> {
        let mut body = Body {
            event: Word::Other("gap"),
            agent_id: None,
            namespace: None,
            status: None,
            text: None,
            id: None,
            detail: None,
            epoch,
            offset: self.offset,
        };
        match &self.what {
            What::Presence {
                happened,
                agent,
                status,
            } => {
                body.event = Word::Move(*happened);
                body.agent_id = Some(&agent.agent);
                body.namespace = Some(&agent.namespace);
                body.status = status.as_ref().map(|status| status.availability);
                body.text = status.as_ref().and_then(|status| status.text.as_deref());
            }
            What::Memory { happened, id, .. } => {
                body.event = Word::Done(*happened);
                body.id = Some(*id);
            }
            What::Diagnostics { happened, detail } => {
                body.event = Word::Other(happened);
                body.detail = detail.as_deref();
            }
            What::Gap => {}
        }
        let mut text = Vec::with_capacity(192);
        json::write(&mut text, &body).ok()?;
        JsonText::parse(std::str::from_utf8(&text).ok()?)
    }
}
