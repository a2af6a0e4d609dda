//! Paths and methods.

use std::rc::Rc;
use std::sync::Arc;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, EXPECT, LOCATION};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use sonic_rs::JsonValueTrait;

use super::answer::{self, Answer, Payload};
use super::body::{is_json, read};
use super::{Http, broadcast, cors, header_key, mcp, performance};
use crate::delivery::Session;
use crate::rpc::{Condition, Fault, json};
use crate::shard::Listener;
use crate::shard::admission::{agent, check_origins, judge};
use crate::telemetry::process::resident_bytes;
use crate::telemetry::prometheus;

/// The path of MCP.
const MCP: &str = "/mcp";

/// Answers one request.
pub(super) async fn answer(
    http: &Http,
    listener: Listener,
    request: Request<Incoming>,
) -> Response<Payload> {
    http.dispatcher.metrics().http_requests.add(1);
    let (method, headers) = (request.method().clone(), request.headers().clone());
    let mut answer = match refuse(http, listener, &request) {
        Some(refusal) => refusal.map(Payload::Whole),
        None if request.uri().path() == MCP && !cors::is_preflight(&request) => {
            mcp::answer(http, request).await
        }
        None => route(http, request)
            .await
            .unwrap_or_else(|fault| answer::problem(&fault))
            .map(Payload::Whole),
    };
    cors::permit(&headers, &http.origins, &mut answer);
    if method == Method::HEAD {
        let bytes = answer.body().size_hint().exact().unwrap_or(0);
        *answer.body_mut() = Payload::Whole(Full::default());
        answer
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    }
    answer
}

/// Refuses what must not be served: foreign origins, and handshakes, which only come here when
/// they cannot become a WebSocket.
fn refuse(http: &Http, listener: Listener, request: &Request<Incoming>) -> Option<Answer> {
    let target = request
        .uri()
        .path_and_query()
        .map_or("", |target| target.as_str());
    let fault = match judge(request, target, listener, &http.config, &http.origins) {
        Err(rejection) => return Some(answer::rejected(&rejection)),
        // The authority of an absolute target outranks the Host field (RFC 9112, 3.2.2).
        Ok(None) => check_origins(request, &http.origins)
            .and_then(|()| match request.uri().authority() {
                Some(authority) => http.origins.check(Some(authority.as_str()), None),
                None => Ok(()),
            })
            .err()?,
        Ok(Some(_)) if http.gate.websockets() >= http.config.connections_max => Fault::new(
            Condition::ConnectionLimit,
            "no room for another WebSocket connection",
        ),
        Ok(Some(_)) => {
            let message = "open a WebSocket on a connection that has served no other request";
            Fault::new(Condition::InvalidRequest, message)
        }
    };
    Some(answer::problem(&fault))
}

async fn route(http: &Http, request: Request<Incoming>) -> Result<Answer, Fault> {
    if let Some(answer) = cors::preflight(&request) {
        return Ok(answer);
    }
    let path = request.uri().path().to_owned();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    match path.as_str() {
        "/health"
        | "/health/live"
        | "/health/ready"
        | "/metrics"
        | "/api/v1/stats"
        | "/ws/mcp/stats"
        | performance::PATH
            if !reads =>
        {
            Ok(answer::method_not_allowed("GET, HEAD"))
        }
        "/health" => {
            let body = call(http, &request, "system/health", None).await?;
            Ok(answer::json(readiness(http), body))
        }
        "/health/live" => Ok(answer::json(StatusCode::OK, "{\"status\":\"alive\"}")),
        "/health/ready" => Ok(ready(http)),
        "/metrics" => Ok(metrics(http)),
        "/api/v1/stats" | "/ws/mcp/stats" => {
            let body = call(http, &request, "system/stats", None).await?;
            Ok(answer::json(StatusCode::OK, body))
        }
        performance::PATH => {
            let arguments = performance::arguments(request.uri().query().unwrap_or_default())?;
            let (head, _) = request.into_parts();
            let head = Request::from_parts(head, ());
            let body = run(http, &head, "system/performance", &arguments).await?;
            Ok(answer::json(StatusCode::OK, body))
        }
        "/api/v1/memory" | "/api/v1/memory/search" if request.method() != Method::POST => {
            Ok(answer::method_not_allowed("POST"))
        }
        "/api/v1/memory" => {
            let body = post(http, request, "memory/create").await?;
            Ok(created(body))
        }
        "/api/v1/memory/search" => {
            let body = post(http, request, "memory/search").await?;
            Ok(answer::json(StatusCode::OK, body))
        }
        "/ws/mcp" | "/ws" => Ok(answer::upgrade_required()),
        path if path.starts_with(broadcast::PATH) && request.method() != Method::POST => {
            Ok(answer::method_not_allowed("POST"))
        }
        path if path.starts_with(broadcast::PATH) => {
            let (head, text) = json_body(request).await?;
            let arguments = broadcast::arguments(&path[broadcast::PATH.len()..], &text)?;
            let body = run(http, &head, "agent/send", &arguments).await?;
            Ok(answer::json(StatusCode::OK, body))
        }
        path => Err(Fault::new(
            Condition::NotFound,
            format!("there is nothing at {path}"),
        )),
    }
}

