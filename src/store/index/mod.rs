//! The embedded store's index in memory: by what memories are found.
//!
//! Memories are kept in *segments* by who may see them, so that a search walks through nothing
//! that its viewer may not see, and no count or weight depends on it:
//!
//! | segment | holds |
//! |---|---|
//! | owner | an agent's memories of levels private and shared |
//! | team | a namespace's memories of level team |
//! | open | memories of levels public and system, of all namespaces |
//! | granted | copies of what was shared with an agent and is in none of its other segments |
//!
//! A viewer's scope is the four segments that are its own; no memory is in two of them.
//!
//! Invariants: one thread changes the index, after the commit that it follows and before anybody
//! is told of it; searches on any thread read whole segments under their locks.

mod best;
mod document;
mod names;
mod postings;
mod question;
mod segment;
mod words;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock, RwLockReadGuard};

pub use document::{Document, Times};
pub use question::{Found, Question};

use crate::domain::{Access, AgentKey, Model};
use names::Names;
use segment::Segment;

/// Who sees what a segment holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Scope {
    Owner(AgentKey),
    Team(Arc<str>),
    Open,
    Granted(AgentKey),
}

/// Where a memory is: a segment and a slot in it.
type Place = (u32, u32);

/// All places of a memory; most have one.
#[derive(Debug)]
struct Places {
    home: Place,
    copies: Vec<Place>,
}

impl Places {
    fn all(&self) -> impl Iterator<Item = &Place> {
        std::iter::once(&self.home).chain(&self.copies)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Place> {
        std::iter::once(&mut self.home).chain(&mut self.copies)
    }
}

/// The model whose vectors the index holds, with the number that the store knows it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveModel {
    /// The store's number.
    pub id: i64,
    /// The model.
    pub model: Model,
}

/// The whole index.
#[derive(Debug, Default)]
pub struct Index {
    model: RwLock<Option<ActiveModel>>,
    names: RwLock<Names>,
    segments: RwLock<Segments>,
    /// Of each memory, by its row; only the writer reads and changes it.
    places: Mutex<HashMap<i64, Places, foldhash::fast::FixedState>>,
}

#[derive(Debug, Default)]
struct Segments {
    by_scope: HashMap<Scope, u32>,
    all: Vec<Arc<RwLock<Segment>>>,
}

/// The size of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IndexSize {
    /// Memories, copies for grants not counted twice.
    pub memories: usize,
    /// Segments.
    pub segments: usize,
    /// Bytes of vectors.
    pub vector_bytes: usize,
}

impl Index {
    /// Adds a memory, or replaces what is known of it; `None` removes it.
    pub fn put(&self, seq: i64, document: Option<&Document>) {
        let mut places = self.places.lock();
        let old = places.remove(&seq);
        if let Some(document) = document {
            let place = |scope| {
                let (number, segment) = self.segment(scope);
                let slot = segment.write().push(seq, document, &mut self.names.write());
                (number, slot)
            };
            let new = Places {
                home: place(home_of(document)),
                copies: copies_of(document).map(place).collect(),
            };
            places.insert(seq, new);
        }
        // The new places first: a search in between sees both and keeps one.
        for (number, slot) in old.iter().flat_map(Places::all).copied() {
            let segment = Arc::clone(&self.segments.read().all[number as usize]);
            let mut segment = segment.write();
            segment.remove(slot);
            if segment.is_sparse() {
                for (seq, from, to) in segment.compact() {
                    let places = places.get_mut(&seq).into_iter().flat_map(Places::all_mut);
                    for place in places.filter(|place| **place == (number, from)) {
                        place.1 = to;
                    }
                }
            }
        }
    }

    /// Adds a memory at the start of the store, whose terms [`settle`](Self::settle) sorts in.
    pub fn load(&self, seq: i64, document: &Document) {
        let place = |scope| {
            let (number, segment) = self.segment(scope);
            let slot = segment.write().load(seq, document, &mut self.names.write());
            (number, slot)
        };
        let places = Places {
            home: place(home_of(document)),
            copies: copies_of(document).map(place).collect(),
        };
        self.places.lock().insert(seq, places);
    }

