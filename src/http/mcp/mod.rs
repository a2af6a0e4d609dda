//! MCP over Streamable HTTP, both eras on one path.
//!
//! A modern request stands alone: one POST, one answer (`modern`). A legacy client has a session
//! (`session`), which lives on the shard where it began, whatever connection and shard a request
//! of it comes by (`sessions`).

mod events;
mod headers;
mod modern;
mod session;
mod sessions;
mod stream;

use http::header::{CONTENT_TYPE, EXPECT};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;

pub(super) use events::Events;
#[cfg(fuzzing)]
pub use headers::examine as examine_headers;
use sessions::Post;
pub use sessions::{Letters, Sessions, serve as serve_sessions};

use super::answer::{self, Payload};
use super::{Http, body, header_key};
use crate::delivery::Session;
use crate::rpc::jsonrpc::{self, Message};
use crate::rpc::mcp::Era;
use crate::rpc::{Condition, Fault};
use crate::shard::admission::{agent, profile_of};

/// Answers a request on the path of MCP.
pub(super) async fn answer(http: &Http, request: Request<Incoming>) -> Response<Payload> {
    let (head, incoming) = request.into_parts();
    let head = Request::from_parts(head, ());
    let answered = match *head.method() {
        Method::POST => post(http, head, incoming).await,
        Method::GET => get(http, &head).await,
        Method::DELETE => delete(http, &head).await,
        _ => return answer::method_not_allowed("GET, POST, DELETE").map(Payload::Whole),
    };
    answered.unwrap_or_else(|fault| refusal(None, &fault))
}

/// A refusal as a JSON-RPC error, which clients of MCP show to people.
fn refusal(id: Option<&str>, fault: &Fault) -> Response<Payload> {
    let mut out = Vec::new();
    jsonrpc::write_error(&mut out, id, fault);
    let status = StatusCode::from_u16(fault.condition.row().http);
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer::json(status, out).map(Payload::Whole)
}

async fn post(
    http: &Http,
    head: Request<()>,
    incoming: Incoming,
) -> Result<Response<Payload>, Fault> {
    let headers = head.headers();
    if !headers.get(CONTENT_TYPE).is_some_and(body::is_json) {
        let message = "the body must be application/json";
        return Err(Fault::new(Condition::UnsupportedMediaType, message));
    }
    let streams = headers::accepts(headers, "text/event-stream");
    if !streams && !headers::accepts(headers, "application/json") {
        let message = "accept application/json and text/event-stream";
        return Err(Fault::new(Condition::NotAcceptable, message));
    }
    let bytes = body::read(incoming, headers.contains_key(EXPECT)).await?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Fault::new(Condition::InvalidJson, "the body is not UTF-8"))?;
    let metrics = http.dispatcher.metrics();
    let parsed = match jsonrpc::parse(text) {
        Ok(parsed) => parsed,
        Err(malformed) => {
            metrics.protocol_violations.add(1);
            return Ok(refusal(malformed.id.as_deref(), &malformed.fault));
        }
    };
    let query = head.uri().query().unwrap_or_default();
    let profile = profile_of(&head, query)?.unwrap_or(http.config.tool_profile);
    let key = header_key(headers)?;
    match headers::era(headers)? {
        Era::Modern => {
            let (id, call) = match &parsed {
                Message::Request { id, call } => (Some(id), call),
                Message::Notification(call) => (None, call),
                Message::Response { .. } | Message::Batch(_) => {
                    let message = "a POST carries one request or notification";
                    return Err(Fault::new(Condition::InvalidRequest, message));
                }
            };
            let checked = headers::check_modern(headers, call, &http.dispatcher);
            if let Err(fault) = checked {
                return Ok(refusal(id.map(AsRef::as_ref), &fault));
            }
            let session = Session::of_request(agent(&head)?);
            let said = modern::Said { text, key, streams };
            Ok(modern::answer(http, session, profile, said).await)
        }
        Era::Legacy => {
            if let Message::Request { id, call } = &parsed
                && let Err(fault) = headers::check_legacy(headers, call)
            {
                return Ok(refusal(Some(id), &fault));
            }
            let begins =
                matches!(&parsed, Message::Request { call, .. } if call.method == "initialize");
            let session = headers::value(headers, headers::SESSION)?;
            let post = Post {
                agent: agent(&head)?,
                profile,
                text: text.to_owned(),
                key: key.map(str::to_owned),
                streams,
            };
            match session {
                None if begins => http.sessions.begin(post).await,
                None => {
                    let message =
                        "send initialize first, and its Mcp-Session-Id with every later request";
                    Err(Fault::new(Condition::InvalidRequest, message))
                }
                Some(id) => http.sessions.post(id, post).await,
            }
        }
    }
}

/// The session that a request without a body names.
fn named(head: &Request<()>) -> Result<&str, Fault> {
    headers::value(head.headers(), headers::SESSION)?.ok_or_else(|| {
        let message = "the header Mcp-Session-Id is missing";
        Fault::new(Condition::InvalidRequest, message)
    })
}

fn legacy_only(head: &Request<()>) -> Result<bool, Fault> {
    Ok(headers::era(head.headers())? == Era::Legacy)
}

/// Opens the stream of a legacy session, or goes on with a broken one.
async fn get(http: &Http, head: &Request<()>) -> Result<Response<Payload>, Fault> {
    if !legacy_only(head)? {
        return Ok(answer::method_not_allowed("POST").map(Payload::Whole));
    }
    if !headers::accepts(head.headers(), "text/event-stream") {
        let message = "this answers with text/event-stream";
        return Err(Fault::new(Condition::NotAcceptable, message));
    }
    let session = named(head)?;
    let last = headers::value(head.headers(), headers::LAST_EVENT)?;
    http.sessions.stream(session, last.map(str::to_owned)).await
}

/// Ends a legacy session.
async fn delete(http: &Http, head: &Request<()>) -> Result<Response<Payload>, Fault> {
    if !legacy_only(head)? {
        return Ok(answer::method_not_allowed("POST").map(Payload::Whole));
    }
    http.sessions.end(named(head)?).await
}
