//! A restart without a gap: a new process takes the listeners over from the one that runs.
//!
//! ```text
//! new: connects, says TAKE          old: sends its listeners
//! new: has them, says HAVE          old: stops accepting, then says DONE, and drains
//! new: opens the store, which the embedded one allows when the old process has closed it
//! ```
//!
//! Invariants
//! - A listener is open in one of the processes at any time, so that whoever connects in between
//!   waits in its queue.
//! - Two processes never accept from one listener: whether it blocks is a property of the socket.
//! - If the new process fails before it says HAVE, the old one goes on as if nothing had been.

use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::net::handover;

/// The socket in the data directory.
const SOCKET: &str = "handover.sock";
/// The name under which it is made.
const SOCKET_NEW: &str = "handover.sock.new";
/// Bytes of a Unix socket's path that the kernel takes.
const PATH_BYTES_MAX: usize = 107;
/// Time for each step of the other process; each is a matter of microseconds.
const PATIENCE: Duration = Duration::from_secs(5);

const TAKE: u8 = b't';
const HAVE: u8 = b'h';
const DONE: u8 = b'd';

/// Where a running server gives its listeners to the one that follows.
pub(super) struct Handover {
    socket: tokio::net::UnixListener,
    path: PathBuf,
    listeners: Vec<(TcpListener, u8)>,
    handed: bool,
}

/// A process that has the listeners, and waits for this one to stop accepting.
pub(super) struct Successor(UnixStream);

impl Handover {
    /// Offers listeners, whose numbers say what they are, to whoever follows. Fails if another server
    /// that runs on the same directory does so.
    pub(super) fn offer(dir: &Path, listeners: Vec<(TcpListener, u8)>) -> io::Result<Self> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)?;
        if connect(dir).is_ok() {
            let message = "another server offers its listeners in this data directory";
            return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
        }
        let (path, new) = (dir.join(SOCKET), dir.join(SOCKET_NEW));
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = short(dir, SOCKET_NEW, |path| tokio::net::UnixListener::bind(path))?;
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&new, &path)?;
        Ok(Self {
            socket,
            path,
            listeners,
            handed: false,
        })
    }

    /// Waits until another process has taken the listeners; they are closed here then.
    pub(super) async fn taken(mut self) -> Successor {
        loop {
            let stream = match self.socket.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a new server could not connect");
                    tokio::time::sleep(PATIENCE).await;
                    continue;
                }
            };
            let listeners = std::mem::take(&mut self.listeners);
            let given = tokio::task::spawn_blocking(move || {
                let given = stream
                    .into_std()
                    .and_then(|stream| give(stream, &listeners));
                (given, listeners)
            });
            match given.await {
                Ok((Ok(Some(successor)), _listeners)) => {
                    self.handed = true;
                    return successor;
                }
                Ok((Ok(None), listeners)) => self.listeners = listeners,
                Ok((Err(error), listeners)) => {
                    tracing::warn!(%error, "a new server did not take the listeners");
                    self.listeners = listeners;
                }
                // The runtime ends.
                Err(_) => std::future::pending().await,
            }
        }
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        // Whoever took the listeners has made a socket of its own there.
        if !self.handed {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Gives listeners away; none if whoever connected only looked whether somebody answers.
fn give(mut stream: UnixStream, listeners: &[(TcpListener, u8)]) -> io::Result<Option<Successor>> {
    stream.set_nonblocking(false)?;
    be_patient(&stream)?;
    let mut word = [0];
    if stream.read(&mut word)? == 0 {
        return Ok(None);
    }
    expect(word, TAKE)?;
    handover::send(&stream, listeners)?;
    stream.read_exact(&mut word)?;
    expect(word, HAVE)?;
    Ok(Some(Successor(stream)))
}

impl Successor {
    /// Tells the other process that nobody accepts here any more.
    pub(super) fn release(mut self) {
        if let Err(error) = self.0.write_all(&[DONE]) {
            tracing::error!(%error, "the new server is gone");
        }
    }
}

/// Takes the listeners of the server that runs on this directory; none if there is none.
pub(super) fn take(dir: &Path) -> io::Result<Option<Vec<(TcpListener, u8)>>> {
    let mut stream = match connect(dir) {
        Ok(stream) => stream,
        Err(error) => {
            return match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
                _ => Err(error),
            };
        }
    };
    be_patient(&stream)?;
    stream.write_all(&[TAKE])?;
    let listeners = handover::receive(&stream)?;
    stream.write_all(&[HAVE])?;
    let mut word = [0];
    // From here on the old server drains: without its last word this one serves all the same.
    match stream
        .read_exact(&mut word)
        .and_then(|()| expect(word, DONE))
    {
        Ok(()) => {}
        Err(error) => {
            tracing::warn!(%error, "the old server has not said that it stopped accepting")
        }
    }
    Ok(Some(listeners))
}

fn connect(dir: &Path) -> io::Result<UnixStream> {
    short(dir, SOCKET, |path| UnixStream::connect(path))
}

/// Reaches a socket of a directory by a path that the kernel takes, however long the directory's is.
fn short<T>(dir: &Path, name: &str, reach: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let path = dir.join(name);
    if path.as_os_str().len() <= PATH_BYTES_MAX {
        return reach(&path);
    }
    let dir = std::fs::File::open(dir)?;
    reach(&PathBuf::from(format!(
        "/proc/self/fd/{}/{name}",
        dir.as_raw_fd()
    )))
}

fn be_patient(stream: &UnixStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))
}

fn expect(word: [u8; 1], expected: u8) -> io::Result<()> {
    if word == [expected] {
        return Ok(());
    }
    let message = "the other server speaks another language";
    Err(io::Error::new(io::ErrorKind::InvalidData, message))
}
