//! The backend for kernels and containers that refuse io_uring: edge-triggered epoll.
//!
//! The epoll descriptor itself waits inside tokio's; sockets cost one slot here and nothing there.

mod transfer;

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use socket2::SockRef;
use tokio::io::unix::AsyncFd;

use super::pool::Buffers;
use super::{
    Backend, Event, Gauges, Lease, RECEIVES_PER_TURN, Receive, Sending, Settings, Table, Token,
    peer_of, register,
};

/// Readiness events taken by one system call.
const EVENTS_PER_WAIT: usize = 512;
/// Buffers that one socket may fill in a turn before the others have theirs.
const BUFFERS_PER_TURN: usize = 16;
/// Connections accepted in a turn before the open ones have theirs.
const ACCEPTS_PER_TURN: usize = 128;
/// Marks a listener in the event's data; socket tokens have a zero there.
const LISTENER_BIT: u64 = 1 << 63;

struct Socket {
    fd: OwnedFd,
    mode: Option<Receive>,
    /// The last read did not find the socket empty, or an edge came since.
    readable: bool,
    /// In the ready queue.
    queued: bool,
    sending: Option<Sending>,
}

struct Listening {
    socket: TcpListener,
    number: u8,
    readable: bool,
}

/// Takes a descriptor out of the set; one that is not in it is out already.
fn remove(epoll: &AsyncFd<OwnedFd>, fd: RawFd) {
    // SAFETY: both descriptors are open, and no event is read for a removal.
    unsafe {
        libc::epoll_ctl(
            epoll.as_raw_fd(),
            libc::EPOLL_CTL_DEL,
            fd,
            std::ptr::null_mut(),
        );
    }
}

/// Sockets driven by epoll.
pub struct Epoll {
    epoll: AsyncFd<OwnedFd>,
    sockets: Table<Socket>,
    listeners: Vec<Listening>,
    buffers: Buffers,
    free: Vec<u16>,
    /// Sockets that may have something to read.
    ready: VecDeque<Token>,
    /// Events that came about between two turns.
    pending: Vec<Event>,
    waited: Vec<libc::epoll_event>,
    accept_starved: bool,
    gauges: Gauges,
}

impl Backend for Epoll {
    const NAME: &'static str = "epoll";

