//! What is known of the scopes of viewers, remembered for a moment: how large they are, and of
//! large ones how many memories hold a term.
//!
//! What is out of date costs time and moves weights a little: a term without holders is looked up
//! all the same.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::AgentKey;

/// Scopes whose size is remembered; beyond it all are forgotten.
const SCOPES_MAX: usize = 4_096;
/// Terms that are remembered over all scopes; beyond it all are forgotten.
const TERMS_MAX: usize = 100_000;
/// A small scope may have become large after this, at no harm but to the time it takes.
const SMALL_KEPT: Duration = Duration::from_secs(10);
/// A count of many is exact enough for this long: weights are logarithms.
const LARGE_KEPT: Duration = Duration::from_secs(60);
/// A term with so many holders takes milliseconds to count, and its share changes slowly.
const COMMON: i64 = 2_000;
const COMMON_KEPT: Duration = Duration::from_secs(600);

/// Size of a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// Read as a whole.
    Small,
    /// So many memories.
    Large(i64),
}

impl Size {
    /// How many memories, if they are many.
    pub(super) fn large(self) -> Option<i64> {
        match self {
            Self::Small => None,
            Self::Large(count) => Some(count),
        }
    }
}

/// What a viewer may see, or what it owns.
type Key = (AgentKey, bool);

/// What is known of the scopes.
#[derive(Debug, Default)]
pub(super) struct Scopes {
    sizes: RefCell<HashMap<Key, (Size, Instant)>>,
    holders: RefCell<Holders>,
}

#[derive(Debug, Default)]
struct Holders {
    scopes: HashMap<Key, HashMap<String, (i64, Instant)>>,
    terms: usize,
}

impl Scopes {
    /// The size of what `viewer` may see, or owns, if it was looked at lately.
    pub(super) fn size(&self, viewer: &AgentKey, owned_only: bool) -> Option<Size> {
        let known = self.sizes.borrow();
        let (size, until) = known.get(&(viewer.clone(), owned_only))?;
        (*until > Instant::now()).then_some(*size)
    }

    /// Notes a size that was just counted.
    pub(super) fn remember(&self, viewer: &AgentKey, owned_only: bool, size: Size) {
        let mut known = self.sizes.borrow_mut();
        if known.len() >= SCOPES_MAX {
            known.clear();
        }
        let kept = match size {
            Size::Small => SMALL_KEPT,
            Size::Large(_) => LARGE_KEPT,
        };
        known.insert((viewer.clone(), owned_only), (size, Instant::now() + kept));
    }

    /// How many of the scope hold each of `terms`, as far as it was counted lately.
    pub(super) fn holders(
        &self,
        viewer: &AgentKey,
        owned_only: bool,
        terms: &[String],
    ) -> Vec<Option<i64>> {
        let known = self.holders.borrow();
        let scope = known.scopes.get(&(viewer.clone(), owned_only));
        let now = Instant::now();
        let count = |term| {
            let (count, until) = scope?.get(term)?;
            (*until > now).then_some(*count)
        };
        terms.iter().map(count).collect()
    }

    /// Notes how many hold `term`.
    pub(super) fn remember_holders(
        &self,
        viewer: &AgentKey,
        owned_only: bool,
        term: &str,
        count: i64,
    ) {
        let mut known = self.holders.borrow_mut();
        if known.terms >= TERMS_MAX {
            *known = Holders::default();
        }
        let scope = known
            .scopes
            .entry((viewer.clone(), owned_only))
            .or_default();
        let kept = if count < COMMON {
            LARGE_KEPT
        } else {
            COMMON_KEPT
        };
        let until = Instant::now() + kept;
        if scope.insert(term.to_owned(), (count, until)).is_none() {
            known.terms += 1;
        }
    }
}
