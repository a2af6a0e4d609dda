//! One client of `load mixed`: what it has stored, and what it does next.

use std::collections::VecDeque;
use std::time::Instant;

use serde_json::{Value, json};

use crate::delivery::peer::Welcome;
use crate::jsonrpc::{self, FIRST_ID};
use crate::outbox::Outbox;
use crate::random::{STEP, mixed};

/// Ids from here on are of acknowledgements.
pub(super) const FIRST_ACK_ID: u64 = 2 * FIRST_ID;

/// How a client reaches the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    /// A session of `tmws.v1`, which takes deliveries.
    WebSocket,
    /// MCP's streamable HTTP.
    Http,
}

/// What a client can do; the order is that of the counts in the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Initialize,
    Resume,
    Create,
    Search,
    Recall,
    Update,
    Delete,
    List,
    Health,
    Send,
    Status,
    Online,
}

impl Kind {
    pub(super) const ALL: [Self; 12] = [
        Self::Initialize,
        Self::Resume,
        Self::Create,
        Self::Search,
        Self::Recall,
        Self::Update,
        Self::Delete,
        Self::List,
        Self::Health,
        Self::Send,
        Self::Status,
        Self::Online,
    ];

    /// What one in a hundred does, in hundredths; the rest are health checks.
    const SHARES: [(Self, u64); 9] = [
        (Self::Create, 15),
        (Self::Search, 12),
        (Self::Recall, 10),
        (Self::Update, 7),
        (Self::Delete, 4),
        (Self::List, 9),
        (Self::Send, 20),
        (Self::Status, 3),
        (Self::Online, 2),
    ];

    /// The kind that a number below 100 stands for.
    fn of(mut number: u64) -> Self {
        for (kind, share) in Self::SHARES {
            match number.checked_sub(share) {
                Some(rest) => number = rest,
                None => return kind,
            }
        }
        Self::Health
    }
}

/// A memory that the server has acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) id: String,
    pub(super) content: String,
    /// The word that no other memory holds.
    pub(super) marker: String,
}

/// A request that waits for its answer.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) kind: Kind,
    pub(super) id: u64,
    /// When it left, or should have left.
    pub(super) due: Instant,
    /// The memory that it is about, as it will be.
    pub(super) kept: Option<Kept>,
}

/// A client, over all its connections.
pub(super) struct Client {
    pub(super) wire: Wire,
    pub(super) index: usize,
    pub(super) asked: Option<Asked>,
    /// Operations whose time has come while another one was under way.
    pub(super) waiting: VecDeque<Instant>,
    pub(super) kept: Vec<Kept>,
    pub(super) kept_max: usize,
    pub(super) welcome: Option<Welcome>,
    /// The session that it wants back, and the latest place that it has received there.
    pub(super) wanted: Option<(Welcome, u64)>,
    pub(super) latest_seq: u64,
    /// It has taken notes of all that comes before operations.
    pub(super) joined: bool,
    /// Has lost a connection, so that messages may come to it twice.
    pub(super) returned: bool,
    requests: u64,
    acks: u64,
    contents: u64,
    random: u64,
}

