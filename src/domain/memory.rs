//! Memories: what agents store and find again, with the rules that hold on every wire and store.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::agent::check_name;
use super::{AgentKey, JsonObject, Timestamp, Violation};

/// Characters of one memory unless the configuration says otherwise: a few pages of text; longer
/// material is better found when it is stored in parts.
pub const CONTENT_CHARS_MAX: usize = 10_000;
/// Tags of one memory.
pub const TAGS_MAX: usize = 32;
/// Characters of one tag.
pub const TAG_CHARS_MAX: usize = 64;
/// Bytes of a memory's metadata: it travels with every hit of a search.
pub const METADATA_BYTES_MAX: usize = 16 * 1024;
/// Characters of `source` and `type`.
pub const LABEL_CHARS_MAX: usize = 256;
/// Ids, agents or tags in one criterion.
pub const CRITERION_MAX: usize = 100;
/// Longest time to live: ten years; beyond that a memory simply has none.
pub const TTL_SECONDS_MAX: u64 = 10 * 366 * 86_400;
/// Characters of a search query.
pub const QUERY_CHARS_MAX: usize = 2_000;
/// Largest page of a search or a recall.
pub const PAGE_MAX: u32 = 100;
/// Default page of a search or a recall.
pub const PAGE_DEFAULT: u32 = 10;

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
}

/// A stored memory as a permitted reader sees it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
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
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Session that stored it.
    #[serde(skip_serializing_if = "Option::is_none")]
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<Timestamp>,
    /// End (exclusive) of the time it speaks about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<Timestamp>,
    /// When its time to live ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Memory that this one replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<Uuid>,
    /// Memory that replaced this one; such a memory leaves search but stays readable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<Uuid>,
    /// Reads by get, recall and search.
    pub access_count: u64,
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
}

/// A version of a memory in its history.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
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
    #[serde(skip_serializing_if = "Option::is_none")]
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

/// What a search or a recall admits, besides what the caller may see.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Any of these ids.
    pub ids: Vec<Uuid>,
    /// All of these labels.
    pub tags: Vec<String>,
    /// This kind.
    pub kind: Option<String>,
    /// Owned by this agent.
    pub agent: Option<String>,
    /// At least this importance.
    pub importance_min: Option<f64>,
    /// Created at or after.
    pub created_from: Option<Timestamp>,
    /// Created before.
    pub created_to: Option<Timestamp>,
    /// Valid at this time, superseded or not as of then; without it, what is valid now.
    pub as_of: Option<Timestamp>,
    /// Only what the caller owns when false.
    pub include_shared: bool,
}

impl Filter {
    /// Checks every rule of a filter.
    pub fn check(&self) -> Result<(), Violation> {
        let crowded = |field, count: usize| {
            if count > CRITERION_MAX {
                return Err(Violation::new(
                    field,
                    format!("at most {CRITERION_MAX}, got {count}"),
                ));
            }
            Ok(())
        };
        crowded("ids", self.ids.len())?;
        crowded("tags", self.tags.len())?;
        if let Some(importance) = self.importance_min {
            check_fraction("min_importance", importance)?;
        }
        if let Some(agent) = &self.agent {
            check_name("agent", agent)?;
        }
        check_label("type", self.kind.as_deref())?;
        if let (Some(from), Some(to)) = (self.created_from, self.created_to)
            && from >= to
        {
            return Err(Violation::new(
                "created_to",
                "must be later than created_from",
            ));
        }
        Ok(())
    }
}

/// A full-text query with its filter.
#[derive(Debug, Clone)]
pub struct Search {
    /// Words to look for.
    pub query: String,
    /// What may be found.
    pub filter: Filter,
    /// 1 to 100.
    pub limit: u32,
}

impl Search {
    /// Checks every rule of a search.
    pub fn check(&self) -> Result<(), Violation> {
        let chars = self.query.chars().count();
        if self.query.trim().is_empty() {
            return Err(Violation::new("query", "must not be empty"));
        }
        if chars > QUERY_CHARS_MAX {
            return Err(Violation::new(
                "query",
                format!("exceeds {QUERY_CHARS_MAX} characters, has {chars}"),
            ));
        }
        check_limit(self.limit)?;
        self.filter.check()
    }
}

/// One result of a search.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Hit {
    /// The memory.
    #[serde(flatten)]
    pub memory: Memory,
    /// Rank, 0 to 1, comparable within one answer.
    pub score: f64,
}

/// The results of a search, best first; ties are broken by id, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchPage {
    /// At most the limit asked for.
    pub hits: Vec<Hit>,
    /// True if the search stopped before it had looked at every candidate.
    pub truncated: bool,
}

