//! What each completion means for its socket or listener.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use io_uring::cqueue;

use super::super::epoll::is_exhaustion;
use super::super::{Event, Lease, Receive, Token};
use super::Uring;
use super::socket::{Kind, Operation, Reception, Socket};

impl Uring {
    pub(super) fn complete(&mut self, data: u64, result: i32, flags: u32, events: &mut Vec<Event>) {
        let operation = Operation::unpack(data);
        match operation.kind {
            Kind::Accept => self.accepted(operation.token.index as usize, result, flags, events),
            Kind::Receive => self.received(operation.token, result, flags, events),
            Kind::Send => self.sent(operation.token, result, events),
            Kind::Cancel => {}
        }
    }

    fn accepted(&mut self, index: usize, result: i32, flags: u32, events: &mut Vec<Event>) {
        let more = cqueue::more(flags);
        if result >= 0 {
            // SAFETY: a successful accept gives us a descriptor of our own.
            let fd = unsafe { OwnedFd::from_raw_fd(result) };
            let Some(listener) = self.listeners.get(index) else {
                return;
            };
            let number = listener.number;
            let token = self.sockets.insert(Socket::new(fd));
            events.push(Event::Accepted {
                token,
                listener: number,
            });
        } else if is_exhaustion(&io::Error::from_raw_os_error(-result)) {
            self.accept_starved = true;
            self.gauges.accept_paused += 1;
        }
        if !more && let Some(listener) = self.listeners.get_mut(index) {
            listener.armed = false;
            self.arm_listeners();
        }
    }

    fn received(&mut self, token: Token, result: i32, flags: u32, events: &mut Vec<Event>) {
        let lease = cqueue::buffer_select(flags).map(|buffer| {
            self.buffers.lend();
            Lease {
                buffer,
                bytes: result.max(0) as u32,
            }
        });
        let Some(socket) = self.sockets.get_mut(token) else {
            // A late completion: the slot has passed on.
            self.buffers.release_lease(lease);
            return;
        };
        let ended = !cqueue::more(flags);
        if ended {
            socket.reception = Reception::Idle;
        }
        if socket.closing {
            self.buffers.release_lease(lease);
            self.reap(token);
            return;
        }
        match (result, lease) {
            (1.., Some(lease)) => {
                events.push(Event::Received { token, lease });
                if ended {
                    self.reception_ended(token);
                }
            }
            (_, lease) => {
                self.buffers.release_lease(lease);
                match -result {
                    libc::ENOBUFS => {
                        self.gauges.pool_exhausted += 1;
                        self.starved.push_back(token);
                    }
                    // Cancelled by `pause`, or the multishot gave way: go on if it is wanted again.
                    libc::ECANCELED | libc::EAGAIN | libc::EINTR => self.rearm_if_wanted(token),
                    // The peer's end (0) or a broken connection.
                    _ => {
                        socket.wanted = None;
                        events.push(Event::Ended { token });
                    }
                }
            }
        }
    }

    /// The kernel ended a reception that delivered: done if it was for one, else it goes on.
    fn reception_ended(&mut self, token: Token) {
        let Some(socket) = self.sockets.get_mut(token) else {
            return;
        };
        if socket.wanted == Some(Receive::Once) {
            socket.wanted = None;
        }
        self.rearm_if_wanted(token);
    }

    fn rearm_if_wanted(&mut self, token: Token) {
        if let Some(mode) = self.sockets.get(token).and_then(|socket| socket.wanted) {
            self.arm(token, mode);
        }
    }

    fn sent(&mut self, token: Token, result: i32, events: &mut Vec<Event>) {
        let Some(socket) = self.sockets.get_mut(token) else {
            return;
        };
        if socket.closing {
            socket.sending = None;
            self.reap(token);
            return;
        }
        let Some(sending) = &mut socket.sending else {
            return;
        };
        match result {
            0.. => {
                if !sending.advance(result as usize) {
                    self.submit_send(token);
                } else if let Some(sending) = socket.sending.take() {
                    events.push(Event::Sent {
                        token,
                        buffer: sending.into_empty(),
                    });
                }
            }
            _ if matches!(-result, libc::EAGAIN | libc::EINTR) => self.submit_send(token),
            _ => {
                socket.sending = None;
                events.push(Event::Ended { token });
            }
        }
    }

    /// Frees a closed slot when the kernel holds nothing of it any more.
    pub(super) fn reap(&mut self, token: Token) {
        if self
            .sockets
            .get(token)
            .is_some_and(|socket| socket.closing && socket.operations() == 0)
        {
            self.sockets.remove(token);
            if self.accept_starved {
                self.accept_starved = false;
                self.arm_listeners();
            }
        }
    }
}
