//! What a client shows to take up a session again.

use uuid::Uuid;

use crate::auth::Seal;
use crate::domain::{AgentKey, Timestamp};

/// Seconds that a token is good for: a connection may stay for months, and its client has but the one
/// token that it was given at the beginning. What ends a session is the reconnect window.
const TOKEN_SECONDS: u64 = 366 * 24 * 3_600;

/// Makes and reads resume tokens. Every node of a store makes the same ones, so they are good after
/// a restart and on another node.
#[derive(Debug)]
pub struct ResumeTokens(Seal);

impl ResumeTokens {
    /// Tokens under the secret of a store.
    pub fn new(secret: &[u8]) -> Self {
        Self(Seal::new(secret))
    }

    /// The token of a session that this node serves, good for its agent only.
    pub fn make(&self, agent: &AgentKey, session: Uuid, node: Uuid) -> String {
        let state = [session, node].map(Uuid::into_bytes);
        self.0
            .close_for(state.as_flattened(), &binding(agent), now(), TOKEN_SECONDS)
    }

    /// The session of a token and the node that served it, if the token is this agent's.
    pub fn open(&self, token: &str, agent: &AgentKey) -> Option<(Uuid, Uuid)> {
        let state = self.0.open(token, &binding(agent), now()).ok()?;
        let (session, node) = state.split_at_checked(size_of::<Uuid>())?;
        let session = Uuid::from_slice(session).ok()?;
        Some((session, Uuid::from_slice(node).ok()?))
    }
}

fn binding(agent: &AgentKey) -> String {
    format!("session {} {}", agent.namespace, agent.agent)
}

fn now() -> u64 {
    Timestamp::now().as_micros().max(0) as u64 / 1_000_000
}
