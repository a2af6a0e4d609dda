//! CPU of the server, of which a report tells what an answer took.

use anyhow::Context;
use tmws::net::cpu_clock::CpuClock;

/// The CPU clock of the server's process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServerCpu {
    pid: u32,
    clock: CpuClock,
}

impl ServerCpu {
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        let clock = CpuClock::of(pid).with_context(|| format!("there is no process {pid}"))?;
        Ok(Self { pid, clock })
    }

    /// CPU time of all its threads; an error once it is gone, whatever else it was that broke off.
    pub(crate) fn nanoseconds(self) -> anyhow::Result<u64> {
        let Self { pid, clock } = self;
        clock
            .nanoseconds()
            .with_context(|| format!("the server, process {pid}, has ended"))
    }
}
