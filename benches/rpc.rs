//! Parsing a message, and the way from its text to its answer.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use tmws::rpc::jsonrpc::{self, Message};

use super::dispatching::{DISCOVER, Dispatching, HEALTH};

/// Parsing of requests of three sizes.
pub(crate) fn parse(c: &mut Criterion) {
    let create = |bytes: usize| {
        format!(
            r#"{{"jsonrpc":"2.0","id":7,"method":"memory/create","params":{{"content":"{}","tags":["a","b"]}}}}"#,
            "x".repeat(bytes)
        )
    };
    let mut group = c.benchmark_group("rpc/parse");
    for (name, text) in [
        ("health", HEALTH.to_owned()),
        ("304B", create(220)),
        ("8KiB", create(8192)),
    ] {
        assert!(matches!(jsonrpc::parse(&text), Ok(Message::Request { .. })));
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| black_box(jsonrpc::parse(black_box(&text)).is_ok()))
        });
    }
    group.finish();
}

/// From a message's text to its written answer, on the shard's thread.
pub(crate) fn dispatch(c: &mut Criterion) {
    let dispatching = Dispatching::new();
    let dispatcher = &dispatching.dispatcher;
    let mut connection = dispatching.connection();
    let mut out = Vec::new();
    let mut group = c.benchmark_group("dispatch");
    for (name, text, part) in [
        ("tools_call/health_check", HEALTH, "\"status\":\"healthy\""),
        (
            "direct/health",
            r#"{"jsonrpc":"2.0","id":1,"method":"system/health"}"#,
            "\"status\":\"healthy\"",
        ),
        (
            "tools_list/core",
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#,
            "semantic_search",
        ),
        (
            "ping",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
            "\"result\":{}",
        ),
        (
            "prompts_list",
            r#"{"jsonrpc":"2.0","id":1,"method":"prompts/list"}"#,
            "plan_task",
        ),
        ("malformed", r#"{"jsonrpc":"2.0","id":1"#, "-32700"),
    ] {
        out.clear();
        connection.receive(dispatcher, text, &mut out);
        assert!(String::from_utf8_lossy(&out).contains(part), "{name}");
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                black_box(connection.receive(dispatcher, black_box(text), &mut out));
            });
        });
    }
    let mut modern = Dispatching::modern();
    out.clear();
    modern.receive(dispatcher, DISCOVER, &mut out);
    assert!(String::from_utf8_lossy(&out).contains("supportedVersions"));
    group.bench_function("server_discover", |b| {
        b.iter(|| {
            out.clear();
            black_box(modern.receive(dispatcher, black_box(DISCOVER), &mut out));
        });
    });
    group.finish();
}
