//! The JSON-RPC envelope and the parameters of MCP: any text is parsed or refused, and what is
//! answered is JSON. What the cache of parsed requests knows is what parsing gives, whatever came before.

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use tmws::rpc::json;
use tmws::rpc::jsonrpc::{self, Message};
use tmws::rpc::mcp::{self, Era, Known, Params, ParseCache, Target, ToolCall, ToolsCall};

thread_local! {
    static CACHE: RefCell<ParseCache> = RefCell::default();
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    CACHE.with_borrow_mut(|cache| check(cache, text));
    let mut out = Vec::new();
    match jsonrpc::parse(text) {
        Ok(Message::Request { id, call }) => {
            jsonrpc::begin_result(&mut out, &id);
            mcp::write_tool_result(&mut out, Era::Modern, "{}", false);
            jsonrpc::end_result(&mut out);
            if let Ok(params) = Params::parse(call.params.as_deref()) {
                let _ = mcp::check_envelope(&params.meta);
            }
            let whole = jsonrpc::parse_request::<ToolsCall, ToolCall<'_>>(text);
            assert!(whole.is_none_or(|(whole, _)| whole == id && call.method == "tools/call"));
        }
        Ok(Message::Notification(_) | Message::Response { .. } | Message::Batch(_)) => return,
        Err(malformed) => jsonrpc::write_error(&mut out, malformed.id.as_deref(), &malformed.fault),
    }
    let answer = std::str::from_utf8(&out).expect("an answer is text");
    assert!(!json::is_too_deep(answer));
    sonic_rs::from_str::<sonic_rs::Value>(answer).expect("an answer is JSON");
});

/// What is known of a text is what it says.
fn check(cache: &mut ParseCache, text: &str) {
    let known = cache.find(text);
    let Ok(Message::Request { id, call }) = jsonrpc::parse(text) else {
        assert!(known.is_none());
        return;
    };
    let tool = jsonrpc::parse_request::<ToolsCall, ToolCall<'_>>(text);
    match (known, &tool) {
        (Some(Known { id: known, target: Target::Tool(found), .. }), Some((_, read))) => {
            assert_eq!((known, format!("{found:?}")), (&*id, format!("{read:?}")));
        }
        (Some(Known { id: known, target: Target::Method(found), .. }), None) => {
            assert_eq!((known, format!("{found:?}")), (&*id, format!("{call:?}")));
        }
        (known, _) => assert!(known.is_none()),
    }
    match &tool {
        Some((id, tool)) => cache.keep_tool(text, id, Era::Legacy, tool),
        None => cache.keep_method(text, &id, Era::Legacy, &call),
    }
}
