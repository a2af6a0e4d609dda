//! Where a page of a search ended, as an opaque text.
//!
//! ```text
//! base64url( 3 | now i64 BE | score f64 BE | created_at i64 BE | id 16 bytes )
//! ```
//!
//! `now` is the time of the first page: later ones rank by it, so that scores do not move between
//! pages.

use std::cmp::Ordering;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use super::Ranked;
use crate::domain::{Timestamp, Violation};

const SEARCH: u8 = 3;

/// The last hit of a page.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchCursor {
    /// When the search began.
    pub now: Timestamp,
    score: f64,
    created_at: Timestamp,
    id: Uuid,
}

impl SearchCursor {
    /// The cursor behind `last` in a search that ranks by `now`.
    pub fn behind(last: &Ranked, now: Timestamp) -> Self {
        Self {
            now,
            score: last.score,
            created_at: last.created_at,
            id: last.id,
        }
    }

    /// The score of the last hit.
    pub fn score(&self) -> f64 {
        self.score
    }

    /// Does the page begin before `ranked`?
    pub(super) fn is_before(&self, ranked: &Ranked) -> bool {
        self.score
            .total_cmp(&ranked.score)
            .then(self.created_at.cmp(&ranked.created_at))
            .then(self.id.cmp(&ranked.id))
            == Ordering::Greater
    }

    /// The opaque text.
    pub fn write(&self) -> String {
        let mut bytes = vec![SEARCH];
        bytes.extend(self.now.as_micros().to_be_bytes());
        bytes.extend(self.score.to_be_bytes());
        bytes.extend(self.created_at.as_micros().to_be_bytes());
        bytes.extend(self.id.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads what [`write`](Self::write) wrote.
    pub fn parse(text: &str) -> Result<Self, Violation> {
        let unknown = || Violation::new("cursor", "was not given out by this search");
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| unknown())?;
        let [SEARCH, rest @ ..] = &bytes[..] else {
            return Err(unknown());
        };
        let (numbers, id) = rest.split_at_checked(24).ok_or_else(unknown)?;
        let number = |place: usize| {
            let mut eight = [0; 8];
            eight.copy_from_slice(&numbers[place * 8..][..8]);
            eight
        };
        let time = |place| Timestamp::from_micros(i64::from_be_bytes(number(place)));
        Ok(Self {
            now: time(0).ok_or_else(unknown)?,
            score: f64::from_be_bytes(number(1)),
            created_at: time(2).ok_or_else(unknown)?,
            id: Uuid::from_slice(id).map_err(|_| unknown())?,
        })
    }
}
