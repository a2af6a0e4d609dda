//! What the ring asks of the kernel.

use std::io;
use std::os::fd::AsRawFd;

use io_uring::{opcode, squeue, types};

use super::super::{Receive, Token};
use super::socket::{Kind, Operation, Reception};
use super::{BUFFER_GROUP, Uring};

impl Uring {
    pub(super) fn push(&mut self, entry: impl Into<EntryOf>, operation: Operation) {
        let entry = entry.into().0.user_data(operation.pack());
        // SAFETY: what an entry points to (a send's buffer, the buffer ring) lives in this struct
        // until the entry's completion; see `reap` and `drop`.
        if !self.backlog.is_empty() || unsafe { self.ring.submission().push(&entry) }.is_err() {
            self.backlog.push(entry);
        }
    }

    pub(super) fn drain_backlog(&mut self) {
        let mut queue = self.ring.submission();
        let taken = self
            .backlog
            .iter()
            // SAFETY: as in `push`.
            .take_while(|entry| unsafe { queue.push(entry) }.is_ok())
            .count();
        drop(queue);
        self.backlog.drain(..taken);
    }

    /// Submits, and runs the task work that makes completions appear.
    pub(super) fn enter(&mut self) -> io::Result<()> {
        let count = {
            let mut queue = self.ring.submission();
            queue.sync();
            queue.len() as u32
        };
        self.gauges.ring_depth = u64::from(count);
        self.enter_with(count)
    }

    /// Has the kernel do the work that it has for this thread, which is what completes operations.
    pub(super) fn collect(&self) -> io::Result<()> {
        self.enter_with(0)
    }

    /// Submits so many entries, which the queue holds, and does the kernel's work for this thread.
    fn enter_with(&self, count: u32) -> io::Result<()> {
        const IORING_ENTER_GETEVENTS: u32 = 1;
        // SAFETY: no argument is passed, and the count is what the queue holds.
        let entered = unsafe {
            self.ring
                .submitter()
                .enter::<libc::sigset_t>(count, 0, IORING_ENTER_GETEVENTS, None)
        };
        match entered {
            Ok(_) => Ok(()),
            // EBUSY: completions wait to be drained; EINTR and EAGAIN: try again in the next turn.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EBUSY | libc::EINTR | libc::EAGAIN)
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn arm(&mut self, token: Token, mode: Receive) {
        let Some(socket) = self.sockets.get_mut(token) else {
            return;
        };
        socket.reception = Reception::Armed;
        let fd = types::Fd(socket.fd.as_raw_fd());
        let entry = match mode {
            Receive::Stream => opcode::RecvMulti::new(fd, BUFFER_GROUP).build(),
            Receive::Once => {
                opcode::Recv::new(fd, std::ptr::null_mut(), self.buffers.buffer_bytes())
                    .buf_group(BUFFER_GROUP)
                    .build()
                    .flags(squeue::Flags::BUFFER_SELECT)
            }
        };
        self.push(EntryOf(entry), Operation::socket(Kind::Receive, token));
    }

    /// Has as many starved sockets receive again as there are buffers: the others would only be told once more
    /// that there is none.
    pub(super) fn rearm_starved(&mut self) {
        let room = usize::from(self.buffers.count() - self.buffers.lent());
        for _ in 0..room.min(self.starved.len()) {
            if let Some(token) = self.starved.pop_front()
                && let Some(socket) = self.sockets.get(token)
                && socket.reception == Reception::Idle
                && let Some(mode) = socket.wanted
            {
                self.arm(token, mode);
            }
        }
    }

    pub(super) fn arm_listeners(&mut self) {
        if self.accept_starved || self.stopped {
            return;
        }
        for index in 0..self.listeners.len() {
            let listener = &mut self.listeners[index];
            if let Some(socket) = &listener.socket
                && !listener.armed
            {
                listener.armed = true;
                let fd = types::Fd(socket.as_raw_fd());
                let entry = opcode::AcceptMulti::new(fd)
                    .flags(libc::SOCK_CLOEXEC)
                    .build();
                self.push(EntryOf(entry), Operation::accept(index as u32));
            }
        }
    }

    pub(super) fn submit_send(&mut self, token: Token) {
        let Some(socket) = self.sockets.get_mut(token) else {
            return;
        };
        let Some(sending) = &socket.sending else {
            return;
        };
        let rest = sending.rest();
        let bytes = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        let entry = opcode::Send::new(types::Fd(socket.fd.as_raw_fd()), rest.as_ptr(), bytes)
            .flags(libc::MSG_NOSIGNAL)
            .build();
        self.push(EntryOf(entry), Operation::socket(Kind::Send, token));
    }
}

/// A submission of any opcode.
pub(super) struct EntryOf(squeue::Entry);

impl From<opcode::AsyncCancel> for EntryOf {
    fn from(operation: opcode::AsyncCancel) -> Self {
        Self(operation.build())
    }
}

impl From<opcode::AsyncCancel2> for EntryOf {
    fn from(operation: opcode::AsyncCancel2) -> Self {
        Self(operation.build())
    }
}
