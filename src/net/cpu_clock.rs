//! CPU time of a process: of all its threads, user and system, in nanoseconds.

use std::io;

/// The CPU clock of a process.
#[derive(Debug, Clone, Copy)]
pub struct CpuClock(libc::clockid_t);

impl CpuClock {
    /// The clock of this process.
    pub const OWN: Self = Self(libc::CLOCK_PROCESS_CPUTIME_ID);

    /// The clock of the process with this id.
    pub fn of(pid: u32) -> io::Result<Self> {
        let mut clock = 0;
        // SAFETY: the pointer is to a live clock id.
        let error = unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &raw mut clock) };
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        Ok(Self(clock))
    }

    /// CPU time so far; an error once the process is gone.
    pub fn nanoseconds(self) -> io::Result<u64> {
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

#[cfg(test)]
mod tests {
    use super::CpuClock;

    #[test]
    fn the_clock_of_a_process_goes_while_it_works() {
        let clock = CpuClock::of(std::process::id()).unwrap();
        let before = clock.nanoseconds().unwrap();
        while clock.nanoseconds().unwrap() < before + 1_000_000 {
            std::hint::spin_loop();
        }
        // Larger than any that Linux gives (PID_MAX_LIMIT).
        let absent = CpuClock::of(1 << 23);
        assert!(absent.is_err(), "{absent:?}");
    }
}
