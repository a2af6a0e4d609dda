//! All clients of `load mixed`: whose turn it is, what is on its way between them, what was wrong.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::{Asked, Client, FIRST_ACK_ID, Kind, Wire};
use super::judge::judge;
use crate::connection::{Event, Leaving};
use crate::delivery::peer::{self, Welcome};
use crate::fleet::Driver;
use crate::jsonrpc;
use crate::latency::Latencies;
use crate::outbox::Outbox;
use crate::report::{Faults, rounded};

/// What the run is to be.
pub(super) struct Plan {
    pub(super) agents: usize,
    pub(super) all: usize,
    pub(super) rate: u32,
    pub(super) memories: usize,
    pub(super) period: Duration,
    /// The part of a period in which operations have times.
    pub(super) busy: Duration,
    pub(super) seed: u64,
}

/// The clients and what was counted.
pub(super) struct Crowd {
    plan: Plan,
    clients: Vec<Client>,
    start: Instant,
    next: u64,
    stopping: bool,
    /// By kind: answers, and how long they took.
    answers: Vec<(u64, Latencies)>,
    late: Latencies,
    sent: u64,
    received: u64,
    repeated: u64,
    delivery: Latencies,
    /// Messages that their receivers do not have yet: to whom, since when.
    on_their_way: HashMap<u64, (usize, Instant)>,
    left: BTreeMap<&'static str, u64>,
    /// HTTP clients whose connection the server closed because it was idle.
    closed_idle: Vec<usize>,
    closed_idle_count: u64,
    turn: usize,
    pub(super) faults: Faults,
}

impl Crowd {
    pub(super) fn new(plan: Plan) -> Self {
        let client = |index| {
            let wire = match index < plan.agents {
                true => Wire::WebSocket,
                false => Wire::Http,
            };
            Client::new(index, wire, plan.memories, plan.seed)
        };
        Self {
            clients: (0..plan.all).map(client).collect(),
            plan,
            start: Instant::now(),
            next: 0,
            stopping: false,
            answers: Kind::ALL.map(|_| (0, Latencies::new())).into(),
            late: Latencies::new(),
            sent: 0,
            received: 0,
            repeated: 0,
            delivery: Latencies::new(),
            on_their_way: HashMap::new(),
            left: BTreeMap::new(),
            closed_idle: Vec::new(),
            closed_idle_count: 0,
            turn: 0,
            faults: Faults::default(),
        }
    }

    pub(super) fn wire(&self, index: usize) -> Wire {
        self.clients[index].wire
    }

    /// Additional lines of a client's upgrade.
    pub(super) fn headers(&self, index: usize) -> String {
        let agent = agent(index);
        format!("X-Agent-ID: {agent}\r\nX-Agent-Namespace: soak\r\n")
    }

    /// A client has a new connection. Over HTTP there is nothing to wait for.
    pub(super) fn begin(
        &mut self,
        index: usize,
        write: impl FnOnce(&mut dyn FnMut(&mut Outbox)) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        let client = &mut self.clients[index];
        match client.wire {
            Wire::WebSocket => Ok(()),
            Wire::Http => write(&mut |out| client.ask_to_initialize(out, Instant::now())),
        }
    }

    pub(super) fn start(&mut self, now: Instant) {
        self.start = now;
    }

    pub(super) fn all_idle(&self) -> bool {
        self.clients.iter().all(Client::is_idle)
    }

    pub(super) fn is_done(&self) -> bool {
        self.all_idle() && self.on_their_way.is_empty()
    }

