//! Every kind of message that the server sends fits the official types, with nothing left over.
//!
//! The types are those of 2026-07-28 and 2025-11-25. One build of the crate holds one revision, so
//! 2025-06-18, 2025-03-26 and 2024-11-05 are checked as far as they are parts of 2025-11-25, which
//! only added to them. The tasks extension has no types of its own there.

use rust_mcp_schema as modern;
use rust_mcp_schema_legacy as legacy;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::harness::web::{envelope, enveloped};
use crate::harness::{Client, agent, connect, launch, on_both};

/// Reads a message as a type, writes it again, and finds all of it there.
fn fits<T: DeserializeOwned + Serialize>(message: &Value) {
    let name = std::any::type_name::<T>();
    let read: T = serde_json::from_value(message.clone())
        .unwrap_or_else(|error| panic!("no {name}: {error}\n{message}"));
    let written = serde_json::to_value(&read).unwrap();
    if let Some(place) = left_over(message, &written) {
        panic!("{name} has no {place}\n{message}");
    }
}

/// The place of the first thing in `message` that is not in `written`.
fn left_over(message: &Value, written: &Value) -> Option<String> {
    match (message, written) {
        (Value::Object(message), Value::Object(written)) => {
            // A schema may say what JSON Schema has, and the data of an error is its sender's.
            let open = ["inputSchema", "outputSchema", "data"];
            message
                .iter()
                .filter(|(name, _)| !open.contains(&name.as_str()))
                .find_map(|(name, value)| match written.get(name) {
                    Some(written) => {
                        left_over(value, written).map(|place| format!("{name}.{place}"))
                    }
                    // What is empty may be left out.
                    None if *value == json!([]) => None,
                    None => Some(name.clone()),
                })
        }
        (Value::Array(message), Value::Array(written)) if message.len() == written.len() => message
            .iter()
            .zip(written)
            .find_map(|(message, written)| left_over(message, written)),
        (Value::Number(message), Value::Number(written)) => {
            (message.as_f64() != written.as_f64()).then(|| message.to_string())
        }
        _ => (message != written).then(|| message.to_string()),
    }
}

/// The result of a request, whole and as its own type.
async fn result<W, T>(client: &mut Client, method: &str, params: Value) -> Value
where
    W: DeserializeOwned + Serialize,
    T: DeserializeOwned + Serialize,
{
    let answer = client.request(method, params).await;
    assert!(answer.get("error").is_none(), "{method}: {answer}");
    fits::<W>(&answer);
    fits::<T>(&answer["result"]);
    answer["result"].clone()
}

