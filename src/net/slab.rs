//! Slots with generations, so that a late completion for an earlier user of a slot is recognised.

/// Names one use of one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token {
    /// The slot.
    pub(super) index: u32,
    /// Which use of the slot, from 0, below 2^24 so that it fits beside the index and a kind in
    /// 64 bits of user data.
    pub(super) generation: u32,
}

impl Token {
    /// The token as a number, for those who only carry it.
    pub fn key(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The token of such a number.
    pub fn from_key(key: u64) -> Self {
        Self {
            index: key as u32,
            generation: (key >> 32) as u32,
        }
    }
}

/// Generations wrap here. A slot would have to be reused 16 million times while one completion
/// is under way for a token to be mistaken.
pub(super) const GENERATION_MASK: u32 = (1 << 24) - 1;

/// Values by token; the slots are reused, last freed first, so the table stays small and warm.
#[derive(Debug)]
pub struct Table<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
    len: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            len: 0,
        }
    }
}

impl<T> Table<T> {
    /// Stores `value` in a slot of the table's own choice.
    pub fn insert(&mut self, value: T) -> Token {
        self.len += 1;
        if let Some(index) = self.free.pop() {
            let (generation, slot) = &mut self.slots[index as usize];
            *slot = Some(value);
            return Token {
                index,
                generation: *generation,
            };
        }
        let index = u32::try_from(self.slots.len()).expect("fewer sockets than 2^32");
        self.slots.push((0, Some(value)));
        Token {
            index,
            generation: 0,
        }
    }

    /// Stores `value` under a token of another table, which must be free here.
    pub fn insert_at(&mut self, token: Token, value: T) {
        let index = token.index as usize;
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || (0, None));
        }
        debug_assert!(
            self.slots[index].1.is_none(),
            "a token names one user at a time"
        );
        self.slots[index] = (token.generation, Some(value));
        self.len += 1;
    }

    /// The value, unless the slot has passed to another use.
    pub fn get(&self, token: Token) -> Option<&T> {
        match self.slots.get(token.index as usize) {
            Some((generation, Some(value))) if *generation == token.generation => Some(value),
            _ => None,
        }
    }

    /// The value, unless the slot has passed to another use.
    pub fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        match self.slots.get_mut(token.index as usize) {
            Some((generation, Some(value))) if *generation == token.generation => Some(value),
            _ => None,
        }
    }

    /// Frees the slot for another use of this table.
    pub fn remove(&mut self, token: Token) -> Option<T> {
        let value = self.take(token)?;
        let (generation, _) = &mut self.slots[token.index as usize];
        *generation = (*generation + 1) & GENERATION_MASK;
        self.free.push(token.index);
        Some(value)
    }

    /// Empties a slot that [`Table::insert_at`] filled.
    pub fn take(&mut self, token: Token) -> Option<T> {
        self.get(token)?;
        self.len -= 1;
        self.slots[token.index as usize].1.take()
    }

    /// Values held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Every token and value, in the order of slots.
    pub fn iter(&self) -> impl Iterator<Item = (Token, &T)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(index, (generation, value))| {
                let token = Token {
                    index: index as u32,
                    generation: *generation,
                };
                value.as_ref().map(|value| (token, value))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn a_token_of_an_earlier_use_finds_nothing() {
        let mut table = Table::default();
        let first = table.insert("first");
        assert_eq!(table.remove(first), Some("first"));
        let second = table.insert("second");
        assert_eq!(second.index, first.index);
        assert_eq!(table.get(first), None);
        assert_eq!(table.remove(first), None);
        assert_eq!(table.get(second), Some(&"second"));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_second_table_follows_the_tokens_of_the_first() {
        let mut sockets = Table::default();
        let mut states = Table::default();
        let token = sockets.insert(());
        states.insert_at(token, 7);
        assert_eq!(states.take(token), Some(7));
        assert_eq!(states.take(token), None);
        sockets.remove(token);
        let again = sockets.insert(());
        states.insert_at(again, 8);
        assert_eq!(states.get(token), None);
        assert_eq!(states.get(again), Some(&8));
    }
}
