//! A modern request (2026-07-28): one POST, answered by JSON or by a stream of its own.

use std::rc::Rc;

use bytes::Bytes;
use futures_util::stream;
use http::{Response, StatusCode};
use sonic_rs::JsonValueTrait;
use tokio::sync::watch;
use tokio::time::sleep;

use super::super::Http;
use super::super::answer::{self, Payload};
use super::events::{self, COMMENT, KEEP_ALIVE};
use crate::config::ToolProfile;
use crate::delivery::{Outgoing, Session};
use crate::dispatch::{Answer, McpConnection, Reply, Way};

/// What a stream sends, and what must live as long as it does.
struct Streaming {
    connection: McpConnection,
    queue: Rc<Outgoing>,
    /// The answer under way; a subscription has none.
    answer: Option<Answer>,
    stopping: watch::Receiver<bool>,
    /// What came before the stream began.
    first: Vec<u8>,
    ended: bool,
}

/// What a request says.
pub(super) struct Said<'a> {
    pub(super) text: &'a str,
    /// The idempotency key of its header.
    pub(super) key: Option<&'a str>,
    /// The client reads a stream as well.
    pub(super) streams: bool,
}

/// Answers a request whose headers have been checked.
pub(super) async fn answer(
    http: &Http,
    session: Session,
    profile: ToolProfile,
    Said { text, key, streams }: Said<'_>,
) -> Response<Payload> {
    let queue = Outgoing::of_stream();
    let outlet = queue.outlet(0);
    let mut connection = McpConnection::modern(Rc::new(session), profile, outlet.clone());
    let mut out = Vec::new();
    let way = Way {
        outlet: &outlet,
        key,
    };
    let mut answer = match connection.receive_on(&http.dispatcher, text, &mut out, way) {
        Reply::Written => return json(out),
        Reply::Silent => return answer::empty(StatusCode::ACCEPTED),
        Reply::Stream => None,
        Reply::Later(answer) | Reply::Alone(answer) => Some(answer),
    };
    let mut first = Vec::new();
    if let Some(answer) = &mut answer {
        let silent = sleep(KEEP_ALIVE);
        tokio::select! {
            biased;
            out = &mut *answer => {
                let mut said = Vec::new();
                queue.take(&mut said);
                if said.is_empty() || !streams {
                    return json(out);
                }
                return events::response(stream::iter([Bytes::from(whole(&said, &out))]));
            }
            () = queue.filled(), if streams => {}
            () = silent, if streams => first.extend_from_slice(COMMENT),
        }
    }
    let streaming = Streaming {
        connection,
        queue,
        answer,
        stopping: http.stopping.clone(),
        first,
        ended: false,
    };
    events::response(stream::unfold(streaming, next))
}

/// What was said before an answer, and the answer.
fn whole(said: &[(u64, Vec<u8>)], answer: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (_, message) in said {
        events::write(&mut bytes, None, message);
    }
    if !answer.is_empty() {
        events::write(&mut bytes, None, answer);
    }
    bytes
}

async fn next(mut streaming: Streaming) -> Option<(Bytes, Streaming)> {
    let mut bytes = std::mem::take(&mut streaming.first);
    while bytes.is_empty() {
        if streaming.ended {
            return None;
        }
        let mut said = Vec::new();
        streaming.queue.take(&mut said);
        if !said.is_empty() {
            bytes = whole(&said, b"");
            break;
        }
        let subscribed = streaming.answer.is_none();
        let answer = async {
            match &mut streaming.answer {
                Some(answer) => answer.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = streaming.queue.filled() => {}
            out = answer => {
                streaming.queue.take(&mut said);
                bytes = whole(&said, &out);
                streaming.ended = true;
            }
            // Calls end by themselves; subscriptions are told that the server stops.
            _ = streaming.stopping.wait_for(|stopping| *stopping), if subscribed => {
                streaming.queue.take(&mut said);
                bytes = whole(&said, b"");
                for last in streaming.connection.end_subscriptions() {
                    events::write(&mut bytes, None, &last);
                }
                streaming.ended = true;
            }
            () = sleep(KEEP_ALIVE) => bytes.extend_from_slice(COMMENT),
        }
        if streaming.ended && bytes.is_empty() {
            return None;
        }
    }
    Some((Bytes::from(bytes), streaming))
}

/// One JSON-RPC message; the status tells those who read no further what kind of error it is.
pub(super) fn json(message: Vec<u8>) -> Response<Payload> {
    let code = message
        .starts_with(b"{\"jsonrpc\":\"2.0\",\"id\":")
        .then(|| sonic_rs::get(&message[..], ["error", "code"]).ok())
        .flatten()
        .and_then(|code| code.as_i64());
    let status = match code {
        Some(-32601) => StatusCode::NOT_FOUND,
        Some(-32700 | -32600 | -32602 | -32022..=-32020) => StatusCode::BAD_REQUEST,
        // What else goes wrong goes wrong inside of a call that was well-formed.
        Some(_) | None => StatusCode::OK,
    };
    if message.is_empty() {
        return answer::empty(StatusCode::ACCEPTED);
    }
    answer::json(status, message).map(Payload::Whole)
}