    /// Makes the memories that were loaded ready to be found by their words. A search that comes
    /// before does it for its own segments.
    pub fn settle(&self) {
        let segments = self.segments.read().all.clone();
        segments.iter().for_each(settle);
    }

    /// Writes or replaces the vector of a memory.
    pub fn set_vector(&self, seq: i64, scale: f32, codes: &[i8]) {
        for (number, slot) in self
            .places
            .lock()
            .get(&seq)
            .into_iter()
            .flat_map(Places::all)
        {
            let segment = Arc::clone(&self.segments.read().all[*number as usize]);
            segment.write().set_vector(*slot, scale, codes);
        }
    }

    /// The model whose vectors it holds; it stays the same as long as the guard lives.
    pub fn model(&self) -> RwLockReadGuard<'_, Option<ActiveModel>> {
        self.model.read()
    }

    /// Replaces all vectors by those of another model, which `load` brings. Searches wait.
    pub fn cut_over<E>(
        &self,
        to: ActiveModel,
        load: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let mut model = self.model.write();
        for segment in &self.segments.read().all {
            segment.write().clear_vectors();
        }
        *model = Some(to);
        load()
    }

    /// How much it holds.
    pub fn size(&self) -> IndexSize {
        let segments = self.segments.read();
        IndexSize {
            memories: self.places.lock().len(),
            segments: segments.all.len(),
            vector_bytes: segments.all.iter().map(|s| s.read().vector_bytes()).sum(),
        }
    }

    fn segment(&self, scope: Scope) -> (u32, Arc<RwLock<Segment>>) {
        let mut segments = self.segments.write();
        let next = segments.all.len() as u32;
        let number = *segments.by_scope.entry(scope).or_insert(next);
        if number == next {
            segments.all.push(Arc::default());
        }
        (number, Arc::clone(&segments.all[number as usize]))
    }

    /// The segments that `viewer` sees, as far as they exist; what it owns may be in `Open` and
    /// `Team` too.
    fn visible(&self, viewer: &AgentKey, owned_only: bool) -> Vec<Arc<RwLock<Segment>>> {
        let segments = self.segments.read();
        let mut scopes = vec![
            Scope::Owner(viewer.clone()),
            Scope::Team(Arc::clone(&viewer.namespace)),
            Scope::Open,
        ];
        if !owned_only {
            scopes.push(Scope::Granted(viewer.clone()));
        }
        let visible: Vec<_> = scopes
            .iter()
            .filter_map(|scope| segments.by_scope.get(scope))
            .map(|number| Arc::clone(&segments.all[*number as usize]))
            .collect();
        visible.iter().for_each(settle);
        visible
    }
}

fn settle(segment: &Arc<RwLock<Segment>>) {
    if segment.read().has_terms_aside() {
        segment.write().sort_terms_in();
    }
}

/// The segment that `document` belongs to.
fn home_of(document: &Document) -> Scope {
    let owner = &document.owner;
    match document.access {
        Access::Private | Access::Shared => Scope::Owner(owner.clone()),
        Access::Team => Scope::Team(Arc::clone(&owner.namespace)),
        Access::Public | Access::System => Scope::Open,
    }
}

/// The segments that hold copies of `document`: of agents with a grant who do not see its own.
fn copies_of(document: &Document) -> impl Iterator<Item = Scope> {
    let owner = &document.owner;
    let sees_already = |agent: &AgentKey| match document.access {
        Access::Private | Access::Public | Access::System => true,
        Access::Team => agent.namespace == owner.namespace,
        Access::Shared => false,
    };
    let granted = document.grantees.iter();
    granted
        .filter(move |agent| *agent != owner && !sees_already(agent))
        .map(|agent| Scope::Granted(agent.clone()))
}

#[cfg(test)]
mod tests;
