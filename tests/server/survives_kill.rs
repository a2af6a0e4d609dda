//! What was acknowledged survives kill -9, again and again.

use serde_json::json;

use crate::harness::{agent, launch, on_both};

/// Cycles in the normal run; `tests/kill9` does more.
const CYCLES: usize = 8;

#[test]
fn nothing_acknowledged_is_lost() {
    on_both(async |io| {
        let data = tempfile::tempdir().unwrap();
        let mut acknowledged: Vec<(String, String)> = Vec::new();
        for cycle in 0..CYCLES {
            let server = launch(&["--io", io]).data(data.path()).start();
            let mut client = agent(&server, "writer").await;
            for ids in acknowledged.chunks(100) {
                let wanted: Vec<&str> = ids.iter().map(|(id, _)| id.as_str()).collect();
                let found = client
                    .result("memory/recall", json!({"ids": wanted, "limit": 100}))
                    .await;
                let found = found["memories"].as_array().unwrap();
                for (id, content) in ids {
                    let memory = found
                        .iter()
                        .find(|memory| memory["id"] == *id)
                        .expect("it was acknowledged");
                    assert_eq!(memory["content"], *content);
                }
            }
            for number in 0..200 {
                client
                    .post(
                        "memory/create",
                        json!({"content": format!("cycle {cycle} memory {number}")}),
                    )
                    .await;
            }
            // Some are answered, some under way, some not begun when the power goes.
            for _ in 0..(cycle * 23) % 150 {
                let memory = client.receive().await["result"].clone();
                acknowledged.push((
                    memory["id"].as_str().unwrap().to_owned(),
                    memory["content"].as_str().unwrap().to_owned(),
                ));
            }
            server.kill();
        }
        assert!(acknowledged.len() > 200);
    });
}