    fn open(settings: Settings) -> io::Result<Self> {
        // SAFETY: no pointer is passed; the result is checked.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just given this descriptor to us.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self {
            epoll: register(fd)?,
            sockets: Table::default(),
            listeners: Vec::new(),
            buffers: Buffers::new(settings.buffers, settings.buffer_bytes),
            free: (0..settings.buffers).rev().collect(),
            ready: VecDeque::new(),
            pending: Vec::new(),
            waited: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_PER_WAIT],
            accept_starved: false,
            gauges: Gauges::default(),
        })
    }

    fn listen(&mut self, listener: TcpListener, number: u8) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let data = LISTENER_BIT | self.listeners.len() as u64;
        self.add(
            listener.as_raw_fd(),
            (libc::EPOLLIN | libc::EPOLLET) as u32,
            data,
        )?;
        self.listeners.push(Listening {
            socket: listener,
            number,
            readable: true,
        });
        Ok(())
    }

    fn stop_listening(&mut self) {
        for listener in self.listeners.drain(..) {
            // Another process may have the same socket, and closing ours would leave it registered.
            remove(&self.epoll, listener.socket.as_raw_fd());
        }
    }

    fn is_listening(&self) -> bool {
        !self.listeners.is_empty()
    }

    fn turn(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        events.append(&mut self.pending);
        self.wait()?;
        self.accept(events);
        for _ in 0..self.ready.len().min(RECEIVES_PER_TURN) {
            if self.free.is_empty() {
                self.gauges.pool_exhausted += 1;
                break;
            }
            if let Some(token) = self.ready.pop_front() {
                self.read(token, events);
            }
        }
        Ok(())
    }

    async fn ready(&self) -> io::Result<()> {
        let listening = self.listeners.iter().any(|listener| listener.readable);
        if !self.pending.is_empty()
            || (!self.ready.is_empty() && !self.free.is_empty())
            || (listening && !self.accept_starved)
        {
            return Ok(());
        }
        self.epoll.readable().await?.clear_ready();
        Ok(())
    }

    fn bytes(&mut self, lease: &Lease) -> &mut [u8] {
        self.buffers.slice(lease.buffer, lease.bytes)
    }

    fn release(&mut self, lease: Lease) {
        self.free.push(lease.buffer);
    }

    fn receive(&mut self, token: Token, mode: Receive) {
        if let Some(socket) = self.sockets.get_mut(token) {
            socket.mode = Some(mode);
            self.enqueue(token);
        }
    }

    fn pause(&mut self, token: Token) {
        if let Some(socket) = self.sockets.get_mut(token) {
            socket.mode = None;
        }
    }

    fn send(&mut self, token: Token, buffer: Vec<u8>) {
        let Some(socket) = self.sockets.get_mut(token) else {
            return;
        };
        debug_assert!(socket.sending.is_none(), "one send in flight");
        socket.sending = Some(Sending { buffer, sent: 0 });
        self.write(token);
    }

    fn shutdown(&mut self, token: Token) {
        if let Some(socket) = self.sockets.get(token) {
            // An error means that the connection is already gone, which reception reports.
            let _ = SockRef::from(&socket.fd).shutdown(std::net::Shutdown::Write);
        }
    }

    fn close(&mut self, token: Token) {
        if self.sockets.remove(token).is_some() {
            self.pending.retain(|event| match event {
                Event::Sent { token: other, .. } | Event::Ended { token: other } => *other != token,
                Event::Received { .. } | Event::Accepted { .. } => true,
            });
            self.accept_starved = false;
        }
    }

    fn detach(&mut self, token: Token) -> Option<OwnedFd> {
        if self.sockets.get(token)?.sending.is_some() {
            return None;
        }
        let socket = self.sockets.remove(token)?;
        // SAFETY: both descriptors are open, and EPOLL_CTL_DEL ignores the event pointer.
        unsafe {
            libc::epoll_ctl(
                self.epoll.as_raw_fd(),
                libc::EPOLL_CTL_DEL,
                socket.fd.as_raw_fd(),
                std::ptr::null_mut(),
            );
        }
        Some(socket.fd)
    }

    fn peer(&self, token: Token) -> Option<SocketAddr> {
        peer_of(&self.sockets.get(token)?.fd)
    }

    fn tick(&mut self) {
        self.accept_starved = false;
    }

    fn gauges(&self) -> Gauges {
        Gauges {
            sockets: self.sockets.len() as u64,
            buffers: u64::from(self.buffers.count()),
            buffers_lent: u64::from(self.buffers.count()) - self.free.len() as u64,
            ..self.gauges
        }
    }
}

impl Epoll {
    fn add(&self, fd: RawFd, interest: u32, data: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: interest,
            u64: data,
        };
        // SAFETY: both descriptors are open and the event outlives the call.
        let result =
            unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &mut event) };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Collects edges until the kernel has no more.
    fn wait(&mut self) -> io::Result<()> {
        loop {
            // SAFETY: the vector has EVENTS_PER_WAIT initialised elements for the kernel to fill.
            let count = unsafe {
                libc::epoll_wait(
                    self.epoll.as_raw_fd(),
                    self.waited.as_mut_ptr(),
                    EVENTS_PER_WAIT as i32,
                    0,
                )
            };
            if count < 0 {
                let error = io::Error::last_os_error();
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                return Err(error);
            }
            self.gauges.ring_depth = count as u64;
            for position in 0..count as usize {
                let libc::epoll_event { events, u64: data } = self.waited[position];
                self.edge(events as i32, data);
            }
            if (count as usize) < EVENTS_PER_WAIT {
                return Ok(());
            }
        }
    }

    fn edge(&mut self, edges: i32, data: u64) {
        if data & LISTENER_BIT != 0 {
            if let Some(listener) = self.listeners.get_mut((data & !LISTENER_BIT) as usize) {
                listener.readable = true;
            }
            return;
        }
        let token = Token {
            index: data as u32,
            generation: (data >> 32) as u32,
        };
        let Some(socket) = self.sockets.get_mut(token) else {
            return;
        };
        if edges & (libc::EPOLLIN | libc::EPOLLHUP | libc::EPOLLERR | libc::EPOLLRDHUP) != 0 {
            socket.readable = true;
            self.enqueue(token);
        }
        if edges & (libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR) != 0 {
            self.write(token);
        }
    }

    fn enqueue(&mut self, token: Token) {
        if let Some(socket) = self.sockets.get_mut(token)
            && socket.readable
            && socket.mode.is_some()
            && !socket.queued
        {
            socket.queued = true;
            self.ready.push_back(token);
        }
    }
}

/// No descriptor or no memory for one: accepting again at once would spin.
pub(super) fn is_exhaustion(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}
