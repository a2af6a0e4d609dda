//! One agent's presence on one connection.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use uuid::Uuid;

use super::Registry;
use super::courier::{Arrival, Attendance, Courier};
use crate::config::limits::SESSION_RESULTS_MAX;
use crate::domain::{AgentKey, Keyed, Timestamp};

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

/// What a session knows of an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// Nothing.
    Nothing,
    /// The result of the same call.
    Result(Vec<u8>),
    /// That it was used for another call.
    Other,
}

/// A session. It is registered from its making to its drop.
#[derive(Debug)]
pub struct Session {
    /// UUID v4: unguessable, since it names the session to those who resume it. Whoever takes up an
    /// earlier session has its id.
    pub id: Cell<Uuid>,
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
    /// The name of its connection, by which messages reach it that answer nothing; none if only
    /// answers do.
    connection: Cell<Option<u64>>,
    /// That it takes deliveries.
    attendance: RefCell<Option<Rc<Attendance>>>,
    /// How its agent has come to this node, once it has sent something.
    arrival: RefCell<Option<Rc<Arrival>>>,
    /// Results of calls that changed nothing but the session, by key, the latest last. The agent is
    /// not asked for, since such a call may be what has changed it.
    results: RefCell<VecDeque<(Keyed, Box<[u8]>)>>,
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
            id: Cell::new(Uuid::new_v4()),
            transport,
            connected_at: Timestamp::now(),
            messages_received: Cell::new(0),
            messages_sent: Cell::new(0),
            agent: RefCell::new(agent),
            capabilities: capabilities.into(),
            client: RefCell::new(None),
            start_ms,
            connection: Cell::new(None),
            attendance: RefCell::new(None),
            arrival: RefCell::default(),
            results: RefCell::default(),
            registry,
        }
    }

    /// Names the connection by which deliveries can reach it.
    pub fn set_connection(&self, key: u64) {
        self.connection.set(Some(key));
    }

    /// Can deliveries reach its client?
    pub fn has_connection(&self) -> bool {
        self.connection.get().is_some()
    }

    /// Has deliveries come by its connection; `None` if they cannot.
    pub fn attend(&self, courier: &Rc<Courier>) -> Option<Rc<Attendance>> {
        let key = self.connection.get()?;
        let mut attendance = self.attendance.borrow_mut();
        let attend = || Rc::new(courier.attend(self.id.get(), self.agent(), key));
        Some(Rc::clone(attendance.get_or_insert_with(attend)))
    }

    /// That it takes deliveries, if it does.
    pub fn attendance(&self) -> Option<Rc<Attendance>> {
        self.attendance.borrow().clone()
    }

    /// Takes no more deliveries; what it has not settled is for the agent's next session.
    pub fn end_attendance(&self) -> bool {
        let attendance = self.attendance.take();
        if let Some(attendance) = &attendance {
            attendance.abandon();
            self.id.set(Uuid::new_v4());
        }
        attendance.is_some()
    }

    /// The agent that acts.
    pub fn agent(&self) -> AgentKey {
        self.agent.borrow().clone()
    }

    /// How its agent has come to this node as a sender.
    pub fn arrival(&self) -> Rc<Arrival> {
        Rc::clone(self.arrival.borrow_mut().get_or_insert_default())
    }

    /// Lets another agent act from now on; returns the one before.
    pub fn switch(&self, agent: AgentKey) -> AgentKey {
        let before = self.agent();
        self.arrival.take();
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

    /// What is kept under an idempotency key.
    pub fn kept(&self, keyed: &Keyed) -> Kept {
        let results = self.results.borrow();
        match results.iter().find(|(known, _)| known.key == keyed.key) {
            None => Kept::Nothing,
            Some((known, result)) if known.digest == keyed.digest => Kept::Result(result.to_vec()),
            Some(_) => Kept::Other,
        }
    }

    /// Keeps the result of a call that has changed nothing but this session; the oldest one makes room.
    pub fn keep(&self, keyed: &Keyed, result: &[u8]) {
        let mut results = self.results.borrow_mut();
        if results.len() == SESSION_RESULTS_MAX {
            results.pop_front();
        }
        results.push_back((keyed.clone(), result.into()));
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