/// Order of a recall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Latest creation first.
    #[default]
    Newest,
    /// Earliest creation first.
    Oldest,
    /// Highest importance first, then latest creation.
    Importance,
    /// Latest change first.
    Updated,
}

/// Memories by criteria instead of by text.
#[derive(Debug, Clone)]
pub struct Recall {
    /// What may be found.
    pub filter: Filter,
    /// Order of the page.
    pub order: Order,
    /// 1 to 100.
    pub limit: u32,
    /// Where an earlier page ended; opaque, from [`Page::next_cursor`].
    pub cursor: Option<String>,
}

impl Recall {
    /// Checks every rule of a recall except its cursor, which the store reads.
    pub fn check(&self) -> Result<(), Violation> {
        check_limit(self.limit)?;
        self.filter.check()
    }
}

/// One page of a listing.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// At most the limit asked for.
    pub items: Vec<T>,
    /// Opaque start of the next page; absent on the last one.
    pub next_cursor: Option<String>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Timestamp>,
    /// Creation of the newest owned memory.
    #[serde(skip_serializing_if = "Option::is_none")]
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

fn check_content(content: &str, chars_max: usize) -> Result<(), Violation> {
    if content.trim().is_empty() {
        return Err(Violation::new("content", "must not be empty"));
    }
    // A character has at least one byte, so short texts need no count.
    if content.len() > chars_max {
        let chars = content.chars().count();
        if chars > chars_max {
            return Err(Violation::new(
                "content",
                format!("exceeds {chars_max} characters, has {chars}"),
            ));
        }
    }
    Ok(())
}

fn normalize_tags(tags: &mut Vec<String>) -> Result<(), Violation> {
    if tags.len() > TAGS_MAX {
        return Err(Violation::new(
            "tags",
            format!("at most {TAGS_MAX}, got {}", tags.len()),
        ));
    }
    for tag in tags.iter() {
        let chars = tag.chars().count();
        if tag.trim().is_empty() || chars > TAG_CHARS_MAX || tag.contains(char::is_control) {
            return Err(Violation::new(
                "tags",
                format!("each needs 1 to {TAG_CHARS_MAX} printable characters"),
            ));
        }
    }
    tags.sort_unstable();
    tags.dedup();
    Ok(())
}

fn check_fraction(field: &'static str, value: f64) -> Result<(), Violation> {
    if (0.0..=1.0).contains(&value) {
        Ok(())
    } else {
        Err(Violation::new(
            field,
            format!("must lie between 0 and 1, is {value}"),
        ))
    }
}

fn check_label(field: &'static str, label: Option<&str>) -> Result<(), Violation> {
    let Some(label) = label else { return Ok(()) };
    let chars = label.chars().count();
    if label.trim().is_empty() || chars > LABEL_CHARS_MAX || label.contains(char::is_control) {
        return Err(Violation::new(
            field,
            format!("needs 1 to {LABEL_CHARS_MAX} printable characters"),
        ));
    }
    Ok(())
}

fn check_metadata(metadata: &JsonObject) -> Result<(), Violation> {
    let bytes = metadata.as_str().len();
    if bytes > METADATA_BYTES_MAX {
        return Err(Violation::new(
            "metadata",
            format!("exceeds {METADATA_BYTES_MAX} bytes, has {bytes}"),
        ));
    }
    Ok(())
}

fn check_ttl(ttl_seconds: Option<u64>) -> Result<(), Violation> {
    match ttl_seconds {
        Some(0) => Err(Violation::new("ttl", "must be at least 1 second")),
        Some(ttl) if ttl > TTL_SECONDS_MAX => Err(Violation::new(
            "ttl",
            format!("must be at most {TTL_SECONDS_MAX} seconds, is {ttl}"),
        )),
        _ => Ok(()),
    }
}

/// A validity that has both ends must not be empty.
pub fn check_validity(from: Option<Timestamp>, to: Option<Timestamp>) -> Result<(), Violation> {
    match (from, to) {
        (Some(from), Some(to)) if from >= to => {
            Err(Violation::new("valid_to", "must be later than valid_from"))
        }
        _ => Ok(()),
    }
}

fn check_limit(limit: u32) -> Result<(), Violation> {
    if (1..=PAGE_MAX).contains(&limit) {
        Ok(())
    } else {
        Err(Violation::new(
            "limit",
            format!("must lie between 1 and {PAGE_MAX}, is {limit}"),
        ))
    }
}
