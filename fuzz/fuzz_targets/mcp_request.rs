//! What an MCP request carries besides its envelope: headers, the URI of a resource, the state that a
//! client carries, parameters. Any of it is read or refused, and a state that nobody sealed is none.

#![no_main]

use std::sync::OnceLock;

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tmws::auth::Seal;
use tmws::dispatch::examine_uri;
use tmws::http::examine_headers;
use tmws::rpc::mcp::{ClientCapabilities, Extras, LogLevel, Params};

/// A moment, in seconds.
const NOW: u64 = 1_000_000;

fuzz_target!(|bytes: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = HeaderName::from_bytes(parts.next().unwrap_or_default());
        let value = HeaderValue::from_bytes(parts.next().unwrap_or_default());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    examine_headers(&headers);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    examine_uri(text);
    let _ = LogLevel::parse(text);
    let _ = ClientCapabilities::parse(text);
    if let Ok(params) = Params::parse(Some(text)) {
        if let Ok(extras) = Extras::parse(&params.meta) {
            let _ = extras.log_level();
            let _ = extras.capabilities.raw().map(ClientCapabilities::parse);
        }
    }
    static SEAL: OnceLock<Seal> = OnceLock::new();
    let seal = SEAL.get_or_init(|| Seal::new(b"a key that no input knows"));
    assert!(seal.open(text, "binding", NOW).is_err());
    let sealed = seal.close(bytes, text, NOW);
    assert_eq!(seal.open(&sealed, text, NOW).expect("our own state"), bytes);
    assert!(seal.open(&sealed, "another binding", NOW).is_err() || text == "another binding");
});
