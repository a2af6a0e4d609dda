//! Calls that go on as tasks: followed, cancelled, private, and remembered after a restart.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::web::{Web, envelope, enveloped, tasks};
use crate::harness::{Client, Server, agent, connect, launch, on_both};

const HASHED: [&str; 4] = [
    "--embedding-provider",
    "static",
    "--embedding-model",
    "static",
];

async fn modern(server: &Server, agent: &str) -> Client {
    connect(server.ws, "/ws?tools=full", &[("X-Agent-ID", agent)]).await
}

fn switch(dimension: u32) -> Value {
    let arguments = json!({"provider": "static", "dimension": dimension});
    enveloped(
        json!({"name": "switch_embedding", "arguments": arguments}),
        tasks(),
    )
}

fn of(id: &Value) -> Value {
    enveloped(json!({"taskId": id}), tasks())
}

async fn begin(client: &mut Client, dimension: u32) -> Value {
    let task = client.result("tools/call", switch(dimension)).await;
    assert_eq!(task["resultType"], "task", "{task}");
    assert_eq!(task["status"], "working");
    for member in ["taskId", "createdAt", "lastUpdatedAt"] {
        assert!(task[member].is_string(), "{task}");
    }
    assert!(task["ttlMs"].is_u64() || task["ttlMs"].is_null());
    task["taskId"].clone()
}

