//! How large the scopes of viewers are, remembered for a moment.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::AgentKey;

/// Scopes that are remembered; beyond it all are forgotten.
const SCOPES_MAX: usize = 4_096;
/// A small scope may have become large after this, at no harm but to the time it takes.
const SMALL_KEPT: Duration = Duration::from_secs(10);
/// A count of many is exact enough for this long: weights are logarithms.
const LARGE_KEPT: Duration = Duration::from_secs(60);

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

/// What is known of the scopes.
#[derive(Debug, Default)]
pub(super) struct Scopes(RefCell<HashMap<(AgentKey, bool), (Size, Instant)>>);

impl Scopes {
    /// The size of what `viewer` may see, or owns, if it was looked at lately.
    pub(super) fn size(&self, viewer: &AgentKey, owned_only: bool) -> Option<Size> {
        let known = self.0.borrow();
        let (size, until) = known.get(&(viewer.clone(), owned_only))?;
        (*until > Instant::now()).then_some(*size)
    }

    /// Notes a size that was just counted.
    pub(super) fn remember(&self, viewer: &AgentKey, owned_only: bool, size: Size) {
        let mut known = self.0.borrow_mut();
        if known.len() >= SCOPES_MAX {
            known.clear();
        }
        let kept = match size {
            Size::Small => SMALL_KEPT,
            Size::Large(_) => LARGE_KEPT,
        };
        known.insert((viewer.clone(), owned_only), (size, Instant::now() + kept));
    }
}
