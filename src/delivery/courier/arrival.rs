//! How a sender has come to this node, and what it sends there.
//!
//! Who is answered on one node and goes on on another has the word of its message on the bus by then, or
//! at least the message in the store. So the first thing it sends here waits until this node has heard
//! whatever was said before; and if that cannot be known, since the bus was away, each session to which
//! it sends looks into the store once. What it sends here keeps its order by [`Line`].

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;

use uuid::Uuid;

use super::line::{Line, Place};
use super::nodes::Abroad;

/// Sessions of which it is known that they have looked: few senders have more receivers, and one that is
/// forgotten looks again.
const LOOKED_MAX: usize = 4_096;

/// How far a sender has come on this node.
#[derive(Debug, Default)]
pub struct Arrival {
    is_here: Cell<bool>,
    /// Not everything was heard when it came: the sessions that have looked into the store since.
    looked: RefCell<Option<HashSet<Uuid>>>,
    line: Rc<Line>,
}

impl Arrival {
    /// Takes the place of the message that is sent next.
    pub(super) fn take_place(&self, is_alone: bool) -> Place {
        Place::take(&self.line, is_alone)
    }

    /// Waits until what the sender has sent elsewhere is heard; to be asked by the message whose turn it is, so
    /// that those behind it wait as well. False if there was nothing to wait for.
    pub(super) async fn settle(&self, abroad: &Abroad) -> bool {
        if self.is_here.get() {
            return false;
        }
        if !abroad.hear_all().await {
            self.looked.replace(Some(HashSet::new()));
        }
        self.is_here.set(true);
        true
    }

    /// Has a session to look into the store instead of taking a message as it comes? Once for each.
    pub(super) fn has_to_look(&self, session: Uuid) -> bool {
        let mut looked = self.looked.borrow_mut();
        let Some(looked) = looked.as_mut() else {
            return false;
        };
        if looked.len() == LOOKED_MAX {
            looked.clear();
        }
        looked.insert(session)
    }
}
