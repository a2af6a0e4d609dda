//! The performance report: figures that move with the load, over both wires.

use serde_json::{Value, json};

use crate::harness::{Client, Server, agent, http, launch, on_both, until};

async fn report(client: &mut Client) -> Value {
    let arguments = json!({"interval": 5, "history_minutes": 5});
    client.result("system/performance", arguments).await
}

async fn over_http(server: &Server, query: &str) -> (u16, Value) {
    let request = format!(
        "GET /ws/mcp/performance{query} HTTP/1.1\r\nHost: {}\r\n\r\n",
        server.api
    );
    let (status, _, body) = http(server.api, &request).await;
    (status, serde_json::from_str(&body).unwrap())
}

fn number(value: &Value, path: &str) -> f64 {
    let found = value.pointer(path).and_then(Value::as_f64);
    found.unwrap_or_else(|| panic!("{path} is missing in {value}"))
}

fn hot<'r>(report: &'r Value, list: &str, operation: &str) -> &'r Value {
    let operations = report["operations"][list].as_array().unwrap();
    operations
        .iter()
        .find(|entry| entry["operation"] == operation)
        .unwrap_or_else(|| panic!("{operation} is missing in {report}"))
}

#[test]
fn figures_follow_the_load() {
    on_both(async |io| {
        let server = launch(&["--io", io, "--shards", "2"]).start();
        let mut client = agent(&server, "ada").await;
        let before = report(&mut client).await;
        assert_eq!(before["server"]["io"], server.io.as_str());
        assert_eq!(before["server"]["shards"], 2);
        for number in 0..20 {
            let content = format!("memory {number}");
            let params = json!({"content": content});
            client.result("memory/create", params).await;
            client.error("memory/get", json!({"id": "no-id"})).await;
        }
        // The first sample ends a second after the start.
        until(async || report(&mut client).await["current"]["seconds"].is_number()).await;
        let after = report(&mut client).await;
        let rose = |path: &str| number(&after, path) - number(&before, path);
        assert!(rose("/totals/calls") >= 40.0, "{after}");
        assert_eq!(rose("/totals/errors"), 20.0);
        assert!(rose("/totals/messages_received") >= 40.0);
        assert!(rose("/totals/received_bytes") > 1_000.0);
        assert!(number(&after, "/totals/cpu_seconds") > 0.0);
        assert!(number(&after, "/current/memory/resident_bytes") > 1e6);
        assert!(number(&after, "/current/disk/free_bytes") > 0.0);
        assert!(number(&after, "/current/network/open_files") > 5.0);
        assert!(number(&after, "/current/network/connections") >= 1.0);
        assert!(number(&after, "/current/cpu/share") > 0.0);
        let create = hot(&after, "since_start", "memory/create");
        assert_eq!(
            (&create["calls"], &create["errors"]),
            (&json!(20), &json!(0))
        );
        assert!(number(create, "/p50_ms") <= number(create, "/p99_ms"));
        let get = hot(&after, "last_minute", "memory/get");
        assert_eq!((&get["calls"], &get["errors"]), (&json!(20), &json!(20)));
        // Only the shard of the connection had turns because of it.
        let shards = after["totals"]["shards"].as_array().unwrap();
        let received = shards
            .iter()
            .map(|shard| number(shard, "/messages_received"));
        assert_eq!(received.filter(|count| *count > 40.0).count(), 1, "{after}");
        // The history grows with every sample, and has what happened then.
        let points = after["history"].as_array().unwrap().len();
        until(async || {
            let points_now = report(&mut client).await["history"].clone();
            points_now.as_array().unwrap().len() > points
        })
        .await;
        let later = report(&mut client).await;
        let history = later["history"].as_array().unwrap();
        let writes = |point: &Value| number(point, "/queues/store_writer_share");
        assert!(history.iter().any(|point| writes(point) > 0.0), "{later}");
        let calls: f64 = history
            .iter()
            .map(|point| number(point, "/calls/per_second") * number(point, "/seconds"))
            .sum();
        assert!(calls >= 40.0, "{calls} calls in {later}");
        // HTTP tells the same.
        let (status, told) =
            over_http(&server, "?metrics=cpu,disk&history_minutes=1&interval=30").await;
        assert_eq!(status, 200);
        assert!(told["current"]["cpu"].is_object() && told["current"].get("memory").is_none());
        assert!(number(&told, "/totals/calls") >= number(&later, "/totals/calls"));
        assert_eq!(over_http(&server, "?interval=1").await.0, 400);
    });
}

#[test]
fn limits_that_are_near_are_told() {
    let flags = ["--ws-max-connections", "1", "--shards", "1"];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let server = launch(&flags).start();
        let mut client = agent(&server, "ada").await;
        let mut told = Value::Null;
        until(async || {
            told = report(&mut client).await;
            told["bottlenecks"] != json!([])
        })
        .await;
        let named = |list: &str, member: &str| {
            let entries = told[list].as_array().unwrap().iter();
            let names = entries.map(|entry| entry[member].as_str().unwrap().to_owned());
            names.collect::<Vec<_>>()
        };
        let names = named("bottlenecks", "name");
        assert!(
            names.contains(&"connections_near_limit".to_owned()),
            "{told}"
        );
        assert_eq!(names, named("advice", "bottleneck"));
        let advice = told["advice"].as_array().unwrap();
        let key = advice
            .iter()
            .find(|entry| entry["key"] == "ws_max_connections");
        assert!(key.is_some(), "{told}");
    });
}
