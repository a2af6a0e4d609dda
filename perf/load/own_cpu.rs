//! The load's own CPU. With its core near busy, the load is what is measured, not the server.

use std::io;
use std::ops::Add;
use std::time::{Duration, Instant};

use serde::Serialize;
use tmws::net::cpu_clock::CpuClock;

use crate::report::rounded;

/// CPU time of all threads of this process, and the time in which it was spent.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(into = "Figures")]
pub(crate) struct OwnCpu {
    pub(crate) nanoseconds: u64,
    time: Duration,
}

/// What a report tells of it.
#[derive(Serialize)]
struct Figures {
    own_cpu_ms: f64,
    /// Of one core; several threads may take more than 1.
    own_cpu_share: f64,
}

impl From<OwnCpu> for Figures {
    fn from(OwnCpu { nanoseconds, time }: OwnCpu) -> Self {
        Self {
            own_cpu_ms: rounded(nanoseconds as f64 / 1e6),
            own_cpu_share: rounded(nanoseconds as f64 / time.as_nanos().max(1) as f64),
        }
    }
}

impl Add for OwnCpu {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            nanoseconds: self.nanoseconds + other.nanoseconds,
            time: self.time + other.time,
        }
    }
}

/// Measures it from its start on.
pub(crate) struct Stopwatch {
    start: Instant,
    nanoseconds: u64,
}

impl Stopwatch {
    pub(crate) fn start() -> io::Result<Self> {
        Ok(Self {
            start: Instant::now(),
            nanoseconds: CpuClock::OWN.nanoseconds()?,
        })
    }

    /// Time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// CPU since the start.
    pub(crate) fn read(&self) -> io::Result<OwnCpu> {
        Ok(OwnCpu {
            time: self.elapsed(),
            nanoseconds: CpuClock::OWN.nanoseconds()? - self.nanoseconds,
        })
    }
}
