//! One agent's presence on one connection.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use uuid::Uuid;

use super::Registry;
use crate::domain::{AgentKey, Timestamp};

/// The wire that a session came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A WebSocket, for as long as it is open.
    WebSocket,
    /// One HTTP request, or a session of many.
    Http,
}

impl Transport {
    /// The name in answers and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Http => "http",
        }
    }
}

/// A session. It is registered from its making to its drop.
#[derive(Debug)]
pub struct Session {
    /// UUID v4: unguessable, since it will name the session to those who resume it.
    pub id: Uuid,
    /// The wire.
    pub transport: Transport,
    /// When it began.
    pub connected_at: Timestamp,
    /// Messages received.
    pub messages_received: Cell<u64>,
    /// Messages sent.
    pub messages_sent: Cell<u64>,
    agent: RefCell<AgentKey>,
    /// Capabilities that the client named when it connected.
    capabilities: Box<[String]>,
    /// `clientInfo` of `initialize`, as JSON.
    client: RefCell<Option<Box<str>>>,
    start_ms: u64,
    /// Absent for a single HTTP request, which is nobody's presence.
    registry: Option<Arc<Registry>>,
}

impl Session {
    /// Begins a session that counts as presence.
    pub fn open(
        registry: &Arc<Registry>,
        transport: Transport,
        agent: AgentKey,
        capabilities: Vec<String>,
    ) -> Self {
        let start_ms = registry.now_ms();
        let agent = registry.intern(agent);
        registry.enter(&agent, start_ms);
        Self::begin(
            transport,
            agent,
            capabilities,
            Some(Arc::clone(registry)),
            start_ms,
        )
    }

    /// The session of one request.
    pub fn of_request(agent: AgentKey) -> Self {
        Self::begin(Transport::Http, agent, Vec::new(), None, 0)
    }

    fn begin(
        transport: Transport,
        agent: AgentKey,
        capabilities: Vec<String>,
        registry: Option<Arc<Registry>>,
        start_ms: u64,
    ) -> Self {
        Self {
            id: Uuid::new_v4(),
            transport,
            connected_at: Timestamp::now(),
            messages_received: Cell::new(0),
            messages_sent: Cell::new(0),
            agent: RefCell::new(agent),
            capabilities: capabilities.into(),
            client: RefCell::new(None),
            start_ms,
            registry,
        }
    }

    /// The agent that acts.
    pub fn agent(&self) -> AgentKey {
        self.agent.borrow().clone()
    }

    /// Lets another agent act from now on; returns the one before.
    pub fn switch(&self, agent: AgentKey) -> AgentKey {
        let before = self.agent();
        match &self.registry {
            Some(registry) => {
                let agent = registry.intern(agent);
                registry.switch(&before, &agent);
                self.agent.replace(agent);
            }
            None => drop(self.agent.replace(agent)),
        }
        before
    }

    /// Capabilities that the client named when it connected.
    pub fn capabilities(&self) -> &[String] {
        &self.capabilities
    }

    /// Keeps what the client says of itself.
    pub fn set_client(&self, client: &str) {
        self.client.replace(Some(client.into()));
    }

    /// What the client said of itself, as JSON.
    pub fn client(&self) -> Option<Box<str>> {
        self.client.borrow().clone()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(registry) = &self.registry {
            registry.leave(self.agent.get_mut(), self.start_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{AgentKey, Registry, Session, Transport};

    #[test]
    fn sessions_count_while_they_live_and_follow_their_agent() {
        let registry = Arc::new(Registry::default());
        let key = |name| AgentKey::new("space", name).unwrap();
        let first = Session::open(&registry, Transport::WebSocket, key("a"), Vec::new());
        let second = Session::open(&registry, Transport::WebSocket, key("a"), Vec::new());
        assert!(Arc::ptr_eq(&first.agent().agent, &second.agent().agent));
        let presence = registry.presence();
        assert_eq!((presence.open, presence.agents), (2, 1));
        second.switch(key("b"));
        assert_eq!(registry.presence().agents, 2);
        drop(first);
        drop(second);
        let presence = registry.presence();
        assert_eq!((presence.open, presence.opened, presence.agents), (0, 2, 0));
    }
}
