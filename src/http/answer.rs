//! Responses: JSON, and problem details (RFC 9457) for errors.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, UPGRADE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};

use super::mcp::Events;
use crate::framing::websocket::handshake::Refusal;
use crate::rpc::error::RETRY_AFTER_MS;
use crate::rpc::{Condition, Fault, json};
use crate::shard::admission::Rejection;

/// A whole response.
pub(super) type Answer = Response<Full<Bytes>>;

/// The body of a response.
pub(super) enum Payload {
    /// All of it.
    Whole(Full<Bytes>),
    /// Events as they come.
    Events(Events),
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(context),
            Self::Events(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Events(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Events(body) => body.size_hint(),
        }
    }
}

/// A response that says everything by its status.
pub(super) fn empty(status: StatusCode) -> Response<Payload> {
    let mut answer = Response::new(Payload::Whole(Full::default()));
    *answer.status_mut() = status;
    answer
}

/// A JSON response.
pub(super) fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    typed(status, "application/json", body)
}

/// A response of some type.
pub(super) fn typed(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// The problem details of a fault: RFC 9457's members, and the members of every other wire.
pub(super) fn problem(fault: &Fault) -> Answer {
    let row = fault.condition.row();
    let status = StatusCode::from_u16(row.http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut body = Vec::with_capacity(256);
    body.extend_from_slice(b"{\"type\":\"about:blank\",\"title\":");
    json::write_string(&mut body, status.canonical_reason().unwrap_or("Error"));
    body.extend_from_slice(b",\"status\":");
    body.extend_from_slice(status.as_str().as_bytes());
    body.extend_from_slice(b",\"detail\":");
    json::write_string(&mut body, &fault.message);
    body.extend_from_slice(b",\"code\":\"");
    body.extend_from_slice(row.code.as_bytes());
    body.push(b'"');
    fault.write_members(&mut body);
    body.push(b'}');
    let mut answer = typed(status, "application/problem+json", body);
    if row.retryable {
        let seconds = RETRY_AFTER_MS.div_ceil(1000);
        answer
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

/// The answer to a method that a path does not have.
pub(super) fn method_not_allowed(allowed: &'static str) -> Answer {
    let fault = Fault::new(
        Condition::MethodNotAllowed,
        format!("this path takes {allowed}"),
    );
    let mut answer = problem(&fault);
    answer
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

/// The answer to a request that is no handshake where only WebSockets are.
pub(super) fn upgrade_required() -> Answer {
    let fault = Fault::new(
        Condition::UpgradeRequired,
        "this path speaks WebSocket: send an upgrade",
    );
    let mut answer = problem(&fault);
    answer
        .headers_mut()
        .insert(UPGRADE, HeaderValue::from_static("websocket"));
    answer
}

/// The answer to a WebSocket handshake that cannot be.
pub(super) fn rejected(rejection: &Rejection) -> Answer {
    match rejection {
        Rejection::Fault(fault) => problem(fault),
        Rejection::Handshake(refusal) => refused(*refusal),
    }
}

fn refused(refusal: Refusal) -> Answer {
    let condition = match refusal {
        Refusal::Method => Condition::MethodNotAllowed,
        Refusal::WebSocketVersion => Condition::UpgradeRequired,
        _ => Condition::InvalidRequest,
    };
    let mut answer = problem(&Fault::new(condition, refusal.to_string()));
    if let Ok(status) = StatusCode::from_u16(refusal.status()) {
        *answer.status_mut() = status;
    }
    // Whatever follows the head may be frames, so the connection ends with this answer.
    answer
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    for (name, value) in refusal.fields() {
        answer
            .headers_mut()
            .insert(*name, HeaderValue::from_static(value));
    }
    answer
}
