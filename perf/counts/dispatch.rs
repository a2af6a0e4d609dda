//! From a message's text to its written answer, through the real dispatcher over an empty store; and the whole
//! way from the bytes of a frame to the bytes of another, as a shard goes it.

use std::hint::black_box;
use std::rc::Rc;

use tmws::dispatch::{Dispatcher, McpConnection, Reply};
use tmws::framing::websocket::{Event, OpCode, frame};

use super::Counter;
use super::codec;
use super::dispatching::{DISCOVER, Dispatching, HEALTH};

const OPERATIONS: u64 = 2_000;
const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

pub(crate) fn count(counter: &Counter) {
    if !counter.wants("dispatch/") && !counter.wants("connection/") {
        return;
    }
    let dispatching = Dispatching::new();
    let dispatcher = &dispatching.dispatcher;
    let mut connection = dispatching.connection();
    for (name, text, part) in [
        ("dispatch/health_check", HEALTH, "\"status\":\"healthy\""),
        ("dispatch/ping", PING, "\"result\":{}"),
        ("dispatch/tools_list", LIST, "semantic_search"),
    ] {
        answer(counter, name, text, part, &mut connection, dispatcher);
    }
    unknown(counter);
    whole(counter, &mut connection, dispatcher);
    let mut modern = Dispatching::modern();
    let name = "dispatch/server_discover";
    answer(
        counter,
        name,
        DISCOVER,
        "supportedVersions",
        &mut modern,
        dispatcher,
    );
}

fn answer(
    counter: &Counter,
    name: &str,
    text: &str,
    part: &str,
    connection: &mut McpConnection,
    dispatcher: &Rc<Dispatcher>,
) {
    let mut out = Vec::new();
    counter.count(name, OPERATIONS, || {
        for _ in 0..OPERATIONS {
            out.clear();
            let reply = connection.receive(dispatcher, black_box(text), &mut out);
            assert!(matches!(reply, Reply::Written));
        }
        assert!(String::from_utf8_lossy(&out).contains(part), "{name}");
    });
}

/// A call that has to be read: no text comes twice within a round. By a dispatcher of its own, or what the
/// paths before it left in the cache would count.
fn unknown(counter: &Counter) {
    let dispatching = Dispatching::new();
    let mut connection = dispatching.connection();
    let texts = (10_000..10_000 + 8 * OPERATIONS)
        .map(|token| {
            let meta = format!("}},\"_meta\":{{\"progressToken\":{token}}}}}}}");
            HEALTH.replace("}}}", &meta)
        })
        .collect::<Vec<_>>();
    let mut next = texts.iter().cycle();
    let mut out = Vec::new();
    counter.count("dispatch/health_check_unknown", OPERATIONS, || {
        for text in next.by_ref().take(OPERATIONS as usize) {
            out.clear();
            let reply = connection.receive(&dispatching.dispatcher, black_box(text), &mut out);
            assert!(matches!(reply, Reply::Written) && out.ends_with(b"}}"));
        }
        assert!(String::from_utf8_lossy(&out).contains("healthy"));
    });
}

/// The shard's own way needs a socket; this is what it does between two of them.
fn whole(counter: &Counter, connection: &mut McpConnection, dispatcher: &Rc<Dispatcher>) {
    let frame = codec::client_frame(HEALTH);
    let (mut input, mut decoder, mut pool) = (frame.clone(), codec::decoder(), codec::pool());
    let mut out = Vec::new();
    counter.count("connection/health_check", OPERATIONS, || {
        for _ in 0..OPERATIONS {
            input.copy_from_slice(&frame);
            out.clear();
            let mut consumed = 0;
            let event = decoder.decode(black_box(&mut input), &mut consumed, &mut pool);
            let Ok(Some(Event::Text(text))) = event else {
                panic!("{event:?}");
            };
            let mark = frame::begin(&mut out, OpCode::Text);
            let reply = connection.receive(dispatcher, text, &mut out);
            assert!(matches!(reply, Reply::Written));
            mark.finish(&mut out);
        }
        assert_eq!(out[0], 0x81);
    });
}
