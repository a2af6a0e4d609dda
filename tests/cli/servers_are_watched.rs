//! `tmws top`: a running server, again and again.

use serde_json::Value;

use crate::harness::agent;
use crate::place::*;

#[test]
fn rates_and_reports_are_shown_as_often_as_is_asked() {
    let place = Place::empty(Way::Server);
    let server = place.server.as_ref().unwrap();
    // So that there is something to show.
    block(async {
        let mut client = agent(server, "ada").await;
        for number in 0..10 {
            let params = serde_json::json!({"content": format!("memory {number}")});
            client.result("memory/create", params).await;
        }
    });
    let lines = succeeded(&place.run(&["top", "--interval", "1", "--count", "2", "--json"]));
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    for line in &lines {
        assert!(line["rates"]["seconds"].as_f64().unwrap() >= 1.0, "{line}");
        // Its own looks are calls too.
        assert!(line["rates"]["calls"].as_f64().unwrap() > 0.0, "{line}");
        // Which shard its connections go to is the kernel's choice.
        let shards = line["rates"]["shards"].as_array().unwrap();
        let turns = shards.iter().filter_map(|shard| shard["turns"].as_f64());
        assert!(turns.sum::<f64>() > 0.0, "{line}");
        assert!(line["report"]["totals"]["calls"].as_u64().unwrap() >= 10);
    }
    let screen = succeeded(&place.run(&["top", "--interval", "1", "--count", "1"]));
    for text in [
        "connections",
        "turn p99",
        "memory/create",
        "store: ",
        "calls ",
    ] {
        assert!(screen.contains(text), "{text} is missing in\n{screen}");
    }
    assert!(!screen.contains('\u{1b}'), "no terminal, no control codes");
}

#[test]
fn what_cannot_be_watched_is_said() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    drop(listener);
    failed(&tmws(&["top", "--count", "1", "--url", &url], ""), 3);
    for line in [
        &["top", "--count", "0"][..],
        &["top", "--interval", "0"],
        &["top", "--interval", "soon"],
        &["top", "--url", "http://127.0.0.1:1/"],
    ] {
        failed(&tmws(line, ""), 2);
    }
}
