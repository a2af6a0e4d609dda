//! turbomcp over WebSocket, as its documentation begins: the macros, `Json` and `run_websocket`.
//!
//! `rival-turbomcp ADDRESS`. The tool answers what our `health_check` answers.

use std::time::Instant;

use schemars::JsonSchema;
use turbomcp::prelude::*;

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
}

#[turbomcp::server(name = "rival", version = "0.1.0")]
impl Rival {
    /// Check the server's health
    #[tool(description = "Check the server's health")]
    async fn health_check(&self) -> McpResult<Json<Health>> {
        Ok(Json(Health {
            status: "healthy",
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: (self.start.elapsed().as_secs_f64() * 1e3).round() / 1e3,
            store: "sqlite",
            search: "lexical",
            embedding: "off",
            embedding_detail: "it is turned off",
        }))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).ok_or("the address is missing")?;
    let start = Instant::now();
    Rival { start }.run_websocket(&address).await?;
    Ok(())
}
