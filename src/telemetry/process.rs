//! The state of the process: since when it serves, and whether it can.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

/// Facts about the process that every shard reads.
#[derive(Debug)]
pub struct Process {
    started: Instant,
    /// Name of the I/O backend.
    pub io: &'static str,
    /// Shards.
    pub shards: usize,
    /// Name of the store's backend.
    pub store: &'static str,
    draining: AtomicBool,
    store_failed: AtomicBool,
    store_failure: Mutex<Option<String>>,
    nodes_failed: AtomicBool,
    nodes_failure: Mutex<Option<String>>,
}

impl Process {
    /// A process that begins to serve.
    pub fn new(io: &'static str, shards: usize, store: &'static str) -> Self {
        Self {
            started: Instant::now(),
            io,
            shards,
            store,
            draining: AtomicBool::new(false),
            store_failed: AtomicBool::new(false),
            store_failure: Mutex::new(None),
            nodes_failed: AtomicBool::new(false),
            nodes_failure: Mutex::new(None),
        }
    }

    /// Time since the start.
    pub fn uptime_seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Tells that the server is stopping.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// True once the server is stopping.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Keeps the outcome of the latest probe of the store.
    pub fn set_store_failure(&self, failure: Option<String>) {
        self.store_failed
            .store(failure.is_some(), Ordering::Relaxed);
        *self.store_failure.lock() = failure;
    }

    /// Why the store failed its latest probe; `None` if it answered.
    pub fn store_failure(&self) -> Option<String> {
        if !self.store_failed.load(Ordering::Relaxed) {
            return None;
        }
        self.store_failure.lock().clone()
    }

    /// Keeps why other nodes cannot be reached; `None` if they can, or if there are none.
    pub fn set_nodes_failure(&self, failure: Option<String>) {
        self.nodes_failed
            .store(failure.is_some(), Ordering::Relaxed);
        *self.nodes_failure.lock() = failure;
    }

    /// Why other nodes cannot be reached.
    pub fn nodes_failure(&self) -> Option<String> {
        if !self.nodes_failed.load(Ordering::Relaxed) {
            return None;
        }
        self.nodes_failure.lock().clone()
    }

    /// True if new work can be served.
    pub fn is_ready(&self) -> bool {
        !self.is_draining() && !self.store_failed.load(Ordering::Relaxed)
    }

    /// `healthy`, `degraded` or `draining`.
    pub fn status(&self) -> &'static str {
        if self.is_draining() {
            "draining"
        } else if self.store_failed.load(Ordering::Relaxed)
            || self.nodes_failed.load(Ordering::Relaxed)
        {
            "degraded"
        } else {
            "healthy"
        }
    }
}

/// Resident memory of this process.
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::{Process, resident_bytes};

    #[test]
    fn readiness_follows_the_store_and_ends_with_the_drain() {
        let process = Process::new("epoll", 1, "sqlite");
        assert!(process.is_ready());
        process.set_store_failure(Some("disk full".into()));
        assert_eq!((process.is_ready(), process.status()), (false, "degraded"));
        assert_eq!(process.store_failure().as_deref(), Some("disk full"));
        process.set_store_failure(None);
        assert!(process.is_ready());
        process.set_draining();
        assert_eq!((process.is_ready(), process.status()), (false, "draining"));
    }

    #[test]
    fn resident_memory_is_read_from_the_kernel() {
        assert!(resident_bytes().unwrap() > 100_000);
    }
}
