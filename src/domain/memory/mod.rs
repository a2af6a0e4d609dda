//! Memories: what agents store and find again, with the rules that hold on every wire and store.

mod query;
mod record;
mod relevance;
mod rules;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use query::{Filter, Hit, Mode, Order, Page, Parts, Recall, Search, SearchPage};
pub use record::{Grant, Imported, Record};
pub use relevance::{
    RELEVANCE_HALF_LIFE, RELEVANCE_NEW, Retention, UpkeepReport, decayed, reinforced, relevance_at,
};
pub use rules::*;

use super::{AgentKey, Embedded, JsonObject, Timestamp, Violation};

/// Who may read a memory. Writing always takes ownership or a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// The owner alone.
    #[default]
    Private,
    /// Every agent of the owner's namespace.
    Team,
    /// The owner and the agents it was shared with.
    Shared,
    /// Every agent of any namespace.
    Public,
    /// Every agent; written by admins only.
    System,
}

impl Access {
    /// The name on every wire and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Team => "team",
            Self::Shared => "shared",
            Self::Public => "public",
            Self::System => "system",
        }
    }

    /// The level that `name` stands for.
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::Private,
            Self::Team,
            Self::Shared,
            Self::Public,
            Self::System,
        ]
        .into_iter()
        .find(|level| level.as_str() == name)
    }
}

/// What a grant allows. Each level includes those before it.
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
pub enum Permission {
    /// Find and read.
    #[default]
    Read,
    /// Change content and attributes.
    Write,
    /// Delete and purge.
    Delete,
}

impl Permission {
    /// The name on every wire and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
        }
    }

    /// The permission that `name` stands for.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Read, Self::Write, Self::Delete]
            .into_iter()
            .find(|permission| permission.as_str() == name)
    }
}

/// A stored memory as a permitted reader sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Memory {
    /// UUID v7, so ids sort by time of creation.
    pub id: Uuid,
    /// Namespace of the owner.
    pub namespace: Arc<str>,
    /// Owner.
    pub agent_id: Arc<str>,
    /// The text.
    pub content: String,
    /// Kind of memory, free text such as `fact` or `decision`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Labels, sorted, without repetition.
    pub tags: Vec<String>,
    /// Weight in ranking, 0 to 1.
    pub importance: f64,
    /// Who may read it.
    pub access_level: Access,
    /// Anything the owner keeps beside the text.
    pub metadata: JsonObject,
    /// Where the owner has it from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Session that stored it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<Uuid>,
    /// Trust in the source, 0 to 1.
    pub trust: f64,
    /// Counts changes from 1; the value that `expected_version` is compared with.
    pub version: u64,
    /// When it was stored.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Start of the time it speaks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<Timestamp>,
    /// End (exclusive) of the time it speaks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<Timestamp>,
    /// When its time to live ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Memory that this one replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<Uuid>,
    /// Memory that replaced this one; such a memory leaves search but stays readable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<Uuid>,
    /// Reads by get, recall and search.
    pub access_count: u64,
    /// How much it is in use, 0 to 1: reads raise it, time without reads lowers it.
    pub relevance: f64,
    /// The latest read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_accessed_at: Option<Timestamp>,
}

/// A memory to be stored. The store gives it its id.
#[derive(Debug, Clone)]
pub struct NewMemory {
    /// Owner and namespace.
    pub owner: AgentKey,
    /// The owner may write level `system`.
    pub admin: bool,
    /// Session that stores it.
    pub session_id: Option<Uuid>,
    /// The text.
    pub content: String,
    /// Kind of memory.
    pub kind: Option<String>,
    /// Labels.
    pub tags: Vec<String>,
    /// 0 to 1.
    pub importance: f64,
    /// Who may read it.
    pub access_level: Access,
    /// Free data.
    pub metadata: JsonObject,
    /// Where the owner has it from.
    pub source: Option<String>,
    /// 0 to 1.
    pub trust: f64,
    /// Start of validity.
    pub valid_from: Option<Timestamp>,
    /// End of validity, exclusive.
    pub valid_to: Option<Timestamp>,
    /// Time to live from now, in seconds.
    pub ttl_seconds: Option<u64>,
    /// Memory that this one replaces; the owner must be allowed to write it.
    pub supersedes: Option<Uuid>,
    /// The meaning of the text, if it is known already; otherwise it is attached later.
    pub vector: Option<Embedded>,
}

impl NewMemory {
    /// Checks every rule of a new memory, and sorts its tags.
    pub fn normalize(&mut self, content_chars_max: usize) -> Result<(), Violation> {
        check_content(&self.content, content_chars_max)?;
        normalize_tags(&mut self.tags)?;
        check_fraction("importance", self.importance)?;
        check_fraction("trust", self.trust)?;
        check_label("type", self.kind.as_deref())?;
        check_label("source", self.source.as_deref())?;
        check_metadata(&self.metadata)?;
        check_ttl(self.ttl_seconds)?;
        check_validity(self.valid_from, self.valid_to)
    }
}

