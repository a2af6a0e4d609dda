//! The older layout is imported with levels, grants and times.

use std::path::Path;

use serde_json::{Value, json};

use crate::place::*;

fn sample() -> String {
    text(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/memories_v2.jsonl"))
}

#[test]
fn by_either_way() {
    let mut exports = Vec::new();
    for way in WAYS {
        let place = Place::empty(way);
        let said = succeeded(&place.run(&["import", &sample()]));
        assert_eq!(said.trim(), "7 memories stored, 1 left alone");
        let said = succeeded(&place.run(&["import", &sample()]));
        assert_eq!(said.trim(), "0 memories stored, 8 left alone");
        exports.push(place.export());
    }
    assert_eq!(exports[0], exports[1]);
    let records: Vec<Value> = exports[0]
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let memory = |index: usize| &records[index]["memory"];
    let levels: Vec<_> = (0..7)
        .map(|index| memory(index)["access_level"].clone())
        .collect();
    assert_eq!(
        levels,
        [
            "private", "team", "shared", "public", "public", "system", "private"
        ]
    );

    assert_eq!(memory(0)["id"], "7b0f3a52-1c7e-4c60-9d5e-2f6f0a8f1a01");
    assert_eq!(memory(0)["tags"], json!(["build", "clang"]));
    assert_eq!(memory(0)["importance"], 0.8);
    assert_eq!(memory(0)["relevance"], 0.7);
    assert_eq!(memory(0)["access_count"], 5);
    assert_eq!(memory(0)["created_at"], "2025-03-01T10:00:00Z");
    assert_eq!(memory(0)["updated_at"], "2025-03-02T11:30:00.123456Z");
    assert_eq!(memory(0)["last_accessed_at"], "2025-04-01T00:00:00Z");
    let metadata = json!({"file": "README.md", "lines": [3, 4],
        "imported": {"shared_with_agents": ["spy"]}});
    assert_eq!(memory(0)["metadata"], metadata);
    assert!(records[0].get("grants").is_none(), "private stays private");

    assert_eq!(memory(1)["created_at"], "2025-03-01T10:00:00Z");
    assert_eq!(memory(1)["metadata"], json!({"from": "wiki"}));
    let grant =
        |agent: &str| json!({"namespace": "forge", "agent_id": agent, "permission": "read"});
    assert_eq!(
        records[2]["grants"],
        json!([grant("auditor"), grant("builder")])
    );
    assert_eq!(memory(2)["created_at"], "2025-02-01T01:30:00Z");
    assert_eq!(memory(3)["created_at"], "2025-05-05T05:05:05Z");

    let kept = &memory(4)["metadata"]["imported"];
    assert_eq!(kept["id"], "mem_000005");
    assert_eq!(kept["parent_memory_id"], memory(3)["id"]);
    assert_eq!(kept["usage"], json!({"by": "keeper", "n": 3}));
    assert_eq!(memory(5)["namespace"], "default");
    assert_eq!(memory(5)["expires_at"], "2125-01-01T00:00:00Z");
    assert_eq!(
        memory(6)["content"],
        "Zeilenumbruch\nund \"Umlaut\": äöü 記憶"
    );
    assert_eq!(memory(6)["metadata"], json!({"lang": "de"}));
    assert_eq!(memory(6)["last_accessed_at"], "2025-07-07T07:07:07Z");
}

#[test]
fn and_a_bad_column_is_named() {
    let lines = std::fs::read_to_string(sample()).unwrap();
    let place = Place::empty(Way::Direct);
    let bad = lines.replace("2025-05-05T05:05:05", "last May");
    let complaint = failed(&place.run_with(&["import", "-"], &bad), 1);
    assert!(
        complaint.contains("line 4: created_at: \"last May\""),
        "{complaint}"
    );
    assert_eq!(place.export(), "");
}
