//! The disk alone: how long it takes to make a page durable.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use super::super::client::Failure;

/// Bytes of a write: a page of the store's log.
const PAGE_BYTES: usize = 4_096;
/// Writes at most: a disk that keeps nothing safe answers in microseconds.
const WRITES_MAX: usize = 5_000;

/// The median of write and sync of one page, in microseconds, over `time`. Blocks.
pub(super) fn sync_us(dir: &Path, time: Duration) -> Result<f64, Failure> {
    let measure = || -> std::io::Result<Vec<f64>> {
        let mut file = File::create(dir.join("sync"))?;
        let page = [0x5a; PAGE_BYTES];
        let started = Instant::now();
        let mut times = Vec::new();
        while times.is_empty() || (started.elapsed() < time && times.len() < WRITES_MAX) {
            let begun = Instant::now();
            file.write_all(&page)?;
            file.sync_data()?;
            times.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        Ok(times)
    };
    let mut times =
        measure().map_err(|error| Failure::Failed(format!("{}: {error}", dir.display())))?;
    times.sort_by(f64::total_cmp);
    // As exact as a disk is even.
    Ok(times[times.len() / 2].max(1.0).round())
}

/// True if what is written in `dir` is kept in memory only, so that a sync costs nothing.
pub(super) fn is_in_memory(dir: &Path) -> bool {
    /// `TMPFS_MAGIC` of linux/magic.h.
    const TMPFS: i128 = 0x0102_1994;
    rustix::fs::statfs(dir).is_ok_and(|system| i128::from(system.f_type) == TMPFS)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{is_in_memory, sync_us};

    #[test]
    fn a_sync_takes_time() {
        let dir = tempfile::tempdir().unwrap();
        assert!(sync_us(dir.path(), Duration::ZERO).unwrap() > 0.0);
        assert!(sync_us(&dir.path().join("absent"), Duration::ZERO).is_err());
        assert!(!is_in_memory(std::path::Path::new("/proc")));
    }
}
