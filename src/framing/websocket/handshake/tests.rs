//! The handshake rule by rule, read by httparse and by http alike.

use super::*;
use crate::framing::websocket::deflate;

const GOOD: &str = "GET /mcp HTTP/1.1\r\nHost: localhost:1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

/// The key of an acceptable upgrade.
fn judge(head: &str) -> Result<Option<String>, Refusal> {
    let text = format!("{head}\r\n");
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut request = httparse::Request::new(&mut fields);
    assert!(request.parse(text.as_bytes()).unwrap().is_complete());
    let verdict = examine(&request).map(|upgrade| upgrade.map(|upgrade| upgrade.key().to_owned()));

    let mut other = http::Request::builder().method(request.method.unwrap());
    if request.version == Some(0) {
        other = other.version(http::Version::HTTP_10);
    }
    for field in request.headers.iter() {
        other = other.header(field.name, field.value);
    }
    let other = other.body(()).unwrap();
    assert_eq!(
        examine(&other).map(|upgrade| upgrade.map(|upgrade| upgrade.key().to_owned())),
        verdict
    );
    verdict
}

fn without(name: &str) -> String {
    GOOD.split_inclusive("\r\n")
        .filter(|line| !line.starts_with(name))
        .collect()
}

#[test]
fn a_complete_upgrade_is_accepted() {
    assert_eq!(judge(GOOD), Ok(Some("dGhlIHNhbXBsZSBub25jZQ==".to_owned())));
}

#[test]
fn names_and_tokens_have_no_case_and_may_stand_in_lists() {
    let head = GOOD
        .to_lowercase()
        .replace("get /mcp http/1.1", "GET /mcp HTTP/1.1");
    let head = head.replace("dghlihnhbxbszsbub25jzq==", "dGhlIHNhbXBsZSBub25jZQ==");
    let head = head.replace(
        "upgrade: websocket",
        "upgrade: h2c,\r\nupgrade: , WebSocket",
    );
    let head = head.replace("connection: upgrade", "connection: keep-alive, UPGRADE");
    assert!(matches!(judge(&head), Ok(Some(_))));
}

#[test]
fn other_requests_are_not_upgrades() {
    assert_eq!(judge("GET / HTTP/1.1\r\nHost: a\r\n"), Ok(None));
    assert_eq!(judge(&GOOD.replace("websocket", "h2c")), Ok(None));
    assert_eq!(judge(&GOOD.replace("websocket", "websockets")), Ok(None));
}

#[test]
fn every_missing_part_has_its_refusal() {
    assert_eq!(judge(&GOOD.replace("GET", "POST")), Err(Refusal::Method));
    assert_eq!(
        judge(&GOOD.replace("HTTP/1.1", "HTTP/1.0")),
        Err(Refusal::HttpVersion)
    );
    assert_eq!(judge(&without("Host")), Err(Refusal::MissingHost));
    assert_eq!(
        judge(&without("Connection")),
        Err(Refusal::MissingConnection)
    );
    assert_eq!(
        judge(&GOOD.replace("Connection: Upgrade", "Connection: close")),
        Err(Refusal::MissingConnection)
    );
    assert_eq!(
        judge(&without("Sec-WebSocket-Key")),
        Err(Refusal::MissingKey)
    );
    assert_eq!(
        judge(&without("Sec-WebSocket-Version")),
        Err(Refusal::WebSocketVersion)
    );
    assert_eq!(
        judge(&GOOD.replace("Version: 13", "Version: 8")),
        Err(Refusal::WebSocketVersion)
    );
}

#[test]
fn a_key_is_base64_of_16_bytes() {
    for key in [
        "",
        "x",
        "dGhlIHNhbXBsZSBub25jZQ",
        "AAAA",
        "dGhlIHNhbXBsZSBub25jZSEh",
        "????????????????????????",
    ] {
        assert_eq!(
            judge(&GOOD.replace("dGhlIHNhbXBsZSBub25jZQ==", key)),
            Err(Refusal::InvalidKey),
            "{key}"
        );
    }
}

#[test]
fn fields_that_decide_may_stand_only_once() {
    for (line, name) in [
        ("Host: b", "Host"),
        (
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Key",
        ),
        ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version"),
    ] {
        assert_eq!(
            judge(&format!("{GOOD}{line}\r\n")),
            Err(Refusal::Repeated(name))
        );
    }
}

#[test]
fn content_would_be_taken_for_frames() {
    assert_eq!(
        judge(&format!("{GOOD}Content-Length: 5\r\n")),
        Err(Refusal::Content)
    );
    assert_eq!(
        judge(&format!("{GOOD}Transfer-Encoding: chunked\r\n")),
        Err(Refusal::Content)
    );
    assert!(matches!(
        judge(&format!("{GOOD}Content-Length: 0\r\n")),
        Ok(Some(_))
    ));
}

#[test]
fn subprotocols_and_extensions_come_in_their_order_from_every_field() {
    let text = format!(
        "{GOOD}Sec-WebSocket-Protocol: mcp, a\r\nSec-WebSocket-Extensions: x\r\nSec-WebSocket-Protocol: b\r\n\
         Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    );
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut request = httparse::Request::new(&mut fields);
    request.parse(text.as_bytes()).unwrap();
    let upgrade = examine(&request).unwrap().unwrap();
    assert_eq!(
        upgrade.subprotocols().collect::<Vec<_>>(),
        ["mcp", "a", "b"]
    );
    assert!(deflate::negotiate(&deflate::Config::default(), upgrade.extensions()).is_some());
}

#[test]
fn the_answer_is_that_of_rfc_6455() {
    assert_eq!(
        accept("dGhlIHNhbXBsZSBub25jZQ=="),
        *b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    );
    let params = Params {
        level: 6,
        server_window_bits: 15,
        threshold_bytes: 0,
    };
    let mut out = Vec::new();
    write_response(
        &mut out,
        "dGhlIHNhbXBsZSBub25jZQ==",
        Some("mcp"),
        Some(&params),
    );
    let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: mcp\r\n\
        Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn a_refusal_is_a_whole_response() {
    let mut out = Vec::new();
    Refusal::WebSocketVersion.write_response(&mut out);
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut fields);
    let head_bytes = response.parse(&out).unwrap().unwrap();
    assert_eq!(response.code, Some(426));
    assert_eq!(
        &out[head_bytes..],
        Refusal::WebSocketVersion.to_string().as_bytes()
    );
    let value = |name: &str| {
        response
            .headers
            .iter()
            .find(|field| field.name == name)
            .unwrap()
            .value
    };
    assert_eq!(value("Sec-WebSocket-Version"), b"13");
    assert_eq!(
        value("Content-Length"),
        (out.len() - head_bytes).to_string().as_bytes()
    );
}
