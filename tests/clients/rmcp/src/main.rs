//! rmcp, the official Rust SDK, as a client: over Streamable HTTP or over a WebSocket of our own making, in both eras.
//!
//! `rmcp-client URL legacy|auto`

use std::{future::ready, process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use rmcp::{
    ClientHandler, ServiceExt,
    model::{
        CallToolRequest, CallToolRequestParams, CallToolResult, ClientRequest,
        ProgressNotificationParam, ProtocolVersion, ReadResourceRequestParams, ResourceContents,
    },
    service::{
        ClientLifecycleMode, ClientServiceExt, NotificationContext, PeerRequestOptions, RoleClient,
        RunningService, RxJsonRpcMessage, ServiceError, TxJsonRpcMessage,
    },
    transport::{IntoTransport, StreamableHttpClientTransport},
};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{self, ClientRequestBuilder, Message},
};

/// Keeps what the server says about progress.
struct Judge(mpsc::UnboundedSender<f64>);

impl ClientHandler for Judge {
    async fn on_progress(
        &self,
        params: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        let _ = self.0.send(params.progress);
    }
}

type Client = RunningService<RoleClient, Judge>;

async fn start<T, E, A>(judge: Judge, transport: T, era: &str) -> Result<Client>
where
    T: IntoTransport<RoleClient, E, A>,
    E: std::error::Error + Send + Sync + 'static,
{
    Ok(match era {
        "legacy" => judge.serve(transport).await?,
        _ => {
            let lifecycle = ClientLifecycleMode::Auto {
                preferred_versions: vec![ProtocolVersion::V_2026_07_28],
                legacy_version: None,
            };
            judge.serve_with_lifecycle(transport, lifecycle).await?
        }
    })
}

async fn connect(judge: Judge, url: &str, era: &str) -> Result<Client> {
    if url.starts_with("http") {
        return start(judge, StreamableHttpClientTransport::from_uri(url), era).await;
    }
    let request = ClientRequestBuilder::new(url.parse()?).with_sub_protocol("mcp");
    let (sink, stream) = connect_async(request).await?.0.split();
    let sink = sink.with(|message: TxJsonRpcMessage<RoleClient>| {
        let text = serde_json::to_string(&message).expect("a message is JSON");
        ready(Ok::<_, tungstenite::Error>(Message::text(text)))
    });
    let stream = stream.filter_map(|message| {
        ready(match message {
            Ok(Message::Text(text)) => serde_json::from_str::<RxJsonRpcMessage<RoleClient>>(&text)
                .inspect_err(|error| eprintln!("FAILED to read {text}: {error}"))
                .ok(),
            _ => None,
        })
    });
    start(judge, (sink, stream), era).await
}

fn request(tool: &'static str, arguments: Value) -> CallToolRequestParams {
    CallToolRequestParams::new(tool)
        .with_arguments(arguments.as_object().cloned().unwrap_or_default())
}

async fn call(
    client: &Client,
    tool: &'static str,
    arguments: Value,
) -> Result<CallToolResult, ServiceError> {
    client.call_tool(request(tool, arguments)).await
}

fn code<T>(answer: Result<T, ServiceError>) -> Result<i32> {
    match answer {
        Err(ServiceError::McpError(error)) => Ok(error.code.0),
        Err(error) => bail!("not an error of the server: {error}"),
        Ok(_) => bail!("it was answered"),
    }
}

/// The code of a tool that failed.
fn fault(result: &CallToolResult) -> Result<&Value> {
    ensure!(result.is_error == Some(true), "no error: {result:?}");
    Ok(&result
        .structured_content
        .as_ref()
        .context("nothing structured")?["code"])
}

async fn tools(client: &Client) -> Result<()> {
    let names: Vec<_> = client
        .list_all_tools()
        .await?
        .into_iter()
        .map(|tool| tool.name)
        .collect();
    for wanted in [
        "store_memory",
        "semantic_search",
        "test_tool_with_progress",
        "test_slow",
    ] {
        ensure!(
            names.iter().any(|name| name == wanted),
            "no {wanted} in {names:?}"
        );
    }
    println!("ok list tools");
    Ok(())
}