    /// Is this a time of operations?
    pub(super) fn is_busy(&self, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.start).as_nanos();
        since % self.plan.period.as_nanos() < self.plan.busy.as_nanos()
    }

    /// A client whose connection has ended while it was idle.
    pub(super) fn ended(&mut self) -> Option<usize> {
        self.closed_idle.pop()
    }

    /// The next client that leaves and comes back, and how: it has nothing under way.
    pub(super) fn leaves(&mut self) -> Option<(usize, Leaving)> {
        for _ in 0..self.clients.len() {
            self.turn = (self.turn + 1) % self.clients.len();
            let client = &mut self.clients[self.turn];
            if !client.is_idle() {
                continue;
            }
            let (leaving, name) = match client.roll(3) {
                0 => (Leaving::Closed, "closed"),
                1 => (Leaving::Dropped, "dropped"),
                _ => (Leaving::Reset, "reset"),
            };
            // Half of them want their session back, the others leave it to its end.
            let back = client.roll(2) == 0 && leaving != Leaving::Closed;
            let welcome = client.welcome.take().filter(|_| back);
            client.wanted = welcome.map(|welcome| (welcome, client.latest_seq));
            client.latest_seq = 0;
            client.joined = false;
            client.returned = true;
            *self.left.entry(name).or_default() += 1;
            return Some((self.turn, leaving));
        }
        None
    }

    pub(super) fn stop(&mut self) {
        self.stopping = true;
    }

    /// What is missing now will not come.
    pub(super) fn settle(&mut self) {
        let waiting = self.clients.iter().filter(|client| !client.is_idle());
        let waiting = waiting.count();
        if waiting > 0 {
            self.faults
                .add(|| format!("{waiting} clients have no answer"));
        }
        let missing = self.on_their_way.len();
        if let Some((n, (to, since))) = self.on_their_way.iter().next() {
            let age = since.elapsed().as_secs();
            self.faults.add(|| {
                format!("{missing} messages did not come, one is {n}, to client {to}, {age} s ago")
            });
        }
    }

    pub(super) fn report(&self, seconds: f64) -> Value {
        let mut operations = serde_json::Map::new();
        for (kind, (count, latencies)) in Kind::ALL.iter().zip(&self.answers) {
            let times = latencies.summary();
            let name = format!("{kind:?}").to_lowercase();
            let (p50, p99, max) = (times.p50_us, times.p99_us, times.max_us);
            let figures = json!({ "count": count, "p50_us": p50, "p99_us": p99, "max_us": max });
            operations.insert(name, figures);
        }
        let times = self.delivery.summary();
        json!({
            "at_seconds": rounded(seconds),
            "operations": operations,
            "memories": self.clients.iter().map(|client| client.kept.len()).sum::<usize>(),
            "messages": {
                "sent": self.sent, "received": self.received, "repeated": self.repeated,
                "on_their_way": self.on_their_way.len(),
                "p50_us": times.p50_us, "p99_us": times.p99_us, "max_us": times.max_us,
            },
            "left": self.left,
            "closed_idle": self.closed_idle_count,
            "late_p99_us": self.late.summary().p99_us,
            "errors": self.faults.errors,
            "examples": self.faults.examples,
        })
    }

    /// Something has happened on a connection.
    pub(super) fn on(&mut self, index: usize, event: Event<'_>, out: &mut Outbox, now: Instant) {
        let wrong = match event {
            Event::Open => {
                self.clients[index].ask_to_initialize(out, now);
                Ok(())
            }
            Event::Accepted => {
                self.joined(index, out, now);
                Ok(())
            }
            Event::Text(text) => self.hear(index, text, out, now),
            Event::Closed(reason) => self.closed(index, reason),
        };
        if let Err(error) = wrong {
            self.faults.add(|| format!("client {index}: {error:#}"));
        }
    }

    fn closed(&mut self, index: usize, reason: String) -> anyhow::Result<()> {
        let client = &mut self.clients[index];
        let idle = client.is_idle();
        client.joined = false;
        anyhow::ensure!(client.wire == Wire::Http && idle, "{reason}");
        // As long as the server waits for a head, RFC 9112, 9.5: it may.
        self.closed_idle.push(index);
        self.closed_idle_count += 1;
        Ok(())
    }

    /// Initialized, and back in its session if it wanted that.
    fn joined(&mut self, index: usize, out: &mut Outbox, now: Instant) {
        let client = &mut self.clients[index];
        if let Some((welcome, latest_seq)) = client.wanted.take() {
            client.latest_seq = latest_seq;
            client.ask_to_resume(&welcome, out, now);
            client.welcome = Some(welcome);
            return;
        }
        client.joined = true;
        if let Some(due) = client.waiting.pop_front() {
            self.operate(index, out, due);
        }
    }

    fn hear(
        &mut self,
        index: usize,
        text: &[u8],
        out: &mut Outbox,
        now: Instant,
    ) -> anyhow::Result<()> {
        let lossy = || String::from_utf8_lossy(text).into_owned();
        if let Some(delivery) = peer::delivery(text) {
            let body: Value = serde_json::from_slice(delivery.body)?;
            self.clients[index].acknowledge(delivery.seq, out);
            return self.delivered(index, &body, delivery.delivery, now);
        }
        let mut message: Value = serde_json::from_slice(text)?;
        if message["method"] == "notifications/session/welcome" {
            let welcome: Welcome = serde_json::from_value(message["params"].take())?;
            let client = &mut self.clients[index];
            if client.welcome.is_none() && client.wanted.is_none() {
                client.welcome = Some(welcome);
            }
            return Ok(());
        }
        let id = message["id"].as_u64();
        anyhow::ensure!(message.get("error").is_none(), "{}", lossy());
        let client = &mut self.clients[index];
        if id.is_some_and(|id| id > FIRST_ACK_ID) {
            return Ok(());
        }
        let asked = client.asked.take_if(|asked| Some(asked.id) == id);
        let Some(asked) = asked else {
            anyhow::bail!("not asked for: {}", lossy());
        };
        self.answered(index, asked, &message["result"], out, now)
            .map_err(|error| error.context(lossy()))
    }

    fn answered(
        &mut self,
        index: usize,
        asked: Asked,
        result: &Value,
        out: &mut Outbox,
        now: Instant,
    ) -> anyhow::Result<()> {
        let (kind, due) = (asked.kind, asked.due);
        let client = &mut self.clients[index];
        let judged = judge(client, asked, result);
        let (count, latencies) = &mut self.answers[kind as usize];
        *count += 1;
        latencies.record(now.saturating_duration_since(due));
        match kind {
            Kind::Initialize => {
                out.text(jsonrpc::INITIALIZED);
                if client.wire == Wire::WebSocket {
                    self.joined(index, out, now);
                }
            }
            Kind::Resume => {
                client.welcome = serde_json::from_value(result.clone()).ok();
                self.joined(index, out, now);
            }
            _ => {
                if let Some(due) = client.waiting.pop_front() {
                    self.operate(index, out, due);
                }
            }
        }
        judged
    }

    /// A message has come. Whoever has lost a connection may get one twice, nobody else.
    fn delivered(
        &mut self,
        index: usize,
        body: &Value,
        delivery: u64,
        now: Instant,
    ) -> anyhow::Result<()> {
        let n = body["n"].as_u64();
        let known = n.and_then(|n| self.on_their_way.remove(&n));
        if let Some((to, since)) = known {
            anyhow::ensure!(to == index, "a message to another");
            self.received += 1;
            self.delivery.record(now - since);
            return Ok(());
        }
        let was_sent = n.is_some_and(|n| n < self.sent) && body["to"] == index;
        anyhow::ensure!(was_sent, "a message that nobody sent: {body}");
        let may_repeat = delivery > 1 || self.clients[index].returned;
        anyhow::ensure!(may_repeat, "a message came twice: {body}");
        self.repeated += 1;
        Ok(())
    }

    fn operate(&mut self, index: usize, out: &mut Outbox, due: Instant) {
        let client = &mut self.clients[index];
        let kind = client.next_kind();
        if kind != Kind::Send {
            client.ask_for(kind, out, due);
            return;
        }
        let to = client.roll(self.plan.agents as u64) as usize;
        let priority = ["urgent", "high", "normal", "low"][client.roll(4) as usize];
        let body = json!({ "n": self.sent, "to": to, "text": "a message of a long run" });
        client.ask_to_send(&agent(to), &body, priority, out, due);
        self.on_their_way.insert(self.sent, (to, Instant::now()));
        self.sent += 1;
    }

    /// When an operation is due; none falls into the quiet end of a period.
    fn due(&self, number: u64) -> Instant {
        let busy = u128::from(number) * 1_000_000_000 / u128::from(self.plan.rate);
        let (periods, rest) = (
            busy / self.plan.busy.as_nanos(),
            busy % self.plan.busy.as_nanos(),
        );
        let nanoseconds = periods * self.plan.period.as_nanos() + rest;
        self.start + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

fn agent(index: usize) -> String {
    format!("soak-{index}")
}

impl Driver for Crowd {
    fn on(&mut self, index: usize, event: Event<'_>, out: &mut Outbox, now: Instant) -> bool {
        Crowd::on(self, index, event, out, now);
        false
    }

    fn next_due(&self) -> Option<(usize, Instant)> {
        let index = (self.next % self.clients.len() as u64) as usize;
        (!self.stopping).then(|| (index, self.due(self.next)))
    }

    fn send_due(&mut self, out: Option<&mut Outbox>, now: Instant) {
        let (index, due) = (
            (self.next % self.clients.len() as u64) as usize,
            self.due(self.next),
        );
        self.next += 1;
        self.late.record(now.saturating_duration_since(due));
        let client = &mut self.clients[index];
        match out {
            Some(out) if client.is_idle() => self.operate(index, out, due),
            _ => client.waiting.push_back(due),
        }
    }
}
