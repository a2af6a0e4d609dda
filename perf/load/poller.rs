//! epoll, level-triggered: which sockets have something to read, or room to write.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

const EVENTS_MAX: usize = 256;

/// An epoll instance and the events of its latest wait.
pub(crate) struct Poller {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        // Times are met within a microsecond instead of fifty.
        // SAFETY: takes no pointer.
        check(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_000, 0, 0, 0) })?;
        // SAFETY: takes no pointer.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        Ok(Self {
            // SAFETY: the descriptor was just opened and is nobody else's.
            epoll: unsafe { OwnedFd::from_raw_fd(fd) },
            events: Vec::with_capacity(EVENTS_MAX),
        })
    }

    pub(crate) fn add(&self, socket: &impl AsRawFd, key: usize) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, socket, key, libc::EPOLLIN)
    }

    /// Changes whether room to write is reported too.
    pub(crate) fn watch_room(&self, socket: &impl AsRawFd, key: usize, on: bool) -> io::Result<()> {
        let room = if on { libc::EPOLLOUT } else { 0 };
        self.control(libc::EPOLL_CTL_MOD, socket, key, libc::EPOLLIN | room)
    }

    /// Reports nothing of a socket any more but errors.
    pub(crate) fn ignore(&self, socket: &impl AsRawFd, key: usize) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, socket, key, 0)
    }

    fn control(
        &self,
        operation: i32,
        socket: &impl AsRawFd,
        key: usize,
        events: i32,
    ) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: events as u32,
            u64: key as u64,
        };
        // SAFETY: both descriptors are open; the kernel copies the event.
        check(unsafe {
            libc::epoll_ctl(
                self.epoll.as_raw_fd(),
                operation,
                socket.as_raw_fd(),
                &raw mut event,
            )
        })?;
        Ok(())
    }

    /// Waits for events, at most this long; returns how many there are.
    pub(crate) fn wait(&mut self, at_most: Duration) -> io::Result<usize> {
        let timeout = libc::timespec {
            tv_sec: at_most.as_secs() as libc::time_t,
            tv_nsec: libc::c_long::from(at_most.subsec_nanos() as i32),
        };
        // SAFETY: the vector has room for EVENTS_MAX events, the time lives, no signal mask is given.
        let count = check(unsafe {
            libc::epoll_pwait2(
                self.epoll.as_raw_fd(),
                self.events.as_mut_ptr(),
                EVENTS_MAX as i32,
                &raw const timeout,
                std::ptr::null(),
            )
        });
        let count = match count {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            count => count? as usize,
        };
        // SAFETY: the kernel has written that many events.
        unsafe { self.events.set_len(count) };
        Ok(count)
    }

    /// Key of an event of the latest wait, and whether there is something to read (or an error,
    /// which reading will tell).
    pub(crate) fn event(&self, place: usize) -> (usize, bool) {
        let event = self.events[place];
        let readable = event.events & !(libc::EPOLLOUT as u32) != 0;
        (event.u64 as usize, readable)
    }
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}
