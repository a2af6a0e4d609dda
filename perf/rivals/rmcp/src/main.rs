//! rmcp, the official Rust SDK, over streamable HTTP with its defaults: sessions, answers as event streams.
//!
//! `rival-rmcp ADDRESS`, served at `/mcp`. The tool answers what our `health_check` answers.

use std::sync::Arc;
use std::time::Instant;

use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{Json, ServerHandler, tool, tool_handler, tool_router};
use schemars::JsonSchema;
use serde::Serialize;

#[derive(Serialize, JsonSchema)]
struct Health {
    status: &'static str,
    version: &'static str,
    uptime_seconds: f64,
    store: &'static str,
    search: &'static str,
    embedding: &'static str,
    embedding_detail: &'static str,
}

#[derive(Clone)]
struct Rival {
    start: Instant,
    tool_router: ToolRouter<Self>,
}

#[tool_router]
impl Rival {
    fn new(start: Instant) -> Self {
        let tool_router = Self::tool_router();
        Self { start, tool_router }
    }

    #[tool(description = "Check the server's health")]
    async fn health_check(&self) -> Json<Health> {
        Json(Health {
            status: "healthy",
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: (self.start.elapsed().as_secs_f64() * 1e3).round() / 1e3,
            store: "sqlite",
            search: "lexical",
            embedding: "off",
            embedding_detail: "it is turned off",
        })
    }
}

#[tool_handler(router = self.tool_router)]
impl ServerHandler for Rival {}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).ok_or("the address is missing")?;
    let start = Instant::now();
    let service = StreamableHttpService::new(
        move || Ok(Rival::new(start)),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default(),
    );
    let router = axum::Router::new().nest_service("/mcp", service);
    let listener = tokio::net::TcpListener::bind(address).await?;
    axum::serve(listener, router).await?;
    Ok(())
}
