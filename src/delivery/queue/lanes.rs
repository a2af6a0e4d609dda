//! What waits to be delivered for the first time in this epoch: a lane for each priority.
//!
//! Invariants: a lane keeps its order; a lane that has something waits no longer than its share; the
//! texts held are bounded, and of what is in a store only the place is kept beyond that.

use std::collections::VecDeque;
use std::sync::Arc;

use super::entry::{Entry, Parcel};
use crate::config::limits::QUEUED_BYTES_MAX;
use crate::domain::{Priority, Timestamp};

pub(super) const LANES: usize = Priority::ALL.len();
/// One of so many goes to whoever has waited longest, whatever its lane.
const SHARE: u32 = 8;
/// From when on one has waited long.
const LONG_MS: u64 = 1_000;
/// Messages loaded at once; two flights of a store fill a window.
const LOAD_MAX: usize = 128;
/// Bytes loaded at once: what may be held beyond the bound while it is on its way.
const LOAD_BYTES_MAX: usize = QUEUED_BYTES_MAX / 4;

#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: [Lane; LANES],
    /// Bytes of texts that are held.
    held: usize,
    /// Picks since one was made by age.
    picks: u32,
    /// Nothing expires before.
    expiry: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Lane {
    entries: VecDeque<Entry>,
    /// Its first texts are being loaded.
    loading: bool,
}

/// What is next.
#[derive(Debug)]
pub(super) enum Next {
    /// This, with its text.
    Entry(Entry),
    /// Texts that have to be loaded first.
    Load(Vec<i64>),
    /// Nothing, or nothing until a text is loaded.
    Nothing,
}

impl Lanes {
    /// Takes an entry at the end of its lane. What is in the store is taken without its text if
    /// there is no room for it; what is not is refused then, and this is false.
    pub(super) fn push(&mut self, entry: Entry, now: Timestamp) -> bool {
        let Some(mut entry) = entry.fitted(QUEUED_BYTES_MAX.saturating_sub(self.held)) else {
            return false;
        };
        self.held += entry.held();
        entry.since = now;
        self.expiry = earlier(self.expiry, entry.expires_at);
        self.lanes[entry.priority.rank()].entries.push_back(entry);
        true
    }

    /// Takes the entry that is to go next.
    pub(super) fn pop(&mut self, now: Timestamp) -> Next {
        let Some(at) = self.choose(now) else {
            return Next::Nothing;
        };
        if self.lanes[at].lacks_text() {
            return Next::Load(self.load());
        }
        let lane = &mut self.lanes[at];
        let Some(entry) = lane.entries.pop_front() else {
            return Next::Nothing;
        };
        self.held -= entry.bytes();
        Next::Entry(entry)
    }

    /// The first lane, unless it is the turn of another that has waited long.
    fn choose(&mut self, now: Timestamp) -> Option<usize> {
        let ready = |lane: &Lane| !lane.loading && !lane.entries.is_empty();
        let first = self.lanes.iter().position(ready)?;
        self.picks += 1;
        if self.picks < SHARE {
            return Some(first);
        }
        self.picks = 0;
        let since = |at: usize| self.lanes[at].entries.front().map(|entry| entry.since);
        let oldest = (first..LANES)
            .filter(|at| ready(&self.lanes[*at]))
            .min_by_key(|at| since(*at))?;
        let waited = since(oldest)?.millis_until(now);
        Some(if waited >= LONG_MS { oldest } else { first })
    }

    /// What is to be loaded for all lanes: at once, so that the first lane goes first.
    fn load(&mut self) -> Vec<i64> {
        let mut keys = Vec::new();
        let mut bytes = 0;
        for lane in &mut self.lanes {
            if !lane.loading && lane.lacks_text() {
                let before = keys.len();
                lane.leading(&mut keys, &mut bytes);
                lane.loading = keys.len() > before;
            }
        }
        keys
    }

    /// Puts texts in their places. What was asked for and is not among them is gone.
    pub(super) fn fill(
        &mut self,
        asked: &[i64],
        mut loaded: impl FnMut(i64) -> Option<Arc<Parcel>>,
    ) {
        for lane in self.lanes.iter_mut().filter(|lane| lane.loading) {
            self.held += lane.fill(asked, &mut loaded);
        }
    }

