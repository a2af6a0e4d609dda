//! Arrays of requests, in the one revision that has them.

use serde_json::{Value, json};

use crate::harness::{agent, connect, launch, on_both};

fn request(id: u64, method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

#[test]
fn answers_stand_in_the_order_of_the_entries() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut client = connect(server.ws, "/", &[]).await;
        client.initialize("2025-03-26").await;
        let id = client
            .result("memory/create", json!({"content": "zero"}))
            .await["id"]
            .clone();
        let mut batch = vec![request(1, "memory/create", json!({"content": "slow"}))];
        // Entries on one memory keep their order, whatever runs beside them.
        for version in 1..20 {
            let change =
                json!({"id": id, "content": format!("v{version}"), "expected_version": version});
            batch.push(request(10 + version, "memory/update", change));
            batch.push(request(
                100 + version,
                "tools/call",
                json!({"name": "get_memory", "arguments": {"id": id}}),
            ));
        }
        batch.push(json!({"jsonrpc": "2.0", "method": "notifications/progress"}));
        batch.push(json!("nonsense"));
        batch.push(request(5, "ping", json!({})));
        client.send(&Value::from(batch.clone()).to_string()).await;
        let answers = client.receive().await;
        let answers = answers.as_array().unwrap();
        assert_eq!(answers.len(), batch.len() - 1);
        assert_eq!(
            (&answers[0]["id"], &answers[0]["result"]["content"]),
            (&json!(1), &json!("slow"))
        );
        for version in 1..20 {
            let (update, read) = (&answers[2 * version - 1], &answers[2 * version]);
            assert_eq!(update["result"]["version"], version + 1, "{update}");
            assert_eq!(
                read["result"]["structuredContent"]["content"],
                format!("v{version}")
            );
        }
        assert_eq!(answers[answers.len() - 2]["error"]["code"], -32600);
        assert_eq!(
            answers[answers.len() - 1],
            json!({"jsonrpc": "2.0", "id": 5, "result": {}})
        );
    });
}

#[test]
fn a_batch_that_cannot_be_is_refused_whole() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut client = connect(server.ws, "/", &[]).await;
        client.initialize("2025-03-26").await;
        let many: Vec<Value> = (0..101)
            .map(|id| request(id, "memory/create", json!({"content": "x"})))
            .collect();
        for (batch, code) in [(Value::from(many), 1413), (json!([]), -32600)] {
            client.send(&batch.to_string()).await;
            assert_eq!(client.receive().await["error"]["code"], code);
        }
        client.send("[{\"jsonrpc\":\"2.0\",").await;
        assert_eq!(client.receive().await["error"]["code"], -32700);
        assert_eq!(client.result("memory/stats", json!({})).await["owned"], 0);
        // Notifications alone are answered by nothing.
        client
            .send(r#"[{"jsonrpc":"2.0","method":"notifications/initialized"}]"#)
            .await;
        assert_eq!(client.result("ping", json!({})).await, json!({}));
        let mut client = agent(&server, "newer").await;
        client
            .send(&json!([request(1, "ping", json!({}))]).to_string())
            .await;
        assert_eq!(client.receive().await["error"]["code"], -32600);
    });
}
