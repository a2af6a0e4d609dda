//! tower-mcp over WebSocket, as its documentation begins: a router with one tool, served at `/`.
//!
//! `rival-tower-mcp ADDRESS`. The tool answers what our `health_check` answers.

use std::time::Instant;

use serde::Serialize;
use tower_mcp::transport::websocket::WebSocketTransport;
use tower_mcp::{BoxError, CallToolResult, McpRouter, NoParams, ToolBuilder};

#[derive(Serialize)]
struct Health {
    status: &'static str,
    version: &'static str,
    uptime_seconds: f64,
    store: &'static str,
    search: &'static str,
    embedding: &'static str,
    embedding_detail: &'static str,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let address = std::env::args().nth(1).ok_or("the address is missing")?;
    let start = Instant::now();
    let health = ToolBuilder::new("health_check")
        .description("Check the server's health")
        .handler(move |_: NoParams| async move {
            CallToolResult::from_serialize(&Health {
                status: "healthy",
                version: env!("CARGO_PKG_VERSION"),
                uptime_seconds: (start.elapsed().as_secs_f64() * 1e3).round() / 1e3,
                store: "sqlite",
                search: "lexical",
                embedding: "off",
                embedding_detail: "it is turned off",
            })
        })
        .build();
    let router = McpRouter::new().server_info("rival", "0.1.0").tool(health);
    WebSocketTransport::new(router).serve(&address).await?;
    Ok(())
}