async fn ended(client: &mut Client, id: &Value) -> Value {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let task = client.result("tasks/get", of(id)).await;
        assert_eq!(
            (&task["resultType"], &task["taskId"]),
            (&json!("complete"), id)
        );
        if task["status"] != "working" {
            return task;
        }
        assert!(Instant::now() < deadline, "{task}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// So that a switch has something to do.
async fn fill(server: &Server, memories: usize) {
    let mut client = agent(server, "alice").await;
    for number in 0..memories {
        let content = format!("Note {number} of the billing team");
        client
            .post("memory/create", json!({"content": content}))
            .await;
    }
    for _ in 0..memories {
        client.receive().await;
    }
}

#[test]
fn a_switch_becomes_a_task_that_ends_with_the_tools_result() {
    on_both(async |io| {
        let dir = tempfile::tempdir().unwrap();
        let flags = [&["--io", io], &HASHED[..]].concat();
        let mut server = launch(&flags).data(dir.path()).start();
        fill(&server, 50).await;
        let mut alice = modern(&server, "alice").await;
        let id = begin(&mut alice, 128).await;
        let task = ended(&mut alice, &id).await;
        assert_eq!(task["status"], "completed", "{task}");
        assert_eq!(task["result"]["isError"], false);
        let status = &task["result"]["structuredContent"];
        assert_eq!(status["active"]["dimension"], 128, "{task}");
        // What is over stays as it is.
        for _ in 0..2 {
            assert_eq!(
                alice.result("tasks/cancel", of(&id)).await["resultType"],
                "complete"
            );
        }
        assert_eq!(ended(&mut alice, &id).await["status"], "completed");

        // To anybody else it is not there; over HTTP as over WebSocket.
        let mut bob = modern(&server, "bob").await;
        let update = enveloped(json!({"taskId": id, "inputResponses": {}}), tasks());
        for (method, params) in [
            ("tasks/get", of(&id)),
            ("tasks/cancel", of(&id)),
            ("tasks/update", update),
        ] {
            assert_eq!(
                bob.error(method, params.clone()).await.0,
                -32602,
                "{method}"
            );
            let mut without = params.clone();
            without["_meta"] = envelope(json!({}))["_meta"].clone();
            assert_eq!(
                alice.error(method, without.clone()).await.0,
                -32021,
                "{method}"
            );
            let mut web = Web::connect(server.api).await;
            let answer = web.modern("alice", method, without).await;
            assert_eq!(answer.failure(), (400, -32021));
            let answer = web.modern("bob", method, params).await;
            assert_eq!(answer.failure(), (400, -32602));
        }
        for wrong in [json!("x"), json!(7), json!(null)] {
            assert_eq!(alice.error("tasks/get", of(&wrong)).await.0, -32602);
        }
        for method in ["tasks/list", "tasks/result"] {
            assert_eq!(alice.error(method, of(&id)).await.0, -32601);
        }
        drop((alice, bob));
        server.signal(libc::SIGTERM);
        server.wait();
        let flags = [&flags[..], &["--vector-dimension", "128"]].concat();
        let server = launch(&flags).data(dir.path()).start();
        let mut alice = modern(&server, "alice").await;
        assert_eq!(ended(&mut alice, &id).await, task, "the record survives");
    });
}

#[test]
fn without_the_extension_the_call_is_answered_itself() {
    on_both(async |io| {
        let server = launch(&[&["--io", io], &HASHED[..]].concat()).start();
        let mut client = modern(&server, "alice").await;
        let mut call = switch(128);
        call["_meta"] = envelope(json!({}))["_meta"].clone();
        let result = client.result("tools/call", call).await;
        assert_eq!(result["resultType"], "complete");
        // What is refused at once is no task either.
        let same = client.result("tools/call", switch(0)).await;
        assert_eq!(
            (&same["resultType"], &same["isError"]),
            (&json!("complete"), &json!(true))
        );
        // Nor is what takes no time.
        let call = json!({"name": "store_memory", "arguments": {"content": "x"}});
        let result = client.result("tools/call", enveloped(call, tasks())).await;
        assert_eq!(result["resultType"], "complete");
    });
}

#[test]
fn a_listen_tells_of_a_task_until_it_ends() {
    on_both(async |io| {
        let server = launch(&[&["--io", io], &HASHED[..]].concat()).start();
        fill(&server, 200).await;
        let mut alice = modern(&server, "alice").await;
        let id = begin(&mut alice, 128).await;
        let listen = |id: &Value| enveloped(json!({"notifications": {"taskIds": [id]}}), tasks());
        let mut watcher = modern(&server, "alice").await;
        watcher.post("subscriptions/listen", listen(&id)).await;
        let first = watcher.receive().await;
        assert_eq!(first["params"]["notifications"]["taskIds"], json!([id]));
        // Somebody else may ask, and hears nothing.
        let mut bob = modern(&server, "bob").await;
        bob.post("subscriptions/listen", listen(&id)).await;
        assert!(bob.receive().await["params"]["notifications"].is_object());
        let task = ended(&mut alice, &id).await;
        let told = watcher.receive().await;
        assert_eq!(told["method"], "notifications/tasks", "{told}");
        let params = &told["params"];
        assert_eq!(
            (&params["taskId"], &params["status"]),
            (&id, &json!("completed"))
        );
        assert_eq!(params["result"], task["result"]);
        assert!(params["_meta"]["io.modelcontextprotocol/subscriptionId"].is_u64());
        assert!(bob.rest(Duration::from_millis(200)).await.is_empty());
    });
}

#[test]
fn a_cancelled_task_stays_cancelled() {
    on_both(async |io| {
        let dir = tempfile::tempdir().unwrap();
        let flags = [&["--io", io], &HASHED[..]].concat();
        let server = launch(&flags).data(dir.path()).start();
        fill(&server, 200).await;
        let mut alice = modern(&server, "alice").await;
        let id = begin(&mut alice, 128).await;
        let empty = alice.result("tasks/cancel", of(&id)).await;
        assert_eq!(empty["resultType"], "complete");
        let task = ended(&mut alice, &id).await;
        assert_eq!(task["status"], "cancelled", "{task}");
        assert!(task.get("result").is_none() && task.get("error").is_none());
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!(ended(&mut alice, &id).await["status"], "cancelled");
    });
}

#[test]
fn a_task_whose_server_was_killed_is_still_there() {
    on_both(async |io| {
        let dir = tempfile::tempdir().unwrap();
        let flags = [&["--io", io], &HASHED[..]].concat();
        let server = launch(&flags).data(dir.path()).start();
        fill(&server, 200).await;
        let mut alice = modern(&server, "alice").await;
        let id = begin(&mut alice, 128).await;
        server.kill();
        // Whether the switch was through is the keeper's affair; one of both starts works.
        let again = [&flags[..], &["--vector-dimension", "128"]].concat();
        let place = dir.path().to_owned();
        let started = std::panic::catch_unwind(|| launch(&flags).data(&place).start());
        let server = started.unwrap_or_else(|_| launch(&again).data(dir.path()).start());
        let mut alice = modern(&server, "alice").await;
        let task = alice.result("tasks/get", of(&id)).await;
        // It is given up once its lease is over, which the store's own tests wait for.
        let status = task["status"].as_str().unwrap();
        assert!(
            ["working", "failed", "completed"].contains(&status),
            "{task}"
        );
        assert_eq!(task["taskId"], id);
    });
}
