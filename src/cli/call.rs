//! `tmws call`: one operation of a running server, over its WebSocket.

use std::time::Instant;

use clap::ArgMatches;
use sonic_rs::{JsonContainerTrait, JsonValueTrait, Value};

use super::client::{self, Client, Failure, pretty};
use super::{Exit, say, text};
use crate::rpc::mcp;

pub(super) fn run(matches: &ArgMatches) -> Exit {
    client::run(client::within(call(matches)))
}

async fn call(matches: &ArgMatches) -> Result<(), Failure> {
    if matches.get_flag("test") {
        return test(matches).await;
    }
    let operation = text(matches, "operation").unwrap_or_default();
    let arguments = text(matches, "arguments").unwrap_or("{}");
    let parsed: Value = sonic_rs::from_str(arguments)
        .map_err(|_| Failure::Usage("the arguments are not JSON".to_owned()))?;
    if !parsed.is_object() {
        return Err(Failure::Usage(
            "the arguments must be a JSON object".to_owned(),
        ));
    }
    let mut client = Client::connect(matches).await?;
    let result: Value = client.request(operation, arguments).await?;
    client.close().await;
    say(&pretty(&result));
    Ok(())
}

async fn test(matches: &ArgMatches) -> Result<(), Failure> {
    let mut started = Instant::now();
    let mut step = |what: String| {
        let elapsed_ms = started.elapsed().as_secs_f64() * 1e3;
        say(&format!("ok {elapsed_ms:8.2} ms  {what}"));
        started = Instant::now();
    };
    let mut client = Client::connect(matches).await?;
    step("connect".to_owned());
    let initialize = format!(
        "{{\"protocolVersion\":\"{}\",\"capabilities\":{{}},\"clientInfo\":{{\"name\":\"tmws-call\",\"version\":\"{}\"}}}}",
        mcp::LEGACY[0],
        env!("CARGO_PKG_VERSION")
    );
    let initialized: Value = client.request("initialize", &initialize).await?;
    step(format!(
        "initialize: MCP {}",
        initialized["protocolVersion"].as_str().unwrap_or("?")
    ));
    let tools: Value = client.request("tools/list", "{}").await?;
    step(format!(
        "tools/list: {} tools",
        tools["tools"].as_array().map_or(0, |tools| tools.len())
    ));
    let health: Value = client
        .request("tools/call", "{\"name\":\"health_check\",\"arguments\":{}}")
        .await?;
    step(format!(
        "health_check: {}",
        health["structuredContent"]["status"]
            .as_str()
            .unwrap_or("?")
    ));
    client.close().await;
    Ok(())
}