    /// Texts that were asked for do not come; they have to be asked for again.
    pub(super) fn forget_loads(&mut self) {
        for lane in &mut self.lanes {
            lane.loading = false;
        }
    }

    /// Takes out what has been settled elsewhere; `keys` are in order.
    pub(super) fn remove(&mut self, keys: &[i64]) -> usize {
        let is_gone = |entry: &Entry| {
            entry
                .key
                .is_some_and(|key| keys.binary_search(&key).is_ok())
        };
        self.extract(is_gone).len()
    }

    /// Takes out what has expired.
    pub(super) fn expire(&mut self, now: Timestamp) -> Vec<Entry> {
        if self.expiry.is_none_or(|expiry| expiry > now) {
            return Vec::new();
        }
        let expired = self.extract(|entry| entry.expires_at <= now);
        let rest = self.lanes.iter().flat_map(|lane| &lane.entries);
        self.expiry = rest.map(|entry| entry.expires_at).min();
        expired
    }

    fn extract(&mut self, which: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let mut taken = Vec::new();
        for lane in &mut self.lanes {
            if !lane.entries.iter().any(&which) {
                continue;
            }
            // A load that is on its way may have been for these; it is asked for again.
            lane.loading = false;
            let (out, rest): (Vec<Entry>, Vec<Entry>) = lane.entries.drain(..).partition(&which);
            lane.entries = rest.into();
            self.held -= out.iter().map(Entry::held).sum::<usize>();
            taken.extend(out);
        }
        taken
    }

    /// Everything, lane by lane.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.lanes.iter().flat_map(|lane| &lane.entries)
    }

    /// The same, to be changed.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.lanes.iter_mut().flat_map(|lane| &mut lane.entries)
    }

    /// When something may expire.
    pub(super) fn expiry(&self) -> Option<Timestamp> {
        self.expiry
    }

    /// Messages in each lane.
    pub(super) fn lengths(&self) -> [u64; LANES] {
        self.lanes.each_ref().map(|lane| lane.entries.len() as u64)
    }

    /// Bytes of texts that are held.
    pub(super) fn held(&self) -> usize {
        self.held
    }
}

impl Lane {
    /// Has its first entry no text?
    fn lacks_text(&self) -> bool {
        let first = self.entries.front();
        first.is_some_and(|entry| entry.parcel.is_none())
    }

    /// Adds the first entries that have no text, as far as one load goes.
    fn leading(&self, keys: &mut Vec<i64>, bytes: &mut usize) {
        let without = self
            .entries
            .iter()
            .take_while(|entry| entry.parcel.is_none());
        for entry in without {
            let fits = *bytes == 0 || *bytes + entry.bytes() <= LOAD_BYTES_MAX;
            if keys.len() >= LOAD_MAX || !fits {
                break;
            }
            *bytes += entry.bytes();
            keys.extend(entry.key);
        }
    }

    /// Puts texts in their places if they were asked for this lane; returns their bytes.
    fn fill(
        &mut self,
        asked: &[i64],
        loaded: &mut impl FnMut(i64) -> Option<Arc<Parcel>>,
    ) -> usize {
        let was_asked = |entry: &Entry| entry.key.is_some_and(|key| asked.contains(&key));
        if !self.entries.front().is_some_and(was_asked) {
            return 0;
        }
        self.loading = false;
        let mut held = 0;
        let leading = asked.len().min(self.entries.len());
        let leading: Vec<Entry> = self.entries.drain(..leading).collect();
        for mut entry in leading.into_iter().rev() {
            if entry.parcel.is_none() && was_asked(&entry) {
                entry.parcel = entry.key.and_then(&mut *loaded);
                if entry.parcel.is_none() {
                    continue;
                }
                held += entry.bytes();
            }
            self.entries.push_front(entry);
        }
        held
    }
}

/// The earlier of two times, where one may be absent.
pub(super) fn earlier(one: Option<Timestamp>, other: Timestamp) -> Option<Timestamp> {
    Some(one.map_or(other, |one| one.min(other)))
}
