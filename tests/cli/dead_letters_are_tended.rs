//! `tmws dlq` over a running server.

use serde_json::{Value, json};

use crate::harness::peer::{Peer, send};
use crate::harness::{Server, agent};
use crate::place::*;

/// A server with three dead letters to bob, of which the first is the oldest.
fn with_letters() -> Place {
    let place = Place::empty(Way::Server);
    let server = place.server.as_ref().unwrap();
    block(async {
        let mut alice = agent(server, "alice").await;
        let mut bob = Peer::connect(server, "bob").await;
        for (seq, body) in [(1, "one"), (2, "two\u{9b}2J"), (3, "three")] {
            send(&mut alice, "bob", json!(body)).await;
            bob.delivery().await;
            let params = json!({"seq": seq, "reason": "no use"});
            assert_eq!(bob.result("session/term", params).await["accepted"], 1);
        }
    });
    // Letters are stored after the answer.
    while letters(&place, &["--agent-id", "bob"]).len() < 3 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    place
}

fn json_of(place: &Place, arguments: &[&str]) -> Value {
    let line = [&["dlq"], arguments, &["--json"]].concat();
    let text = succeeded(&place.run(&line));
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn letters(place: &Place, arguments: &[&str]) -> Vec<Value> {
    let page = json_of(place, &[&["list"], arguments].concat());
    page["dead_letters"].as_array().unwrap().clone()
}

async fn inbox(server: &Server, name: &str) -> usize {
    let mut client = agent(server, name).await;
    let inbox = client.result("agent/inbox", json!({})).await;
    inbox["messages"].as_array().unwrap().len()
}

#[test]
fn letters_are_listed_to_their_agent_and_to_operators() {
    let place = with_letters();
    let text = succeeded(&place.run(&["dlq", "list", "--agent-id", "bob"]));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    for (line, body) in lines.iter().zip(["\"three\"", "\"two 2J\"", "\"one\""]) {
        let ends =
            "terminated (no use)  deliveries 1  normal  default/alice -> default/bob  message";
        assert!(line.ends_with(&format!("{ends}  {body}")), "{line}");
    }
    // Of nobody else, unless an operator asks for all.
    assert_eq!(letters(&place, &["--agent-id", "alice"]), [] as [Value; 0]);
    let all = letters(&place, &["--agent-id", "alice", "--all-agents"]);
    let bodies: Vec<&Value> = all.iter().map(|letter| &letter["body"]).collect();
    assert_eq!(bodies, ["three", "two\u{9b}2J", "one"]);
    assert_eq!(
        (&all[0]["namespace"], &all[0]["agent_id"]),
        (&json!("default"), &json!("bob"))
    );
    // In pages.
    let bob = ["list", "--agent-id", "bob", "--limit", "2"];
    let page = json_of(&place, &bob);
    assert_eq!(page["dead_letters"], Value::from(all[..2].to_vec()));
    let cursor = page["next_cursor"].as_str().unwrap();
    let told = succeeded(&place.run(&[&["dlq"], &bob[..]].concat()));
    assert_eq!(
        told.lines().last(),
        Some(&*format!("more: --cursor {cursor}"))
    );
    let rest = letters(&place, &["--agent-id", "bob", "--cursor", cursor]);
    assert_eq!(rest, all[2..]);
    // One of them.
    let id = all[1]["id"].as_str().unwrap();
    assert_eq!(json_of(&place, &["get", id, "--agent-id", "bob"]), all[1]);
    assert_eq!(json_of(&place, &["get", id, "--all-agents"]), all[1]);
    let shown = succeeded(&place.run(&["dlq", "get", id, "--agent-id", "bob"]));
    assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), all[1]);
    failed(&place.run(&["dlq", "get", id, "--agent-id", "alice"]), 4);
}

#[test]
fn letters_are_sent_again_and_removed() {
    let place = with_letters();
    let server = place.server.as_ref().unwrap();
    let all = letters(&place, &["--all-agents"]);
    let id = |at: usize| all[at]["id"].as_str().unwrap();
    // Another's are not there for those who do not ask as operators.
    let complaint = failed(&place.run(&["dlq", "retry", id(0), id(1)]), 1);
    assert!(complaint.contains("2 of 2 are not there"), "{complaint}");
    assert_eq!(block(inbox(server, "bob")), 0);
    let told = succeeded(&place.run(&["dlq", "retry", id(0), id(0), "--all-agents"]));
    assert_eq!(told, "1 back in the inboxes of their agents\n");
    assert_eq!(block(inbox(server, "bob")), 1);
    let output = place.run(&["dlq", "purge", id(0), id(1), "--agent-id", "bob"]);
    assert!(failed(&output, 1).contains("1 of 2 are not there"));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "1 removed\n");
    let retried = json_of(&place, &["retry", "--all", "--agent-id", "bob"]);
    assert_eq!(retried, json!({"retried": 1}));
    assert_eq!(block(inbox(server, "bob")), 2);
    assert_eq!(letters(&place, &["--all-agents"]), [] as [Value; 0]);
}

#[test]
fn all_of_all_agents_can_be_removed() {
    let place = with_letters();
    assert_eq!(json_of(&place, &["purge", "--all"]), json!({"purged": 0}));
    assert_eq!(letters(&place, &["--agent-id", "bob"]).len(), 3);
    let purged = json_of(&place, &["purge", "--all", "--all-agents"]);
    assert_eq!(purged, json!({"purged": 3}));
    assert_eq!(letters(&place, &["--agent-id", "bob"]), [] as [Value; 0]);
}

#[test]
fn what_is_meant_has_to_be_said() {
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    for line in [
        &["dlq"][..],
        &["dlq", "retry"],
        &["dlq", "purge"],
        &["dlq", "purge", id, "--all"],
        &["dlq", "purge", "no-id"],
        &["dlq", "get"],
        &["dlq", "list", "--limit", "many"],
    ] {
        failed(&tmws(line, ""), 2);
    }
    let help = succeeded(&tmws(&["dlq", "purge", "--help"], ""));
    assert!(
        help.contains("--all-agents") && help.contains("Exit codes:"),
        "{help}"
    );
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    drop(listener);
    failed(&tmws(&["dlq", "list", "--url", &url], ""), 3);
}
