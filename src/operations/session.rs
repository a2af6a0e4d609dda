//! The caller's own session.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::arguments::Nothing;
use super::operation::{Operation, Scope};
use super::services::Context;
use crate::domain::{JsonObject, Timestamp};
use crate::rpc::Fault;

pub(super) fn rows() -> Vec<Operation> {
    vec![
        Operation::ready("session/info", info)
            .describe("Show this session: its id, agent, transport, client and message counts.")
            .scope(Scope::None),
    ]
}

/// Of session/info.
#[derive(Debug, Serialize, JsonSchema)]
struct SessionInfo {
    /// The session's id.
    session_id: Uuid,
    /// Who acts.
    agent_id: Arc<str>,
    /// In which namespace.
    namespace: Arc<str>,
    /// websocket or http.
    transport: &'static str,
    /// When it began.
    connected_at: Timestamp,
    /// What the client said of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<JsonObject>,
    /// Capabilities that the client named when it connected.
    capabilities: Vec<String>,
    /// Messages received on this session, this one included.
    messages_received: u64,
    /// Messages sent on this session.
    messages_sent: u64,
}

fn info(context: &Context<'_>, _: Nothing) -> Result<SessionInfo, Fault> {
    let session = context.session;
    let agent = session.agent();
    Ok(SessionInfo {
        session_id: session.id.get(),
        agent_id: agent.agent,
        namespace: agent.namespace,
        transport: session.transport.as_str(),
        connected_at: session.connected_at,
        client: session
            .client()
            .and_then(|client| JsonObject::parse(&client)),
        capabilities: session.capabilities().to_vec(),
        messages_received: session.messages_received.get(),
        messages_sent: session.messages_sent.get(),
    })
}
