//! `memory/export` and `memory/import` as any client calls them.

use serde_json::{Value, json};

use crate::harness::agent;
use crate::place::*;

#[test]
fn by_bytes_and_by_number() {
    let place = Place::new(Way::Server, many);
    let server = place.server.as_ref().unwrap();
    block(async {
        let mut client = agent(server, "operator").await;
        let mut cursor = Value::Null;
        let (mut records, mut pages) = (Vec::new(), 0);
        loop {
            let page = client
                .result("memory/export", json!({"limit": 1_000, "cursor": cursor}))
                .await;
            assert!(page.to_string().len() < 1 << 20, "it fits a message");
            records.extend(page["records"].as_array().unwrap().clone());
            pages += 1;
            cursor = page["next_cursor"].clone();
            if cursor.is_null() {
                break;
            }
        }
        assert_eq!(records.len(), 300);
        assert!(pages > 2, "{pages}");
        let two = client.result("export_memories", json!({"limit": 2})).await;
        assert_eq!(two["records"], Value::from(records[..2].to_vec()));
        for limit in [0, 1_001] {
            let (code, _) = client.error("memory/export", json!({"limit": limit})).await;
            assert_eq!(code, -32602);
        }
    });
}

#[test]
fn a_call_stores_all_or_none() {
    let exported = Place::new(Way::Direct, every_kind).export();
    let mut records: Vec<Value> = exported
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let place = Place::empty(Way::Server);
    block(async {
        let mut client = agent(place.server.as_ref().unwrap(), "operator").await;
        let checked = client
            .result(
                "memory/import",
                json!({"records": records, "check_only": true}),
            )
            .await;
        assert_eq!(checked, json!({"created": 0, "skipped": 0}));
        let good = records[5].clone();
        records[5]["memory"]["tags"] = json!(["x".repeat(65)]);
        let answer = client
            .request("memory/import", json!({"records": records}))
            .await;
        let error = &answer["error"];
        assert_eq!(error["data"]["index"], 5);
        assert_eq!(error["data"]["field"], "tags");
        assert!(
            error["message"]
                .as_str()
                .unwrap()
                .starts_with("records[5]: tags: ")
        );
        let page = client.result("memory/export", json!({})).await;
        assert_eq!(page["records"], json!([]));
        records[5] = good;
        let stored = client
            .result("import_memories", json!({"records": records}))
            .await;
        assert_eq!(stored, json!({"created": 8, "skipped": 0}));
        let page = client.result("memory/export", json!({})).await;
        assert_eq!(page["records"], Value::from(records));
    });
}
