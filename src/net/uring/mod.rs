//! The io_uring backend: multishot accept and receive into provided buffers, an eventfd towards
//! tokio.
//!
//! Invariants:
//! - The ring is made and driven by one thread (`SINGLE_ISSUER`, `DEFER_TASKRUN`); completions
//!   appear only inside [`Backend::turn`].
//! - The eventfd, not the ring's descriptor, waits in tokio's epoll: the ring's own descriptor is
//!   never reported readable while its task work is deferred. It is silenced while turns run and
//!   is never read; each signal is an edge.
//! - A slot is freed, and its descriptor closed, when the last operation on it has completed.
//!
//! Needs Linux 6.1 (`DEFER_TASKRUN`); older kernels and seccomp profiles that refuse the calls
//! make [`Backend::open`] fail, and the server takes epoll.

mod completions;
mod ring;
mod socket;
mod submissions;

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use io_uring::{IoUring, opcode, squeue, types};
use tokio::io::unix::AsyncFd;

use super::{
    Backend, Event, Gauges, Lease, RECEIVES_PER_TURN, Receive, Sending, Settings, Table, Token,
    peer_of, register,
};
use ring::BufferRing;
use socket::{Kind, Operation, Reception, Socket};

/// Submissions that one enter takes. More are queued and taken by the next.
const SUBMISSIONS: u32 = 1024;
/// Completions that the ring holds before the kernel keeps them aside: each connection can have a
/// receive, a send and a cancel complete in one turn.
const COMPLETIONS: u32 = 8192;
/// The one group of provided buffers.
const BUFFER_GROUP: u16 = 0;
/// Enters in one turn: a flood on many sockets must not keep the shard from answering.
const ENTERS_PER_TURN: usize = 64;

struct Listening {
    /// None once it was closed.
    socket: Option<TcpListener>,
    number: u8,
    /// The kernel may accept for it.
    armed: bool,
}

/// Sockets driven by one ring.
pub struct Uring {
    // Dropped first: the kernel lets go of the buffers below when the ring is gone.
    ring: IoUring,
    wake: AsyncFd<OwnedFd>,
    buffers: BufferRing,
    sockets: Table<Socket>,
    listeners: Vec<Listening>,
    /// Submissions that found the queue full.
    backlog: Vec<squeue::Entry>,
    completed: Vec<(u64, i32, u32)>,
    /// Sockets whose reception ended for want of buffers, the longest first.
    starved: VecDeque<Token>,
    accept_starved: bool,
    stopped: bool,
    gauges: Gauges,
}

impl Backend for Uring {
    const NAME: &'static str = "uring";

    fn open(settings: Settings) -> io::Result<Self> {
        let ring = new_ring()?;
        let buffers = BufferRing::register(&ring, settings, BUFFER_GROUP)?;
        // SAFETY: no pointer is passed; the result is checked.
        let wake = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if wake < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just given this descriptor to us.
        let wake = unsafe { OwnedFd::from_raw_fd(wake) };
        ring.submitter().register_eventfd(wake.as_raw_fd())?;
        Ok(Self {
            ring,
            wake: register(wake)?,
            buffers,
            sockets: Table::default(),
            listeners: Vec::new(),
            backlog: Vec::new(),
            completed: Vec::new(),
            starved: VecDeque::new(),
            accept_starved: false,
            stopped: false,
            gauges: Gauges::default(),
        })
    }

    fn listen(&mut self, listener: TcpListener, number: u8) -> io::Result<()> {
        // A non-blocking descriptor would make the ring answer EAGAIN instead of waiting.
        listener.set_nonblocking(false)?;
        self.listeners.push(Listening {
            socket: Some(listener),
            number,
            armed: false,
        });
        self.arm_listeners();
        Ok(())
    }

    fn stop_listening(&mut self) {
        self.stopped = true;
        for index in 0..self.listeners.len() {
            let operation = Operation::accept(index as u32);
            self.push(
                opcode::AsyncCancel::new(operation.pack()),
                Operation::cancel(),
            );
        }
        // The descriptor may close at once: the pending accept holds the socket open until its
        // cancellation, so the cancellation is submitted first.
        let _ = self.enter();
        for listener in &mut self.listeners {
            listener.socket = None;
        }
    }

    fn is_listening(&self) -> bool {
        self.listeners.iter().any(|listener| listener.armed)
    }

    fn turn(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        self.ring.completion().disable_eventfd();
        self.rearm_starved();
        for _ in 0..ENTERS_PER_TURN {
            self.drain_backlog();
            self.enter()?;
            let mut completed = std::mem::take(&mut self.completed);
            completed.extend(
                self.ring
                    .completion()
                    .map(|entry| (entry.user_data(), entry.result(), entry.flags())),
            );
            let any = !completed.is_empty();
            for (data, result, flags) in completed.drain(..) {
                self.complete(data, result, flags, events);
            }
            self.completed = completed;
            let submission = self.ring.submission();
            // The flag alone may be of work that is done: see `ready`.
            let more = any && submission.taskrun();
            let over = submission.is_empty() && !more && self.backlog.is_empty();
            if over || usize::from(self.buffers.lent()) >= RECEIVES_PER_TURN {
                break;
            }
        }
        Ok(())
    }