#[test]
fn modern_messages() {
    use modern::*;
    type Whole = JsonrpcResultResponse;
    on_both(async |io| {
        let server = launch(&["--io", io, "--drain-seconds", "0"]).start();
        let fields = [("X-Agent-ID", "alice")];
        let mut client = connect(server.ws, "/ws?tools=full", &fields).await;
        let of = envelope;
        result::<Whole, DiscoverResult>(&mut client, "server/discover", of(json!({}))).await;
        let register = of(json!({"name": "register_agent", "arguments": {"agent_id": "bob"}}));
        result::<Whole, CallToolResult>(&mut client, "tools/call", register).await;
        let page = result::<Whole, ListToolsResult>(&mut client, "tools/list", of(json!({}))).await;
        let next = of(json!({"cursor": page["nextCursor"]}));
        result::<Whole, ListToolsResult>(&mut client, "tools/list", next).await;
        let call = |name: &str, arguments: Value| of(json!({"name": name, "arguments": arguments}));
        let store = call("store_memory", json!({"content": "one", "tags": ["a"]}));
        let stored = result::<Whole, CallToolResult>(&mut client, "tools/call", store).await;
        let id = stored["structuredContent"]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let uri = format!("memory://default/{id}");
        let wrong = call("store_memory", json!({"content": ""}));
        let refused = result::<Whole, CallToolResult>(&mut client, "tools/call", wrong).await;
        assert_eq!(refused["isError"], true);
        let search = call("semantic_search", json!({"query": "one"}));
        result::<Whole, CallToolResult>(&mut client, "tools/call", search).await;
        let page =
            result::<Whole, ListResourcesResult>(&mut client, "resources/list", of(json!({})))
                .await;
        let next = of(json!({"cursor": page["nextCursor"]}));
        result::<Whole, ListResourcesResult>(&mut client, "resources/list", next).await;
        let method = "resources/templates/list";
        result::<Whole, ListResourceTemplatesResult>(&mut client, method, of(json!({}))).await;
        for uri in [uri.as_str(), "memory://default/recent", "agent://bob"] {
            let read = of(json!({"uri": uri}));
            result::<Whole, ReadResourceResult>(&mut client, "resources/read", read).await;
        }
        result::<Whole, ListPromptsResult>(&mut client, "prompts/list", of(json!({}))).await;
        for prompt in [
            json!({"name": "summarize_memories"}),
            json!({"name": "plan_task", "arguments": {"goal": "x"}}),
            json!({"name": "handoff", "arguments": {"to_agent": "bob", "work": "x"}}),
        ] {
            result::<Whole, GetPromptResult>(&mut client, "prompts/get", of(prompt)).await;
        }
        let asks = enveloped(json!({"name": "plan_task"}), json!({"elicitation": {}}));
        let asked = result::<Whole, InputRequiredResult>(&mut client, "prompts/get", asks).await;
        for request in asked["inputRequests"].as_object().unwrap().values() {
            fits::<InputRequest>(request);
        }
        for (reference, argument) in [
            (json!({"type": "ref/prompt", "name": "handoff"}), "to_agent"),
            (json!({"type": "ref/prompt", "name": "plan_task"}), "goal"),
            (
                json!({"type": "ref/resource", "uri": "memory://{namespace}/{id}"}),
                "id",
            ),
        ] {
            let params = of(json!({"ref": reference, "argument": {"name": argument, "value": ""}}));
            result::<Whole, CompleteResult>(&mut client, "completion/complete", params).await;
        }

        let mut old = of(json!({}));
        old["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("1900-01-01");
        for (method, params) in [
            ("no/such", of(json!({}))),
            ("tools/call", call("none", json!({}))),
            (
                "resources/read",
                of(json!({"uri": "memory://default/none"})),
            ),
            ("prompts/get", of(json!({"name": "plan_task"}))),
            ("tools/list", json!({})),
            (
                "memory/get",
                of(json!({"id": "0199c0de-0000-7000-8000-000000000000"})),
            ),
        ] {
            fits::<JsonrpcErrorResponse>(&client.request(method, params).await);
        }
        let answer = client.request("tools/list", old).await;
        fits::<UnsupportedProtocolVersionError>(&answer);
        let tasks = of(json!({"taskId": "0199c0de-0000-7000-8000-000000000000"}));
        let answer = client.request("tasks/get", tasks).await;
        fits::<MissingRequiredClientCapabilityError>(&answer);
        // What could not be read has no id: JSON-RPC 2.0 writes null then, MCP's types nothing.
        client.send("{").await;
        let mut answer = client.receive().await;
        let none = answer.as_object_mut().unwrap().remove("id");
        assert_eq!(none, Some(json!(null)));
        fits::<JsonrpcErrorResponse>(&answer);

        let filter = json!({"resourceSubscriptions": [uri], "resourcesListChanged": true});
        client
            .post("subscriptions/listen", of(json!({"notifications": filter})))
            .await;
        fits::<SubscriptionsAcknowledgedNotification>(&client.receive().await);
        let mut writer = connect(server.ws, "/", &fields).await;
        writer
            .result("memory/update", of(json!({"id": id, "tags": ["b"]})))
            .await;
        let told = [client.receive().await, client.receive().await];
        for message in &told {
            match message["method"].as_str().unwrap() {
                "notifications/resources/updated" => fits::<ResourceUpdatedNotification>(message),
                _ => fits::<ResourceListChangedNotification>(message),
            }
            fits::<ServerNotification>(message);
        }
        assert_ne!(told[0]["method"], told[1]["method"]);
        server.signal(libc::SIGTERM);
        let end = client.receive().await;
        fits::<Whole>(&end);
        fits::<SubscriptionsListenResult>(&end["result"]);
    });
}

#[test]
fn legacy_messages() {
    use legacy::*;
    type Whole = JsonrpcResultResponse;
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        for version in ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"] {
            let fields = [("X-Agent-ID", version)];
            let mut client = connect(server.ws, "/ws?tools=full", &fields).await;
            let begin = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
            result::<Whole, InitializeResult>(&mut client, "initialize", begin).await;
            let empty = json!({});
            result::<Whole, Result>(&mut client, "ping", empty.clone()).await;
            let page =
                result::<Whole, ListToolsResult>(&mut client, "tools/list", empty.clone()).await;
            let next = json!({"cursor": page["nextCursor"]});
            result::<Whole, ListToolsResult>(&mut client, "tools/list", next).await;
            let store = json!({"name": "store_memory", "arguments": {"content": "one"}});
            let stored = result::<Whole, CallToolResult>(&mut client, "tools/call", store).await;
            let id = stored["structuredContent"]["id"]
                .as_str()
                .unwrap()
                .to_owned();
            let uri = format!("memory://default/{id}");
            let wrong = json!({"name": "store_memory", "arguments": {"content": ""}});
            let refused = result::<Whole, CallToolResult>(&mut client, "tools/call", wrong).await;
            assert_eq!(refused["isError"], true);
            result::<Whole, ListResourcesResult>(&mut client, "resources/list", empty.clone())
                .await;
            let method = "resources/templates/list";
            result::<Whole, ListResourceTemplatesResult>(&mut client, method, empty.clone()).await;
            for uri in [uri.as_str(), "memory://default/recent"] {
                let read = json!({"uri": uri});
                result::<Whole, ReadResourceResult>(&mut client, "resources/read", read).await;
            }
            result::<Whole, ListPromptsResult>(&mut client, "prompts/list", empty.clone()).await;
            let prompt = json!({"name": "summarize_memories"});
            result::<Whole, GetPromptResult>(&mut client, "prompts/get", prompt).await;
            let complete = json!({"ref": {"type": "ref/prompt", "name": "handoff"}, "argument": {"name": "to_agent", "value": ""}});
            result::<Whole, CompleteResult>(&mut client, "completion/complete", complete).await;
            let subscribe = json!({"uri": uri});
            result::<Whole, Result>(&mut client, "resources/subscribe", subscribe.clone()).await;
            let mut writer = agent(&server, version).await;
            let change = json!({"id": id, "tags": ["b"]});
            writer.result("memory/update", change).await;
            let told = client.receive().await;
            fits::<ResourceUpdatedNotification>(&told);
            fits::<ServerNotification>(&told);
            result::<Whole, Result>(&mut client, "resources/unsubscribe", subscribe).await;
            let level = json!({"level": "debug"});
            result::<Whole, Result>(&mut client, "logging/setLevel", level).await;
            for content in ["x", ""] {
                let tool = json!({"name": "store_memory", "arguments": {"content": content}});
                client.post("tools/call", tool).await;
                let mut messages = [client.receive().await, client.receive().await];
                messages.sort_by_key(|message| message["id"].is_null());
                fits::<CallToolResult>(&messages[0]["result"]);
                fits::<LoggingMessageNotification>(&messages[1]);
            }
            result::<Whole, Result>(
                &mut client,
                "logging/setLevel",
                json!({"level": "emergency"}),
            )
            .await;
            for (method, params) in [
                ("no/such", empty.clone()),
                ("tools/call", json!({"name": "none"})),
                ("resources/read", json!({"uri": "memory://default/none"})),
                ("prompts/get", json!({"name": "plan_task"})),
            ] {
                fits::<JsonrpcErrorResponse>(&client.request(method, params).await);
            }
        }
    });
}
