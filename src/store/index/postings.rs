//! Which memories of a segment hold a term.

use std::collections::HashMap;

/// Slots by term, ascending. A term is known by 64 bits of a hash: among ten million terms the
/// chance that any two share one is 3 in a million.
#[derive(Debug, Default)]
pub(super) struct Postings(HashMap<u64, Vec<u32>, foldhash::fast::FixedState>);

impl Postings {
    /// Notes that the memory in `slot`, which is later than all before, holds `terms`.
    pub(super) fn push(&mut self, slot: u32, terms: &[u64]) {
        for term in terms {
            self.0.entry(*term).or_default().push(slot);
        }
    }

    /// The slots of the memories that hold `term`; removed ones may be among them.
    pub(super) fn of(&self, term: u64) -> &[u32] {
        self.0.get(&term).map_or(&[], Vec::as_slice)
    }

    /// Renumbers the slots: `to[slot]` is the new place of each, `None` of a removed one. The
    /// order of slots must not change.
    pub(super) fn renumber(&mut self, to: &[Option<u32>]) {
        self.0.retain(|_, slots| {
            slots.retain_mut(|slot| match to[*slot as usize] {
                Some(new) => {
                    *slot = new;
                    true
                }
                None => false,
            });
            slots.shrink_to_fit();
            !slots.is_empty()
        });
    }
}
