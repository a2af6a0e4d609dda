//! Listening sockets on their way from one process to another, over a Unix socket.
//!
//! A socket that two processes have open is closed when both have closed it: so connections wait in
//! its queue, and none is refused, while one process stops accepting and the other begins.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// Descriptors in one message; the kernel takes at most 253.
const AT_ONCE: usize = 128;
/// The byte that ends the listeners; no number of a listener is as large.
const END: u8 = u8::MAX;

/// Sends listeners with their numbers. Blocks.
pub fn send(stream: &UnixStream, listeners: &[(TcpListener, u8)]) -> io::Result<()> {
    for some in listeners.chunks(AT_ONCE) {
        let numbers: Vec<u8> = some.iter().map(|(_, number)| *number).collect();
        let descriptors: Vec<BorrowedFd<'_>> =
            some.iter().map(|(listener, _)| listener.as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(io::Error::other("descriptors do not fit into a message"));
        }
        let data = [IoSlice::new(&numbers)];
        let sent = sendmsg(stream, &data, &mut control, SendFlags::NOSIGNAL)?;
        if sent != numbers.len() {
            return Err(io::Error::from(io::ErrorKind::WriteZero));
        }
    }
    let data = [IoSlice::new(&[END])];
    let mut none = SendAncillaryBuffer::default();
    sendmsg(stream, &data, &mut none, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives what [`send`] sends. Blocks.
pub fn receive(stream: &UnixStream) -> io::Result<Vec<(TcpListener, u8)>> {
    let mut listeners = Vec::new();
    loop {
        let mut numbers = [0; AT_ONCE];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut data = [IoSliceMut::new(&mut numbers)];
        let received = recvmsg(stream, &mut data, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let mut descriptors: Vec<OwnedFd> = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(some) = message {
                descriptors.extend(some);
            }
        }
        // A stream joins messages, but never two that carry descriptors; the end may be behind one.
        let numbers = &numbers[..received.bytes];
        let (numbers, is_end) = match numbers {
            [] => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            [numbers @ .., END] => (numbers, true),
            numbers => (numbers, false),
        };
        if numbers.len() != descriptors.len() {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        let sockets = descriptors.into_iter().map(TcpListener::from);
        listeners.extend(sockets.zip(numbers.iter().copied()));
        if is_end {
            return Ok(listeners);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::os::unix::net::UnixStream;

    use super::{AT_ONCE, receive, send};
    use crate::net::listener;

    #[test]
    fn listeners_accept_what_came_before_they_arrived() {
        let address = "127.0.0.1:0".parse().unwrap();
        let bound = listener::bind(address, AT_ONCE + 3).unwrap();
        let address = bound[0].local_addr().unwrap();
        let listeners: Vec<_> = bound.into_iter().zip((0..9).cycle()).collect();
        let mut early = TcpStream::connect(address).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        send(&ours, &listeners).unwrap();
        let count = listeners.len();
        drop(listeners);
        let received = receive(&theirs).unwrap();
        assert_eq!(received.len(), count);
        assert_eq!((received[0].1, received[10].1), (0, 1));
        for (listener, _) in &received {
            listener.set_nonblocking(true).unwrap();
        }
        let (mut served, _) = received
            .iter()
            .find_map(|(one, _)| one.accept().ok())
            .unwrap();
        served.write_all(b"here").unwrap();
        let mut answer = [0; 4];
        early.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"here");
    }

    #[test]
    fn a_sender_that_breaks_off_is_noticed() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(ours);
        assert!(receive(&theirs).is_err());
    }
}
