//! A memory as the index takes it in.

use uuid::Uuid;

use crate::domain::{Access, AgentKey, Timestamp};

/// The ends of the times in which a memory is to be found; few memories have any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// Start of validity.
    pub valid_from: Option<Timestamp>,
    /// End of validity, exclusive.
    pub valid_to: Option<Timestamp>,
    /// End of its time to live.
    pub expires_at: Option<Timestamp>,
    /// When another memory took its place.
    pub superseded_at: Option<Timestamp>,
}

impl Times {
    /// Is a memory that was stored at `created_at` to be found `now`, by a search that asks about
    /// the time `as_of`? What names no start was valid from when it was stored.
    pub fn admit(&self, created_at: Timestamp, as_of: Option<Timestamp>, now: Timestamp) -> bool {
        let lives = self.expires_at.is_none_or(|end| end > now);
        let (at, current, begun) = match as_of {
            None => (
                now,
                self.superseded_at.is_none(),
                self.valid_from.is_none_or(|start| start <= now),
            ),
            Some(at) => (
                at,
                self.superseded_at.is_none_or(|end| end > at),
                self.valid_from.unwrap_or(created_at) <= at,
            ),
        };
        lives && current && begun && self.valid_to.is_none_or(|end| end > at)
    }
}

/// A memory as the index takes it in.
#[derive(Debug, Clone)]
pub struct Document {
    /// The memory.
    pub id: Uuid,
    /// Who owns it.
    pub owner: AgentKey,
    /// Who may read it.
    pub access: Access,
    /// Agents with a grant.
    pub grantees: Vec<AgentKey>,
    /// When it was stored.
    pub created_at: Timestamp,
    /// The times in which it is to be found.
    pub times: Times,
    /// 0 to 1.
    pub importance: f64,
    /// 0 to 1.
    pub trust: f64,
    /// Kind of memory.
    pub kind: Option<String>,
    /// Where the owner has it from.
    pub source: Option<String>,
    /// Labels.
    pub tags: Vec<String>,
    /// Hashes of its terms, each once.
    pub terms: Vec<u64>,
    /// Length of its text.
    pub words: u32,
    /// Scale and codes of its vector.
    pub vector: Option<(f32, Vec<i8>)>,
}
