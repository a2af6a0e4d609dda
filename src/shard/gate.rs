//! How many connections the process holds, counted over all shards.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The counts. Shards enter and leave when connections come and go.
#[derive(Debug, Default)]
pub struct Gate {
    websockets: AtomicUsize,
    http: Arc<AtomicUsize>,
}

/// A place that is free again when this is dropped.
#[derive(Debug)]
pub struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A WebSocket's place.
#[derive(Debug)]
pub struct WebSocketPlace(Arc<Gate>);

impl Drop for WebSocketPlace {
    fn drop(&mut self) {
        self.0.websockets.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Gate {
    /// Takes a place for a WebSocket, if fewer than `max` are taken.
    pub fn enter_websocket(self: &Arc<Self>, max: usize) -> Option<WebSocketPlace> {
        enter(&self.websockets, max).then(|| WebSocketPlace(Arc::clone(self)))
    }

    /// Takes a place for a connection that is no WebSocket yet, if fewer than `max` are taken.
    pub fn enter_http(&self, max: usize) -> Option<Place> {
        enter(&self.http, max).then(|| Place(Arc::clone(&self.http)))
    }

    /// WebSockets open now.
    pub fn websockets(&self) -> usize {
        self.websockets.load(Ordering::Relaxed)
    }
}

fn enter(count: &AtomicUsize, max: usize) -> bool {
    count
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            (count < max).then_some(count + 1)
        })
        .is_ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Gate;

    #[test]
    fn a_place_is_free_again_when_its_holder_is_gone() {
        let gate = Arc::new(Gate::default());
        let first = gate.enter_websocket(1).unwrap();
        assert!(gate.enter_websocket(1).is_none());
        assert!(gate.enter_http(1).is_some());
        drop(first);
        assert!(gate.enter_websocket(1).is_some());
        assert_eq!(gate.websockets(), 0);
    }
}
