//! Which memories of a segment hold a term.

use std::collections::HashMap;

/// Slots by term, ascending. A term is known by 64 bits of a hash: among ten million terms the
/// chance that any two share one is 3 in a million.
///
/// At the start the terms of many memories come at once, and sorting them in takes longer than all the
/// rest of loading. They are put aside then, and sorted in by whoever needs them first.
#[derive(Debug, Default)]
pub(super) struct Postings {
    slots: HashMap<u64, Vec<u32>, foldhash::fast::FixedState>,
    /// Slots with the number of their terms, which stand one after another.
    aside: Vec<(u32, u32)>,
    aside_terms: Vec<u64>,
}

impl Postings {
    /// Notes that the memory in `slot`, which is later than all before, holds `terms`.
    pub(super) fn push(&mut self, slot: u32, terms: &[u64]) {
        self.sort_in();
        for term in terms {
            self.slots.entry(*term).or_default().push(slot);
        }
    }

    /// The same, put aside.
    pub(super) fn put_aside(&mut self, slot: u32, terms: &[u64]) {
        self.aside.push((slot, terms.len() as u32));
        self.aside_terms.extend(terms);
    }

    /// Is anything put aside?
    pub(super) fn has_aside(&self) -> bool {
        !self.aside.is_empty()
    }

    /// Sorts in what was put aside.
    pub(super) fn sort_in(&mut self) {
        let terms = std::mem::take(&mut self.aside_terms);
        let mut rest = &terms[..];
        for (slot, count) in std::mem::take(&mut self.aside) {
            let (own, others) = rest.split_at(count as usize);
            for term in own {
                self.slots.entry(*term).or_default().push(slot);
            }
            rest = others;
        }
    }

    /// The slots of the memories that hold `term`; removed ones may be among them.
    pub(super) fn of(&self, term: u64) -> &[u32] {
        self.slots.get(&term).map_or(&[], Vec::as_slice)
    }

    /// Renumbers the slots: `to[slot]` is the new place of each, `None` of a removed one. The
    /// order of slots must not change.
    pub(super) fn renumber(&mut self, to: &[Option<u32>]) {
        self.sort_in();
        self.slots.retain(|_, slots| {
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
