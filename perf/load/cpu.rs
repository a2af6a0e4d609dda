//! CPU time of processes, in nanoseconds: all threads, user and system.

use std::io;

/// A process whose CPU time is read.
pub(crate) struct CpuClock(libc::clockid_t);

impl CpuClock {
    /// This process.
    pub(crate) const OWN: Self = Self(libc::CLOCK_PROCESS_CPUTIME_ID);

    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let mut clock = 0;
        // SAFETY: the pointer is to a live clock id.
        let error = unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &raw mut clock) };
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        Ok(Self(clock))
    }

    /// CPU time so far.
    pub(crate) fn nanoseconds(&self) -> io::Result<u64> {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the pointer is to a live timespec.
        if unsafe { libc::clock_gettime(self.0, &raw mut time) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }
}
