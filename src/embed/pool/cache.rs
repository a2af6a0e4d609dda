//! Vectors of the latest queries.

use std::num::NonZeroUsize;

use lru::LruCache;
use parking_lot::Mutex;

use crate::config::limits::CACHED_QUERY_BYTES_MAX;
use crate::domain::Vector;

/// Bounded by count and by the length of a query; locked for the time of a look-up.
pub(super) struct Cache(Option<Mutex<LruCache<Box<str>, Vector>>>);

impl Cache {
    /// Room for so many queries; 0 keeps none.
    pub(super) fn new(size: usize) -> Self {
        // The table grows as it fills: a bound of millions costs nothing until it is used.
        Self(NonZeroUsize::new(size).map(|size| {
            let mut queries = LruCache::unbounded();
            queries.resize(size);
            Mutex::new(queries)
        }))
    }

    pub(super) fn get(&self, query: &str) -> Option<Vector> {
        self.0.as_ref()?.lock().get(query).cloned()
    }

    pub(super) fn put(&self, query: &str, vector: &Vector) {
        if let Some(queries) = &self.0
            && query.len() <= CACHED_QUERY_BYTES_MAX
        {
            queries.lock().put(query.into(), vector.clone());
        }
    }
}
