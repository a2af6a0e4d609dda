//! One segment: memories in columns, by slot.

use uuid::Uuid;

use super::document::{Document, Times};
use super::names::{NO_NAME, Name, Names};
use super::postings::Postings;
use crate::domain::{Filter, Timestamp};
use crate::store::vectors::{Query, Rows};

/// Removed slots that are not worth the work of closing the gaps. It stays this small because every agent
/// that has private memories has a segment of its own, and a gap keeps its terms, one to two KB: of 1,024
/// gaps each, agents that keep a handful of memories and change them would hold a hundred times as much as
/// they have. Closing happens only when gaps outnumber what lives, so a removal costs the same at any size.
const GAPS_MIN: usize = 32;

/// What a scan asks of every slot, in one byte.
const GONE: u8 = 0;
const ALWAYS: u8 = 1;
/// To be found at some times only.
const SOMETIMES: u8 = 2;

/// Slots whose presence is looked at in one go: a line of the cache.
const PRESENCE_BLOCK: usize = 64;

/// What of a memory decides whether it is found and how it ranks.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) seq: i64,
    pub(super) id: Uuid,
    pub(super) importance: f64,
    trust: f64,
    /// The owner, and the owner's name alone: a filter by agent knows no namespace.
    owner: Name,
    agent: Name,
    kind: Name,
    source: Name,
    tags: Box<[Name]>,
    times: Option<Box<Times>>,
}

/// Slots are given out in order and never again until the segment is compacted.
#[derive(Debug, Default)]
pub(super) struct Segment {
    presence: Vec<u8>,
    words: Vec<u32>,
    /// Apart from the entries: of many memories with the same score each is asked when it was created.
    created: Vec<Timestamp>,
    entries: Vec<Entry>,
    vectors: Rows,
    postings: Postings,
    live: usize,
}

impl Segment {
    /// Adds a memory and returns its slot.
    pub(super) fn push(&mut self, seq: i64, document: &Document, names: &mut Names) -> u32 {
        let slot = self.push_without_terms(seq, document, names);
        self.postings.push(slot, &document.terms);
        slot
    }

    /// The same at the start of the store; the terms are sorted in later.
    pub(super) fn load(&mut self, seq: i64, document: &Document, names: &mut Names) -> u32 {
        let slot = self.push_without_terms(seq, document, names);
        self.postings.put_aside(slot, &document.terms);
        slot
    }

    /// Are there terms to be sorted in?
    pub(super) fn has_terms_aside(&self) -> bool {
        self.postings.has_aside()
    }

    pub(super) fn sort_terms_in(&mut self) {
        self.postings.sort_in();
    }

    fn push_without_terms(&mut self, seq: i64, document: &Document, names: &mut Names) -> u32 {
        let slot = self.entries.len() as u32;
        let always = document.times == Times::default();
        let mut optional =
            |name: &Option<String>| name.as_deref().map_or(NO_NAME, |name| names.intern(name));
        let (kind, source) = (optional(&document.kind), optional(&document.source));
        let owner = owner_name(&document.owner.namespace, &document.owner.agent);
        self.entries.push(Entry {
            seq,
            id: document.id,
            importance: document.importance,
            trust: document.trust,
            owner: names.intern(&owner),
            agent: names.intern(&document.owner.agent),
            kind,
            source,
            tags: document.tags.iter().map(|tag| names.intern(tag)).collect(),
            times: (!always).then(|| Box::new(document.times)),
        });
        self.presence.push(if always { ALWAYS } else { SOMETIMES });
        self.words.push(document.words);
        self.created.push(document.created_at);
        let vector = document.vector.as_ref();
        self.vectors
            .push(vector.map(|(scale, codes)| (*scale, &codes[..])));
        self.live += 1;
        slot
    }

    pub(super) fn remove(&mut self, slot: u32) {
        let presence = &mut self.presence[slot as usize];
        self.live -= usize::from(*presence != GONE);
        *presence = GONE;
    }

    pub(super) fn set_vector(&mut self, slot: u32, scale: f32, codes: &[i8]) {
        self.vectors.set(slot as usize, scale, codes);
    }

    pub(super) fn clear_vectors(&mut self) {
        self.vectors = Rows::default();
        for _ in 0..self.entries.len() {
            self.vectors.push(None);
        }
    }

    pub(super) fn vector_bytes(&self) -> usize {
        self.vectors.bytes()
    }

    /// Are most slots removed ones?
    pub(super) fn is_sparse(&self) -> bool {
        let gaps = self.entries.len() - self.live;
        gaps > GAPS_MIN && gaps > self.live
    }

    /// Closes the gaps; returns each memory that moved with its old and new slot.
    pub(super) fn compact(&mut self) -> Vec<(i64, u32, u32)> {
        let before = std::mem::take(self);
        let mut to = vec![None; before.entries.len()];
        let mut moved = Vec::new();
        for (from, entry) in before.entries.into_iter().enumerate() {
            if before.presence[from] == GONE {
                continue;
            }
            let slot = self.entries.len() as u32;
            to[from] = Some(slot);
            moved.push((entry.seq, from as u32, slot));
            self.entries.push(entry);
            self.presence.push(before.presence[from]);
            self.words.push(before.words[from]);
            self.created.push(before.created[from]);
            self.vectors.push(before.vectors.get(from));
        }
        self.live = self.entries.len();
        self.postings = before.postings;
        self.postings.renumber(&to);
        moved
    }
}