/// A change of a memory: `None` keeps a field, `Some(None)` clears it.
#[derive(Debug, Clone, Default)]
pub struct MemoryPatch {
    /// The text.
    pub content: Option<String>,
    /// Kind of memory.
    pub kind: Option<Option<String>>,
    /// Labels, replacing all.
    pub tags: Option<Vec<String>>,
    /// 0 to 1.
    pub importance: Option<f64>,
    /// Who may read it; only the owner changes it.
    pub access_level: Option<Access>,
    /// Free data, replacing all.
    pub metadata: Option<JsonObject>,
    /// Where the owner has it from.
    pub source: Option<Option<String>>,
    /// 0 to 1.
    pub trust: Option<f64>,
    /// Start of validity.
    pub valid_from: Option<Option<Timestamp>>,
    /// End of validity, exclusive.
    pub valid_to: Option<Option<Timestamp>>,
    /// Time to live from now, in seconds.
    pub ttl_seconds: Option<Option<u64>>,
}

impl MemoryPatch {
    /// Checks every rule that the patch alone can break, and sorts its tags. Validity is checked
    /// again by the store when only one end of it changes.
    pub fn normalize(&mut self, content_chars_max: usize) -> Result<(), Violation> {
        if let Some(content) = &self.content {
            check_content(content, content_chars_max)?;
        }
        if let Some(tags) = &mut self.tags {
            normalize_tags(tags)?;
        }
        if let Some(importance) = self.importance {
            check_fraction("importance", importance)?;
        }
        if let Some(trust) = self.trust {
            check_fraction("trust", trust)?;
        }
        check_label("type", self.kind.as_ref().and_then(Option::as_deref))?;
        check_label("source", self.source.as_ref().and_then(Option::as_deref))?;
        if let Some(metadata) = &self.metadata {
            check_metadata(metadata)?;
        }
        check_ttl(self.ttl_seconds.flatten())?;
        check_validity(self.valid_from.flatten(), self.valid_to.flatten())
    }

    /// Writes the patch over `memory`, and checks what it alone could not know.
    pub fn apply(self, memory: &mut Memory, now: Timestamp) -> Result<(), Violation> {
        fn set<T>(field: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *field = value;
            }
        }
        set(&mut memory.content, self.content);
        set(&mut memory.kind, self.kind);
        set(&mut memory.tags, self.tags);
        set(&mut memory.importance, self.importance);
        set(&mut memory.access_level, self.access_level);
        set(&mut memory.metadata, self.metadata);
        set(&mut memory.source, self.source);
        set(&mut memory.trust, self.trust);
        set(&mut memory.valid_from, self.valid_from);
        set(&mut memory.valid_to, self.valid_to);
        if let Some(ttl) = self.ttl_seconds {
            memory.expires_at = ttl.map(|seconds| expiry(now, seconds)).transpose()?;
        }
        check_validity(memory.valid_from, memory.valid_to)
    }
}

/// A version of a memory in its history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Revision {
    /// Version that this entry records.
    pub version: u64,
    /// What happened: `created`, `updated`, `deleted`, `superseded`, `shared`.
    pub change: String,
    /// Agent that did it.
    pub changed_by: Arc<str>,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Text of that version.
    pub content: String,
    /// Labels of that version.
    pub tags: Vec<String>,
    /// Weight of that version.
    pub importance: f64,
    /// Memory that replaced this one, on the entry `superseded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<Uuid>,
}

/// Grants on one memory to other agents of any namespace.
#[derive(Debug, Clone)]
pub struct Share {
    /// The memory.
    pub id: Uuid,
    /// Who receives the grant.
    pub agents: Vec<AgentKey>,
    /// What they may do; `None` takes earlier grants back.
    pub permission: Option<Permission>,
}

/// Counts over the memories that an agent may read.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct MemoryStats {
    /// Memories that the caller owns.
    pub owned: u64,
    /// Memories of others that the caller may read.
    pub shared_with_me: u64,
    /// Superseded memories among the owned ones.
    pub superseded: u64,
    /// Owned memories by access level.
    pub by_access_level: std::collections::BTreeMap<String, u64>,
    /// The most frequent tags of owned memories, at most 20.
    pub top_tags: Vec<TagCount>,
    /// Mean importance of owned memories.
    pub average_importance: f64,
    /// Bytes of owned content.
    pub content_bytes: u64,
    /// Creation of the oldest owned memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Timestamp>,
    /// Creation of the newest owned memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<Timestamp>,
}

/// How often a tag occurs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TagCount {
    /// The tag.
    pub tag: String,
    /// Memories that carry it.
    pub count: u64,
}
