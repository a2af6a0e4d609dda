//! What the kernel tells of this process.

use std::path::Path;

use crate::telemetry::process::resident_bytes;

/// Clock ticks of `/proc` in a second (`USER_HZ`), the same on every architecture that we run on.
const TICKS_PER_SECOND: f64 = 100.0;

/// What was read; what this kernel or container hides is absent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kernel {
    /// CPU time of user code since the start, in seconds.
    pub user_seconds: Option<f64>,
    /// CPU time of the kernel for the process.
    pub system_seconds: Option<f64>,
    /// Resident memory.
    pub resident_bytes: Option<u64>,
    /// Read from devices since the start.
    pub read_bytes: Option<u64>,
    /// Written to devices.
    pub written_bytes: Option<u64>,
    /// Free on the file system of the data directory.
    pub free_bytes: Option<u64>,
    /// Its size.
    pub size_bytes: Option<u64>,
    /// Descriptors in use.
    pub open_files: Option<u64>,
    /// Descriptors allowed.
    pub open_files_max: Option<u64>,
    /// Load average of a minute.
    pub load_average: Option<f64>,
}

impl Kernel {
    /// Reads everything, some ten small files of `/proc`.
    pub fn read(data_dir: &Path) -> Self {
        let text = |name: &str| std::fs::read_to_string(name).unwrap_or_default();
        let (user_seconds, system_seconds) = match cpu(&text("/proc/self/stat")) {
            Some((user, system)) => (Some(user), Some(system)),
            None => (None, None),
        };
        let io = text("/proc/self/io");
        let space = rustix::fs::statvfs(data_dir).ok();
        Self {
            user_seconds,
            system_seconds,
            resident_bytes: resident_bytes(),
            read_bytes: member(&io, "read_bytes:"),
            written_bytes: member(&io, "write_bytes:"),
            free_bytes: space.as_ref().map(|space| space.f_bavail * space.f_frsize),
            size_bytes: space.map(|space| space.f_blocks * space.f_frsize),
            open_files: open_files(),
            open_files_max: member(&text("/proc/self/limits"), "Max open files"),
            load_average: load_average(),
        }
    }
}

/// Load average of the machine over a minute.
pub fn load_average() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split(' ').next()?.parse().ok()
}

/// User and system seconds of a line of `/proc/PID/stat`: members 14 and 15. The second one is a name
/// in parentheses that may hold anything.
fn cpu(stat: &str) -> Option<(f64, f64)> {
    let mut members = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let mut seconds = || Some(members.next()?.parse::<f64>().ok()? / TICKS_PER_SECOND);
    Some((seconds()?, seconds()?))
}

/// The number behind a name that begins a line.
fn member(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Descriptors in use. Since Linux 6.2 the directory's size tells; before that it is counted.
fn open_files() -> Option<u64> {
    const DIRECTORY: &str = "/proc/self/fd";
    match std::fs::metadata(DIRECTORY).ok()?.len() {
        0 => Some(std::fs::read_dir(DIRECTORY).ok()?.count() as u64),
        count => Some(count),
    }
}

#[cfg(test)]
mod tests {
    use super::{Kernel, cpu, member};

    #[test]
    fn a_name_with_spaces_and_parentheses_moves_nothing() {
        let stat = "7 (a) (b c) S 1 7 7 0 -1 4194560 1 2 3 4 250 75 0 0 20 0 1 0 5 6 7";
        assert_eq!(cpu(stat), Some((2.5, 0.75)));
        assert_eq!(cpu("nonsense"), None);
        let limits = "Max open files            1024                 4096                 files";
        assert_eq!(member(limits, "Max open files"), Some(1024));
        assert_eq!(member("Max open files   unlimited", "Max open files"), None);
    }

    #[test]
    fn this_process_is_known() {
        let before = Kernel::read(std::path::Path::new("/"));
        let _file = std::fs::File::open("/proc/self/stat").unwrap();
        let after = Kernel::read(std::path::Path::new("/"));
        assert!(before.resident_bytes.unwrap() > 100_000 && before.size_bytes > before.free_bytes);
        assert!(after.user_seconds.unwrap() >= before.user_seconds.unwrap());
        assert!(after.open_files.unwrap() >= 4 && after.open_files <= after.open_files_max);
        assert!(after.load_average.unwrap() >= 0.0);
    }
}
