//! Questions about memories: search by text, recall by criteria, and their pages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Memory;
use super::rules::{CRITERION_MAX, QUERY_CHARS_MAX, check_fraction, check_label, check_limit};
use crate::domain::agent::check_name;
use crate::domain::{Embedded, Timestamp, Violation};

/// What a search or a recall admits, besides what the caller may see.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// Any of these ids.
    pub ids: Vec<Uuid>,
    /// All of these labels.
    pub tags: Vec<String>,
    /// This kind.
    pub kind: Option<String>,
    /// Owned by this agent.
    pub agent: Option<String>,
    /// From this source.
    pub source: Option<String>,
    /// At least this importance.
    pub importance_min: Option<f64>,
    /// At least this trust in the source.
    pub trust_min: Option<f64>,
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
        if let Some(trust) = self.trust_min {
            check_fraction("min_trust", trust)?;
        }
        if let Some(agent) = &self.agent {
            check_name("agent", agent)?;
        }
        check_label("type", self.kind.as_deref())?;
        check_label("source", self.source.as_deref())?;
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

/// By what a search finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// By meaning and by words.
    #[default]
    Hybrid,
    /// By meaning.
    Semantic,
    /// By words.
    Lexical,
}

/// A question with its filter.
#[derive(Debug, Clone)]
pub struct Search {
    /// What to look for, in words.
    pub query: String,
    /// By what to find it; every mode but lexical needs the vector.
    pub mode: Mode,
    /// What to look for, as a meaning.
    pub vector: Option<Embedded>,
    /// What may be found.
    pub filter: Filter,
    /// Leaves out what is less similar than this: in meaning, or in words if the mode is lexical.
    pub similarity_min: Option<f64>,
    /// 1 to 100.
    pub limit: u32,
    /// Where an earlier page ended; opaque, from [`SearchPage::next_cursor`].
    pub cursor: Option<String>,
    /// Whether a hit counts as an access; false for the server's own questions.
    pub counts_access: bool,
}

impl Search {
    /// Checks every rule of a search except its cursor, which the store reads.
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
        if let Some(similarity) = self.similarity_min {
            check_fraction("min_similarity", similarity)?;
        }
        check_limit(self.limit)?;
        self.filter.check()
    }
}

/// What a score is made of; each part from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Parts {
    /// Cosine of the meanings, negative ones as 0; absent in lexical search and for a memory
    /// that has no vector yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub similarity: Option<f64>,
    /// Share of the query's words, each weighed by its rarity (BM25), that the memory has; absent
    /// in semantic search.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lexical: Option<f64>,
    /// Its importance.
    pub importance: f64,
    /// 1 for a new memory, half of it for each half-life that it is old.
    pub recency: f64,
}

/// One result of a search.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Hit {
    /// The memory.
    #[serde(flatten)]
    pub memory: Memory,
    /// Rank, 0 to 1, comparable within one answer.
    pub score: f64,
    /// What the score is made of.
    #[serde(skip)]
    pub parts: Parts,
}

/// The results of a search, best first; ties go to the later one, then to the greater id.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchPage {
    /// At most the limit asked for.
    pub hits: Vec<Hit>,
    /// True if the search stopped before it had looked at every candidate.
    pub truncated: bool,
    /// Opaque start of the next page; absent on the last one.
    pub next_cursor: Option<String>,
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
    /// What is found counts as read.
    pub counts_access: bool,
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
