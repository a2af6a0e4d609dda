//! Memory of the server, as the kernel counts it.

use std::fs;

use anyhow::Context;
use serde::Serialize;

/// One look at /proc/PID/smaps_rollup. Memory of the kernel (sockets, rings) is not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Memory {
    /// Resident: anonymous memory and pages of files, such as code.
    pub(crate) rss_bytes: u64,
    /// Anonymous: heap, stacks, buffers.
    pub(crate) anonymous_bytes: u64,
    /// The part of it in huge pages: it may hold room that nothing uses yet.
    pub(crate) huge_bytes: u64,
}

impl Memory {
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).context(path)?;
        let field = |name: &str| -> anyhow::Result<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let kib: u64 = line
                .and_then(|line| line.trim_start_matches(':').split_whitespace().next())
                .and_then(|number| number.parse().ok())
                .with_context(|| format!("smaps_rollup has no {name}"))?;
            Ok(kib * 1024)
        };
        Ok(Self {
            rss_bytes: field("Rss")?,
            anonymous_bytes: field("Pss_Anon")?,
            huge_bytes: field("AnonHugePages")?,
        })
    }
}
