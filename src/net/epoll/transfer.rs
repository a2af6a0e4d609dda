//! Moving data: accept, read and write until the kernel has no more.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};

use socket2::SockRef;

use super::super::{Event, Lease, Receive, Token};
use super::{ACCEPTS_PER_TURN, BUFFERS_PER_TURN, Epoll, Socket, is_exhaustion};

impl Epoll {
    pub(super) fn accept(&mut self, events: &mut Vec<Event>) {
        if self.accept_starved {
            return;
        }
        for index in 0..self.listeners.len() {
            for _ in 0..ACCEPTS_PER_TURN {
                let listener = &mut self.listeners[index];
                if !listener.readable {
                    break;
                }
                let number = listener.number;
                match listener.socket.accept() {
                    Ok((stream, _)) => {
                        if let Some(token) = self.adopt(stream) {
                            events.push(Event::Accepted {
                                token,
                                listener: number,
                            });
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        listener.readable = false;
                    }
                    Err(error) if is_exhaustion(&error) => {
                        self.accept_starved = true;
                        self.gauges.accept_paused += 1;
                        return;
                    }
                    // The peer gave up between its handshake and now.
                    Err(_) => {}
                }
            }
        }
    }

    fn adopt(&mut self, stream: std::net::TcpStream) -> Option<Token> {
        stream.set_nonblocking(true).ok()?;
        let fd = OwnedFd::from(stream);
        let raw = fd.as_raw_fd();
        let token = self.sockets.insert(Socket {
            fd,
            mode: None,
            readable: true,
            queued: false,
            sending: None,
        });
        let data = u64::from(token.index) | u64::from(token.generation) << 32;
        let interest = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
        if self.add(raw, interest as u32, data).is_err() {
            self.sockets.remove(token);
            return None;
        }
        Some(token)
    }

    pub(super) fn read(&mut self, token: Token, events: &mut Vec<Event>) {
        let Some(socket) = self.sockets.get_mut(token) else {
            return;
        };
        socket.queued = false;
        for _ in 0..BUFFERS_PER_TURN {
            let Some(mode) = socket.mode else { return };
            let Some(buffer) = self.free.pop() else {
                self.gauges.pool_exhausted += 1;
                break;
            };
            let room = self.buffers.slice(buffer, self.buffers.buffer_bytes());
            match receive_into(&socket.fd, room) {
                Ok(0) => {
                    self.free.push(buffer);
                    socket.mode = None;
                    events.push(Event::Ended { token });
                    return;
                }
                Ok(bytes) => {
                    if mode == Receive::Once {
                        socket.mode = None;
                    }
                    events.push(Event::Received {
                        token,
                        lease: Lease {
                            buffer,
                            bytes: bytes as u32,
                        },
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.free.push(buffer);
                    socket.readable = false;
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => self.free.push(buffer),
                Err(_) => {
                    self.free.push(buffer);
                    socket.mode = None;
                    events.push(Event::Ended { token });
                    return;
                }
            }
        }
        self.enqueue(token);
    }

    pub(super) fn write(&mut self, token: Token) {
        let Some(socket) = self.sockets.get_mut(token) else {
            return;
        };
        let Some(sending) = &mut socket.sending else {
            return;
        };
        loop {
            match SockRef::from(&socket.fd).send_with_flags(sending.rest(), libc::MSG_NOSIGNAL) {
                Ok(bytes) => {
                    if sending.advance(bytes) {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    socket.sending = None;
                    socket.mode = None;
                    self.pending.push(Event::Ended { token });
                    return;
                }
            }
        }
        if let Some(sending) = socket.sending.take() {
            self.pending.push(Event::Sent {
                token,
                buffer: sending.into_empty(),
            });
        }
    }
}

fn receive_into(fd: &OwnedFd, room: &mut [u8]) -> io::Result<usize> {
    // SAFETY: `MaybeUninit<u8>` has the layout of `u8`, and recv only writes initialised bytes.
    let room = unsafe { &mut *(room as *mut [u8] as *mut [MaybeUninit<u8>]) };
    SockRef::from(fd).recv(room)
}