    async fn ready(&self) -> io::Result<()> {
        // SAFETY: `ready` borrows the backend, so no turn shares the completion queue meanwhile.
        let mut queue = unsafe { self.ring.completion_shared() };
        queue.enable_eventfd();
        // The signal may have been suppressed just before: the flag must be visible before we look.
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        // SAFETY: as above, for the submission queue, which is only looked at.
        let submission = unsafe { self.ring.submission_shared() };
        let mut work = !queue.is_empty()
            || !submission.is_empty()
            || !self.backlog.is_empty()
            || (!self.starved.is_empty() && self.buffers.lent() == 0);
        if !work && submission.taskrun() {
            // The kernel queues work for this thread and then sets the flag. A thread that does the
            // work in between finds it set with nothing to do, for as long as nothing follows; so the
            // kernel is asked to do what there is. What comes from here on is signalled.
            self.collect()?;
            queue.sync();
            work = !queue.is_empty();
        }
        drop((queue, submission));
        if work {
            // Calls that wait for the store go on before the next turn, as they do after it.
            tokio::task::yield_now().await;
        } else {
            self.wake.readable().await?.clear_ready();
        }
        Ok(())
    }

    fn bytes(&mut self, lease: &Lease) -> &mut [u8] {
        self.buffers.slice(lease.buffer, lease.bytes)
    }

    fn release(&mut self, lease: Lease) {
        self.buffers.release(lease.buffer);
    }

    fn receive(&mut self, token: Token, mode: Receive) {
        let Some(socket) = self.sockets.get_mut(token) else {
            return;
        };
        socket.wanted = Some(mode);
        // A reception that is being cancelled is armed again by its last completion.
        if socket.reception == Reception::Idle {
            self.arm(token, mode);
        }
    }

    fn pause(&mut self, token: Token) {
        let Some(socket) = self.sockets.get_mut(token) else {
            return;
        };
        socket.wanted = None;
        if socket.reception == Reception::Armed {
            socket.reception = Reception::Cancelling;
            let receive = Operation::socket(Kind::Receive, token);
            self.push(
                opcode::AsyncCancel::new(receive.pack()),
                Operation::cancel(),
            );
        }
    }

    fn send(&mut self, token: Token, buffer: Vec<u8>) {
        let Some(socket) = self.sockets.get_mut(token) else {
            return;
        };
        debug_assert!(socket.sending.is_none(), "one send in flight");
        socket.sending = Some(Sending { buffer, sent: 0 });
        self.submit_send(token);
    }

    fn shutdown(&mut self, token: Token) {
        if let Some(socket) = self.sockets.get(token) {
            // An error means that the connection is already gone, which reception reports.
            let _ = socket2::SockRef::from(&socket.fd).shutdown(std::net::Shutdown::Write);
        }
    }

    fn close(&mut self, token: Token) {
        let Some(socket) = self.sockets.get_mut(token) else {
            return;
        };
        if socket.closing {
            return;
        }
        socket.closing = true;
        socket.wanted = None;
        if socket.operations() > 0 {
            let fd = types::Fd(socket.fd.as_raw_fd());
            self.push(
                opcode::AsyncCancel2::new(types::CancelBuilder::fd(fd).all()),
                Operation::cancel(),
            );
        }
        self.reap(token);
    }

    fn detach(&mut self, token: Token) -> Option<OwnedFd> {
        let socket = self.sockets.get(token)?;
        if socket.closing || socket.operations() > 0 {
            return None;
        }
        self.sockets.remove(token).map(|socket| socket.fd)
    }

    fn peer(&self, token: Token) -> Option<SocketAddr> {
        peer_of(&self.sockets.get(token)?.fd)
    }

    fn tick(&mut self) {
        self.accept_starved = false;
        self.arm_listeners();
    }

    fn gauges(&self) -> Gauges {
        Gauges {
            sockets: self.sockets.len() as u64,
            buffers: u64::from(self.buffers.count()),
            buffers_lent: u64::from(self.buffers.lent()),
            ..self.gauges
        }
    }
}

impl Uring {
    /// Asks the kernel for everything that [`Backend::open`] needs, on the calling thread, and
    /// gives it back.
    pub fn probe() -> io::Result<()> {
        let ring = new_ring()?;
        let settings = Settings {
            buffers: 8,
            buffer_bytes: 4096,
        };
        let buffers = BufferRing::register(&ring, settings, BUFFER_GROUP)?;
        // The ring first, as in `Uring`.
        drop(ring);
        drop(buffers);
        Ok(())
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        // Whatever is still under way is cancelled and waited for, so that the kernel writes into
        // no memory of ours afterwards.
        let everything = types::CancelBuilder::any();
        let quiet = matches!(
            self.ring.submitter().register_sync_cancel(None, everything),
            Ok(())
        ) || self.sockets.is_empty();
        if !quiet {
            // ENOENT means that nothing was under way; anything else leaves memory to the kernel.
            self.buffers.leak();
            for token in self
                .sockets
                .iter()
                .map(|(token, _)| token)
                .collect::<Vec<_>>()
            {
                if let Some(sending) = self.sockets.remove(token).and_then(|socket| socket.sending)
                {
                    std::mem::forget(sending.buffer);
                }
            }
        }
    }
}

fn new_ring() -> io::Result<IoUring> {
    IoUring::builder()
        .dontfork()
        .setup_cqsize(COMPLETIONS)
        .setup_single_issuer()
        .setup_coop_taskrun()
        .setup_taskrun_flag()
        .setup_defer_taskrun()
        .build(SUBMISSIONS)
}