fn readiness(http: &Http) -> StatusCode {
    if http.dispatcher.services().process.is_ready() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

fn ready(http: &Http) -> Answer {
    let status = readiness(http);
    let process = &http.dispatcher.services().process;
    let body = match status {
        StatusCode::OK => "{\"status\":\"ready\"}",
        _ if process.is_draining() => {
            "{\"status\":\"not_ready\",\"reason\":\"the server is stopping\"}"
        }
        _ => "{\"status\":\"not_ready\",\"reason\":\"the store does not answer\"}",
    };
    answer::json(status, body)
}

fn metrics(http: &Http) -> Answer {
    let services = http.dispatcher.services();
    let presence = services.registry.presence();
    let values = prometheus::ProcessValues {
        sessions: presence.open,
        agents: presence.agents,
        resident_bytes: resident_bytes().unwrap_or_default(),
    };
    let text = prometheus::encode(&Arc::clone(&services.metrics), values);
    answer::typed(StatusCode::OK, prometheus::CONTENT_TYPE, text)
}

/// A stored memory: 201 with its place and its version.
fn created(body: Vec<u8>) -> Answer {
    let id = sonic_rs::get(&body[..], ["id"])
        .ok()
        .and_then(|id| id.as_str().map(str::to_owned));
    let version = sonic_rs::get(&body[..], ["version"])
        .ok()
        .and_then(|version| version.as_u64());
    let mut answer = answer::json(StatusCode::CREATED, body);
    let headers = answer.headers_mut();
    if let Some(place) =
        id.and_then(|id| HeaderValue::try_from(format!("/api/v1/memory/{id}")).ok())
    {
        headers.insert(LOCATION, place);
    }
    if let Some(tag) =
        version.and_then(|version| HeaderValue::try_from(format!("\"{version}\"")).ok())
    {
        headers.insert(ETAG, tag);
    }
    answer
}

async fn call<B>(
    http: &Http,
    request: &Request<B>,
    operation: &str,
    arguments: Option<&str>,
) -> Result<Vec<u8>, Fault> {
    let session = Rc::new(Session::of_request(agent(request)?));
    let key = header_key(request.headers())?;
    let dispatcher = &http.dispatcher;
    dispatcher.call(&session, operation, arguments, key).await
}

/// Runs an operation whose arguments are the request's body.
async fn post(http: &Http, request: Request<Incoming>, operation: &str) -> Result<Vec<u8>, Fault> {
    let (head, body) = json_body(request).await?;
    run(http, &head, operation, &body).await
}

/// Runs an operation with JSON text that was checked.
async fn run(
    http: &Http,
    head: &Request<()>,
    operation: &str,
    arguments: &[u8],
) -> Result<Vec<u8>, Fault> {
    let text = std::str::from_utf8(arguments)
        .map_err(|_| Fault::new(Condition::InvalidJson, "the body is not UTF-8"))?;
    call(http, head, operation, Some(text)).await
}

/// Reads the body of a request, which must be JSON.
async fn json_body(request: Request<Incoming>) -> Result<(Request<()>, Vec<u8>), Fault> {
    if let Some(content_type) = request.headers().get(CONTENT_TYPE)
        && !is_json(content_type)
    {
        let message = "the body must be application/json";
        return Err(Fault::new(Condition::UnsupportedMediaType, message));
    }
    let (head, body) = request.into_parts();
    let body = read(body, head.headers.contains_key(EXPECT)).await?;
    let text = std::str::from_utf8(&body)
        .map_err(|_| Fault::new(Condition::InvalidJson, "the body is not UTF-8"))?;
    if json::is_too_deep(text) {
        return Err(Fault::new(
            Condition::InvalidRequest,
            "the body nests too deeply",
        ));
    }
    sonic_rs::from_str::<serde::de::IgnoredAny>(text).map_err(|error| {
        Fault::new(
            Condition::InvalidJson,
            format!("not JSON: {}", json::reason(&error)),
        )
    })?;
    Ok((Request::from_parts(head, ()), body.to_vec()))
}
