//! Cross-origin requests of listed origins (Fetch standard, 3.3).

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
    VARY,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;

use super::answer::Answer;
use crate::auth::Origins;

/// Seconds that a browser may keep a permission: Chromium's own bound.
const MAX_AGE_SECONDS: u32 = 7200;

/// The answer to a preflight request of an origin that is listed.
pub(super) fn preflight<B>(request: &Request<B>) -> Option<Answer> {
    if !is_preflight(request) {
        return None;
    }
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    let allow = |text| HeaderValue::from_static(text);
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, allow("GET, POST, DELETE"));
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        allow("Authorization, Content-Type, Idempotency-Key, X-API-Key, X-Agent-ID, X-Agent-Namespace, X-Tool-Profile, Last-Event-ID, MCP-Protocol-Version, Mcp-Session-Id, Mcp-Method, Mcp-Name"),
    );
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(MAX_AGE_SECONDS));
    Some(answer)
}

/// True for a request by which a browser asks whether it may send another.
pub(super) fn is_preflight<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(ORIGIN)
        && request
            .headers()
            .contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Lets pages of a listed origin read an answer.
pub(super) fn permit<B>(request: &HeaderMap, origins: &Origins, answer: &mut Response<B>) {
    let Some(origin) = request.get(ORIGIN) else {
        return;
    };
    if origin
        .to_str()
        .is_ok_and(|origin| origins.is_listed(origin))
    {
        let headers = answer.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("ETag, Location, Mcp-Session-Id"),
        );
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }
}
