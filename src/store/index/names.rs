//! Names as numbers: agents, tags, kinds and sources repeat over and over.

use std::collections::HashMap;

/// A name's number.
pub(super) type Name = u32;

/// Stands for a field that a memory leaves out, and for a name that no memory has.
pub(super) const NO_NAME: Name = Name::MAX;

/// Numbers are never taken back: the names of a store are few beside its memories.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<Box<str>, Name, foldhash::fast::FixedState>);

impl Names {
    /// The number of `name`, a new one if need be.
    pub(super) fn intern(&mut self, name: &str) -> Name {
        if let Some(number) = self.0.get(name) {
            return *number;
        }
        let number = self.0.len() as Name;
        self.0.insert(name.into(), number);
        number
    }

    /// The number of `name`, or [`NO_NAME`] if no memory has it.
    pub(super) fn find(&self, name: &str) -> Name {
        self.0.get(name).copied().unwrap_or(NO_NAME)
    }
}
