//! Server-sent events (HTML standard, 9.2): how a response goes on after its head.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response};
use hyper::body::{Body, Frame};

use super::super::answer::Payload;

/// Pause after which a stream without events sends a comment, so that proxies keep it open.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The comment.
pub(super) const COMMENT: &[u8] = b":\n\n";

/// Appends an event. JSON text as we write it has no line breaks outside of strings, and none
/// inside them.
pub(super) fn write(out: &mut Vec<u8>, id: Option<&str>, message: &[u8]) {
    out.extend_from_slice(b"event: message\n");
    if let Some(id) = id {
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(id.as_bytes());
        out.push(b'\n');
    }
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(message);
    out.extend_from_slice(b"\n\n");
}

/// A response that streams; dropping it, as hyper does when its client is gone, ends what it
/// streams from.
pub(super) fn response(events: impl Stream<Item = Bytes> + 'static) -> Response<Payload> {
    let mut response = Response::new(Payload::Events(Events(Box::pin(events))));
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-cache, no-transform"),
        // nginx holds responses back without it.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The body of such a response.
pub(in crate::http) struct Events(Pin<Box<dyn Stream<Item = Bytes>>>);

impl Body for Events {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let next = self.0.as_mut().poll_next(context);
        next.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[cfg(test)]
mod tests {
    use super::write;

    #[test]
    fn an_event_has_its_id_and_one_line_of_data() {
        let mut out = Vec::new();
        write(&mut out, Some("1-2"), b"{\"a\":\"\\n\"}");
        assert_eq!(out, b"event: message\nid: 1-2\ndata: {\"a\":\"\\n\"}\n\n");
    }
}