impl Client {
    pub(super) fn new(index: usize, wire: Wire, kept_max: usize, seed: u64) -> Self {
        Self {
            wire,
            index,
            asked: None,
            waiting: VecDeque::new(),
            kept: Vec::new(),
            kept_max,
            welcome: None,
            wanted: None,
            latest_seq: 0,
            joined: false,
            returned: false,
            requests: 0,
            acks: 0,
            contents: 0,
            random: seed ^ (index as u64).wrapping_mul(STEP),
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.joined && self.asked.is_none() && self.waiting.is_empty()
    }

    /// A number below `bound`.
    pub(super) fn roll(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(STEP);
        mixed(self.random) % bound
    }

    /// What comes next: as the dice say, but nobody can search what is not there, and who has enough
    /// memories deletes one first.
    pub(super) fn next_kind(&mut self) -> Kind {
        match (Kind::of(self.roll(100)), self.kept.len()) {
            (Kind::Search | Kind::Recall | Kind::Update | Kind::Delete, 0) => Kind::Create,
            (Kind::Create, count) if count >= self.kept_max => Kind::Delete,
            // Over HTTP it has no session that could have a status, and is alone in its namespace.
            (Kind::Send | Kind::Status | Kind::Online, _) if self.wire == Wire::Http => {
                Kind::Health
            }
            (kind, _) => kind,
        }
    }

    pub(super) fn ask_to_initialize(&mut self, out: &mut Outbox, now: Instant) {
        out.text(jsonrpc::INITIALIZE);
        self.asked = Some(Asked {
            kind: Kind::Initialize,
            id: 0,
            due: now,
            kept: None,
        });
    }

    pub(super) fn ask_to_resume(&mut self, welcome: &Welcome, out: &mut Outbox, now: Instant) {
        let (session, last_seq) = (&welcome.session_id, self.latest_seq);
        let params = json!({
            "session_id": session, "epoch": welcome.epoch, "last_seq": last_seq,
            "token": welcome.resume_token,
        });
        self.ask(Kind::Resume, "session/resume", &params, None, out, now);
    }

    /// Sends a message to another agent.
    pub(super) fn ask_to_send(
        &mut self,
        to: &str,
        body: &Value,
        priority: &str,
        out: &mut Outbox,
        due: Instant,
    ) {
        let params = json!({ "to": { "agent": to }, "priority": priority, "body": body });
        self.ask(Kind::Send, "agent/send", &params, None, out, due);
    }

    /// Any other operation.
    pub(super) fn ask_for(&mut self, kind: Kind, out: &mut Outbox, due: Instant) {
        let place = self.roll(self.kept.len().max(1) as u64) as usize;
        let known = self.kept.get(place).cloned();
        let (method, params, kept) = match (kind, known) {
            (Kind::Create, _) => {
                let kept = self.another(String::new());
                let params = json!({ "content": kept.content, "tags": ["soak"] });
                ("memory/create", params, Some(kept))
            }
            (Kind::Update, Some(known)) => {
                let kept = self.another(known.id);
                let params = json!({ "id": kept.id, "content": kept.content });
                ("memory/update", params, Some(kept))
            }
            (Kind::Search, Some(known)) => {
                let params = json!({ "query": known.marker, "limit": 5 });
                ("memory/search", params, Some(known))
            }
            (Kind::Delete, Some(known)) => {
                let params = json!({ "id": known.id, "purge": true });
                ("memory/delete", params, Some(known))
            }
            (Kind::Recall, _) => {
                let ids: Vec<&str> = self.kept.iter().map(|kept| kept.id.as_str()).collect();
                let params = json!({ "ids": ids, "limit": 100 });
                ("memory/recall", params, None)
            }
            (Kind::List, _) => ("tools/list", json!({}), None),
            (Kind::Status, _) => {
                let status = ["online", "busy", "away", "idle"][place % 4];
                ("agent/status", json!({ "status": status }), None)
            }
            (Kind::Online, _) => ("agent/online", json!({ "limit": 20 }), None),
            _ => {
                let params = json!({ "name": "health_check", "arguments": {} });
                ("tools/call", params, None)
            }
        };
        self.ask(kind, method, &params, kept, out, due);
    }

    fn ask(
        &mut self,
        kind: Kind,
        method: &str,
        params: &Value,
        kept: Option<Kept>,
        out: &mut Outbox,
        due: Instant,
    ) {
        self.requests += 1;
        let id = FIRST_ID + self.requests;
        out.text(&jsonrpc::request(id, method, params));
        self.asked = Some(Asked {
            kind,
            id,
            due,
            kept,
        });
    }

    /// Says that everything up to a place was received.
    pub(super) fn acknowledge(&mut self, seq: u64, out: &mut Outbox) {
        self.latest_seq = self.latest_seq.max(seq);
        self.acks += 1;
        let id = FIRST_ACK_ID + self.acks;
        let params = json!({ "up_to": self.latest_seq });
        out.text(&jsonrpc::request(id, "session/ack", &params));
    }

    /// A memory with a word of its own, which ends in a digit, so that no stemmer changes it. Lengths
    /// differ, as what agents store does.
    fn another(&mut self, id: String) -> Kept {
        self.contents += 1;
        let marker = format!("client{}content{}", self.index, self.contents);
        let padding = "and more of the same ".repeat(self.roll(12) as usize);
        Kept {
            id,
            content: format!("Notes of a long run, found by {marker} alone, {padding}end"),
            marker,
        }
    }
}
