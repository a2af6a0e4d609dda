//! The load: a closed loop over many connections, with the server's CPU clock read around it.

use std::cell::Cell;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};

use super::super::client::Failure;
use super::server::Server;
use super::socket::Socket;
use super::work::Work;
use crate::rpc::mcp;

/// Time for what was asked last, beyond the time of the load.
const PATIENCE: Duration = Duration::from_secs(20);
/// Share of the measured time for which the load runs before it.
const WARM_UP: f64 = 0.25;

/// What was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stage {
    /// What was asked.
    pub(super) name: String,
    /// Requests under way on each connection.
    pub(super) in_flight: usize,
    /// Right answers in a second.
    pub(super) answers_per_second: f64,
    /// CPU time of the server for each.
    pub(super) server_cpu_ns: f64,
}

/// Connections to the server, all of which are used at once.
pub(super) struct Load<'s> {
    server: &'s Server,
    sockets: Vec<Socket>,
}

impl<'s> Load<'s> {
    /// Connects so many times, to the echo or as an MCP client.
    pub(super) async fn connect(
        server: &'s Server,
        connections: u64,
        echo: bool,
    ) -> Result<Self, Failure> {
        let url = server.url(echo);
        let initialize = if echo { String::new() } else { initialize() };
        let sockets = (0..connections).map(|number| Socket::connect(&url, number, &initialize));
        let sockets = timeout(PATIENCE, try_join_all(sockets)).await;
        let late = |_| Failure::Failed("the server does not take connections".to_owned());
        Ok(Self {
            server,
            sockets: sockets.map_err(late)??,
        })
    }

    /// Asks for `seconds` and tells what it cost.
    pub(super) async fn measure(
        &mut self,
        name: &str,
        work: Work,
        in_flight: usize,
        seconds: f64,
    ) -> Result<Stage, Failure> {
        let (answers, stops) = (Cell::new(0_u64), Cell::new(false));
        let server = self.server;
        let drives = self.sockets.iter_mut().map(|socket| {
            let count = |more| answers.set(answers.get() + more);
            socket.drive(work, in_flight, || !stops.get(), count)
        });
        let watch = async {
            sleep(Duration::from_secs_f64(seconds * WARM_UP)).await;
            let before = (Instant::now(), server.cpu_ns()?, answers.get());
            // At least one answer, however short the time is.
            while before.0.elapsed().as_secs_f64() < seconds || answers.get() == before.2 {
                sleep(Duration::from_secs_f64(seconds.min(0.01))).await;
            }
            let after = (before.0.elapsed(), server.cpu_ns()?, answers.get());
            stops.set(true);
            let count = (after.2 - before.2) as f64;
            Ok(Stage {
                name: name.to_owned(),
                in_flight,
                answers_per_second: (count / after.0.as_secs_f64()).round(),
                server_cpu_ns: (after.1.saturating_sub(before.1) as f64 / count).round(),
            })
        };
        let bound = PATIENCE + Duration::from_secs_f64(seconds * (1.0 + WARM_UP));
        let both = async { tokio::try_join!(watch, try_join_all(drives)) };
        match timeout(bound, both).await {
            Ok(done) => Ok(done?.0),
            Err(_) => Err(Failure::Failed(format!("{name}: answers are missing"))),
        }
    }

    /// Requests that each connection has sent at least.
    pub(super) fn sent(&self) -> u64 {
        self.sockets.iter().map(Socket::sent).min().unwrap_or(0)
    }
}

fn initialize() -> String {
    format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"initialize\",\"params\":{{\"protocolVersion\":\"{}\",\
         \"capabilities\":{{}},\"clientInfo\":{{\"name\":\"tmws-bench\",\"version\":\"{}\"}}}}}}",
        mcp::LEGACY[0],
        env!("CARGO_PKG_VERSION")
    )
}
