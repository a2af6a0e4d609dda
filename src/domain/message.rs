//! Messages between agents, and what becomes of them.
//!
//! A *message* is stored once. Each copy of it on its way to a queue is a *delivery*, with a key of
//! its own. A queue belongs to a session that takes deliveries, or is an agent's inbox, where
//! messages wait for whoever acts as that agent next.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::json::JsonText;
use super::{AgentKey, Timestamp, Violation};

/// Bytes of a body: four of this size fill a session's window of 1 MiB.
pub const BODY_BYTES_MAX: usize = 256 << 10;
/// Levels of nesting of a body: what carries it nests it a little deeper, and every parser here
/// stops at 64.
pub const BODY_DEPTH_MAX: usize = 56;
/// Bytes of a correlation id: a UUID, or a trace context.
pub const CORRELATION_BYTES_MAX: usize = 256;
/// Seconds that a message waits to be settled unless its sender says otherwise.
pub const TTL_SECONDS_DEFAULT: u64 = 300;
/// Longest time to live: a message waits for an agent, it is no archive.
pub const TTL_SECONDS_MAX: u64 = 7 * 24 * 3_600;
/// Deliveries that wait for one agent, over all its queues: a consumer that has fallen so far behind
/// must be told to its senders, and so many outlines fit in half a megabyte.
pub const WAITING_MAX: usize = 10_000;
/// Deliveries of a message before it is a dead letter.
pub const DELIVERIES_MAX: u32 = 5;
/// Days that a dead letter is kept.
pub const DEAD_LETTER_DAYS: u64 = 7;
/// Dead letters of one agent; the oldest make room.
pub const DEAD_LETTERS_MAX: usize = 1_000;
/// Dead letters that are sent again or removed at once: one transaction stays short.
pub const DEAD_LETTERS_AT_ONCE: usize = 1_000;

/// What goes first. Order is kept among messages of one priority only.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Before everything else.
    Urgent,
    /// Before what is normal.
    High,
    /// Unless the sender says otherwise.
    #[default]
    Normal,
    /// When nothing else waits, but not never.
    Low,
}

impl Priority {
    /// All, the first to go first.
    pub const ALL: [Self; 4] = [Self::Urgent, Self::High, Self::Normal, Self::Low];

    /// The name on every wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }

    /// The place in [`Self::ALL`], as stores keep it.
    pub fn rank(self) -> usize {
        self as usize
    }

    /// The priority at this place.
    pub fn of_rank(rank: usize) -> Option<Self> {
        Self::ALL.get(rank).copied()
    }
}

/// What one agent sends others.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// UUID v7.
    pub id: Uuid,
    /// Who sent it.
    pub sender: AgentKey,
    /// What it is about: `message`, or `topic:NAME` if it was sent to a topic.
    pub topic: Arc<str>,
    /// What goes first.
    pub priority: Priority,
    /// When the server took it.
    pub sent_at: Timestamp,
    /// From when on it is delivered no more.
    pub expires_at: Timestamp,
    /// What the sender joins messages by.
    pub correlation_id: Option<Box<str>>,
    /// Any JSON.
    pub body: JsonText,
}

impl Message {
    /// Checks what the sender chose.
    pub fn check(&self) -> Result<(), Violation> {
        let bytes = self.body.as_str().len();
        if bytes > BODY_BYTES_MAX {
            let text = format!("must have at most {BODY_BYTES_MAX} bytes of JSON, has {bytes}");
            return Err(Violation::new("body", text));
        }
        if self.body.depth() > BODY_DEPTH_MAX {
            let text = format!("must nest at most {BODY_DEPTH_MAX} levels deep");
            return Err(Violation::new("body", text));
        }
        let correlation = self.correlation_id.as_deref().unwrap_or("-");
        if correlation.is_empty() || correlation.len() > CORRELATION_BYTES_MAX {
            let text = format!("must have 1 to {CORRELATION_BYTES_MAX} bytes");
            return Err(Violation::new("correlation_id", text));
        }
        Ok(())
    }
}

/// Where one copy of a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Whose it is.
    pub agent: AgentKey,
    /// The session whose queue takes it; the agent's inbox if there is none.
    pub session: Option<Uuid>,
    /// The node that serves the session, if it is another one.
    pub node: Option<Uuid>,
    /// Its first delivery is counted as it is stored, because it is to follow at once.
    pub begun: bool,
}

/// A message and where it goes.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// The message.
    pub message: Arc<Message>,
    /// Its copies.
    pub to: Vec<Destination>,
}

/// A message in the queue of one session that was in memory only, and is to be stored.
#[derive(Debug, Clone)]
pub struct Unsettled {
    /// The message.
    pub message: Arc<Message>,
    /// Whose it is.
    pub agent: AgentKey,
    /// The session whose queue it is in.
    pub session: Uuid,
    /// Deliveries made so far.
    pub deliveries: u32,
}

/// What a queue knows of a delivery without having its message at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outline {
    /// Names the delivery in its store; later ones have greater keys.
    pub key: i64,
    /// The message's id: those of one sender are in the order of sending.
    pub message: Uuid,
    /// The message's.
    pub priority: Priority,
    /// Bytes of the body.
    pub bytes: usize,
    /// The message's.
    pub expires_at: Timestamp,
    /// Deliveries counted so far: at least as many as there were.
    pub deliveries: u32,
}

/// A message that waits for an agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// The message.
    pub message: Message,
    /// Deliveries counted so far.
    pub deliveries: u32,
}

/// Why a message was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeathCause {
    /// It was delivered as often as a message may be, and never settled.
    Undeliverable,
    /// Its time to live ended.
    Expired,
    /// Its receiver said that it is never to be delivered again.
    Terminated,
}

impl DeathCause {
    /// The name on every wire and in the stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Undeliverable => "undeliverable",
            Self::Expired => "expired",
            Self::Terminated => "terminated",
        }
    }

    /// The cause that `name` stands for.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Undeliverable, Self::Expired, Self::Terminated]
            .into_iter()
            .find(|cause| cause.as_str() == name)
    }
}

/// A message that was given up, kept for people to look at and to send again.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// UUID v7 of its own: one message can die for several agents.
    pub id: Uuid,
    /// Whom it did not reach.
    pub agent: AgentKey,
    /// Why.
    pub cause: DeathCause,
    /// What the receiver said when it ended it.
    pub reason: Option<Box<str>>,
    /// Deliveries counted.
    pub deliveries: u32,
    /// When it was given up.
    pub died_at: Timestamp,
    /// The message.
    pub message: Message,
}

/// Which dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Letters {
    /// These; unknown ones, and those of others, are left out.
    Ids(Vec<Uuid>),
    /// All that one may see.
    All,
}
