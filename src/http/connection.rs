//! One HTTP connection: from the shard's socket and the bytes it has read to hyper.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::{Http, routes};
use crate::config::limits::HEAD_BYTES_MAX;
use crate::shard::{HandOver, Listener};

/// Serves requests until the peer leaves, is idle for too long, or the server stops.
pub(super) async fn serve(http: Rc<Http>, handed: HandOver) {
    let HandOver {
        fd,
        read,
        listener,
        place,
        ..
    } = handed;
    match open(fd, read, http.config.stalled_timeout) {
        Ok(stream) => {
            // hyper gives a refused upgrade up without flushing what a socket cannot take at
            // once, and a socket that tokio has just met can take nothing yet.
            if stream.stream.writable().await.is_ok() {
                run(http, stream, listener).await;
            }
        }
        Err(error) => tracing::debug!(%error, "a connection was lost before it was served"),
    }
    drop(place);
}

fn open(fd: std::os::fd::OwnedFd, read: Vec<u8>, patience: Duration) -> io::Result<Prefixed> {
    let stream = std::net::TcpStream::from(fd);
    stream.set_nonblocking(true)?;
    // A peer that reads nothing of what is sent is let go, as on a WebSocket.
    SockRef::from(&stream).set_tcp_user_timeout(Some(patience))?;
    Ok(Prefixed {
        read: read.into(),
        stream: TcpStream::from_std(stream)?,
    })
}

async fn run(http: Rc<Http>, stream: Prefixed, listener: Listener) {
    let mut stopping = http.stopping.clone();
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(http.config.handshake_timeout)
        .max_buf_size(HEAD_BYTES_MAX);
    let service = service_fn(|request| {
        let http = Rc::clone(&http);
        async move { Ok::<_, Infallible>(routes::answer(&http, listener, request).await) }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let served = tokio::select! {
        // First what was read already: a connection that was shut down before would never answer it.
        biased;
        served = connection.as_mut() => served,
        // An error means that the server is gone, which is a stop too.
        _ = stopping.wait_for(|stopping| *stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "an HTTP connection ended early");
    }
}

/// A stream whose first bytes have been read already.
struct Prefixed {
    read: Bytes,
    stream: TcpStream,
}

impl AsyncRead for Prefixed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.read.is_empty() {
            let bytes = self.read.len().min(buffer.remaining());
            buffer.put_slice(&self.read[..bytes]);
            self.read.advance(bytes);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