/// A filter and the times of a search, with names as numbers.
#[derive(Debug)]
pub(super) struct Admission<'f> {
    filter: &'f Filter,
    now: Timestamp,
    agent: Option<Name>,
    kind: Option<Name>,
    source: Option<Name>,
    tags: Vec<Name>,
    /// Only what this agent owns.
    owner: Option<Name>,
    /// The filter admits whatever is in scope: most searches have none, and ask it of every memory.
    admits_all: bool,
}

impl<'f> Admission<'f> {
    pub(super) fn new(
        filter: &'f Filter,
        owned_by: Option<(&str, &str)>,
        now: Timestamp,
        names: &Names,
    ) -> Self {
        let find = |name: &Option<String>| name.as_deref().map(|name| names.find(name));
        Self {
            now,
            agent: find(&filter.agent),
            kind: find(&filter.kind),
            source: find(&filter.source),
            tags: filter.tags.iter().map(|tag| names.find(tag)).collect(),
            owner: owned_by.map(|(namespace, agent)| names.find(&owner_name(namespace, agent))),
            admits_all: *filter == scope_of(filter),
            filter,
        }
    }
}

/// What of a filter decides the scope; the rest is asked of each memory of it.
fn scope_of(filter: &Filter) -> Filter {
    Filter {
        include_shared: filter.include_shared,
        as_of: filter.as_of,
        ..Filter::default()
    }
}

/// No name holds a NUL, so no tag or source can be mistaken for an owner.
fn owner_name(namespace: &str, agent: &str) -> String {
    format!("{namespace}\0{agent}")
}

impl Segment {
    /// Number of slots.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn entry(&self, slot: u32) -> &Entry {
        &self.entries[slot as usize]
    }

    pub(super) fn words(&self, slot: u32) -> u32 {
        self.words[slot as usize]
    }

    pub(super) fn created_at(&self, slot: u32) -> Timestamp {
        self.created[slot as usize]
    }

    pub(super) fn postings(&self, term: u64) -> &[u32] {
        self.postings.of(term)
    }

    pub(super) fn similarity(&self, query: &Query, slot: u32) -> Option<f32> {
        self.vectors.similarity(query, slot as usize)
    }

    pub(super) fn scan(
        &self,
        query: &Query,
        wanted: usize,
        admit: impl FnMut(u32) -> bool,
        visit: impl FnMut(u32, f32),
    ) {
        self.vectors.scan(query, wanted, admit, visit);
    }

    /// Is the memory in `slot` part of the scope: there at the time asked about, and owned if only
    /// that is asked for?
    pub(super) fn is_in_scope(&self, slot: u32, admission: &Admission<'_>) -> bool {
        match self.presence[slot as usize] {
            ALWAYS if admission.owner.is_none() && admission.filter.as_of.is_none() => true,
            GONE => false,
            _ => {
                let entry = self.entry(slot);
                let times = entry.times.as_deref().copied().unwrap_or_default();
                admission.owner.is_none_or(|owner| owner == entry.owner)
                    && times.admit(self.created_at(slot), admission.filter.as_of, admission.now)
            }
        }
    }

    /// Calls `each` with the slots that are not in scope, those of removed memories too.
    pub(super) fn for_each_out_of_scope(
        &self,
        admission: &Admission<'_>,
        mut each: impl FnMut(u32),
    ) {
        let any_owner_and_time = admission.owner.is_none() && admission.filter.as_of.is_none();
        for (block, presence) in self.presence.chunks(PRESENCE_BLOCK).enumerate() {
            // Without a branch for each, so that the compiler compares many at once.
            let differ = presence.iter().fold(0, |bits, one| bits | (one ^ ALWAYS));
            if differ == 0 && any_owner_and_time {
                continue;
            }
            let first = (block * PRESENCE_BLOCK) as u32;
            for slot in first..first + presence.len() as u32 {
                if !self.is_in_scope(slot, admission) {
                    each(slot);
                }
            }
        }
    }

    /// Does the filter admit the memory in `slot`, which is in scope?
    pub(super) fn is_admitted(&self, slot: u32, admission: &Admission<'_>) -> bool {
        if admission.admits_all {
            return true;
        }
        let filter = admission.filter;
        let entry = self.entry(slot);
        let created_at = self.created_at(slot);
        let is = |wanted: Option<Name>, name: Name| {
            wanted.is_none_or(|wanted| wanted == name && wanted != NO_NAME)
        };
        is(admission.agent, entry.agent)
            && is(admission.kind, entry.kind)
            && is(admission.source, entry.source)
            && filter
                .importance_min
                .is_none_or(|least| entry.importance >= least)
            && filter.trust_min.is_none_or(|least| entry.trust >= least)
            && filter.created_from.is_none_or(|from| created_at >= from)
            && filter.created_to.is_none_or(|to| created_at < to)
            && admission.tags.iter().all(|tag| entry.tags.contains(tag))
            && (filter.ids.is_empty() || filter.ids.contains(&entry.id))
    }
}