async fn calls(client: &Client) -> Result<()> {
    let mark = format!("rmcp{}", std::process::id());
    let content = format!("The kettle is green {mark}");
    let stored = call(client, "store_memory", json!({"content": content})).await?;
    let stored = stored.structured_content.context("nothing structured")?;
    let found = call(
        client,
        "semantic_search",
        json!({"query": format!("kettle {mark}"), "limit": 5}),
    )
    .await?;
    let found = found.structured_content.context("nothing structured")?;
    ensure!(found["hits"][0]["id"] == stored["id"], "{found}");
    println!("ok call");

    let refused = code(call(client, "no_such_tool", json!({})).await)?;
    ensure!(refused == -32602, "unknown tool: {refused}");
    let failed = call(client, "test_error_handling", json!({})).await?;
    ensure!(failed.is_error == Some(true), "{failed:?}");
    let bad = call(client, "store_memory", json!({"text": "x"})).await?;
    ensure!(fault(&bad)? == "INVALID_ARGUMENTS", "{bad:?}");
    println!("ok errors");
    Ok(())
}

async fn resources(client: &Client) -> Result<()> {
    let listed = client.list_all_resources().await?;
    let uri = &listed.first().context("no resources")?.uri;
    let read = client
        .read_resource(ReadResourceRequestParams::new(uri.clone()))
        .await?;
    let same = |contents: &ResourceContents| {
        serde_json::to_value(contents).is_ok_and(|contents| contents["uri"] == uri.as_str())
    };
    ensure!(
        read.contents.iter().all(same) && !read.contents.is_empty(),
        "{read:?}"
    );
    let unknown = client
        .read_resource(ReadResourceRequestParams::new("test://no-such-resource"))
        .await;
    let refused = code(unknown)?;
    ensure!(
        [-32602, -32002].contains(&refused),
        "unknown resource: {refused}"
    );
    println!("ok resources");
    Ok(())
}

async fn waiting(client: &Client, mut progress: mpsc::UnboundedReceiver<f64>) -> Result<()> {
    // rmcp gives every request a progress token.
    call(client, "test_tool_with_progress", json!({})).await?;
    let mut steps = Vec::new();
    while let Ok(Some(step)) = timeout(Duration::from_millis(500), progress.recv()).await {
        steps.push(step);
        if steps.len() == 3 {
            break;
        }
    }
    ensure!(steps == [0.0, 50.0, 100.0], "progress: {steps:?}");
    println!("ok progress");

    let slow = ClientRequest::CallToolRequest(CallToolRequest::new(request(
        "test_slow",
        json!({"seconds": 30}),
    )));
    let handle = client
        .send_cancellable_request(slow, PeerRequestOptions::no_options())
        .await?;
    tokio::time::sleep(Duration::from_millis(100)).await;
    handle.cancel(Some("enough".to_owned())).await?;
    let healthy = timeout(
        Duration::from_secs(5),
        call(client, "health_check", json!({})),
    )
    .await;
    let healthy = healthy.context("nothing is answered after a cancellation")??;
    ensure!(healthy.is_error != Some(true), "{healthy:?}");
    println!("ok cancel");
    Ok(())
}

async fn judge(url: &str, era: &str) -> Result<()> {
    let (sender, progress) = mpsc::unbounded_channel();
    let client = connect(Judge(sender), url, era).await?;
    let version = client
        .peer_info()
        .context("no server")?
        .protocol_version
        .to_string();
    let wanted = if era == "legacy" {
        "2025-11-25"
    } else {
        "2026-07-28"
    };
    ensure!(version == wanted, "era: {version}");
    println!("ok era");
    tools(&client).await?;
    calls(&client).await?;
    resources(&client).await?;
    waiting(&client, progress).await?;
    client.cancel().await?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let [_, url, era] = &std::env::args().collect::<Vec<_>>()[..] else {
        eprintln!("usage: rmcp-client URL legacy|auto");
        return ExitCode::from(2);
    };
    let judged = timeout(Duration::from_secs(60), judge(url, era)).await;
    if let Err(error) = judged.map_err(Into::into).flatten() {
        eprintln!("FAILED {error:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
