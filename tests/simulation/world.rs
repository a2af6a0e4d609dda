//! Time, chance, the network, faults; and senders.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tmws::delivery::queue::Parcel;
use tmws::domain::Timestamp;
use uuid::Uuid;

use super::chance::Chance;
use super::checks::Ledger;
use super::client::{Client, Task};
use super::server::{Down, Letter, Result, Server, Up, Work, priority};
use super::store::{Sent, Store};

/// How long a session waits for its client.
pub(crate) const WINDOW_MS: u64 = 300_000;
/// How long there are faults.
const STORMY_MS: u64 = 60_000;
/// After that everybody behaves, for longer than the longest time to live that is not endless and two
/// windows.
const QUIET_MS: u64 = 3 * WINDOW_MS;
const HUBS: usize = 2;
const AGENTS: usize = 3;
const CLIENTS: usize = 5;
const SENDERS: usize = 3;

/// What is broken on purpose, to see that it is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    None,
    /// Senders are answered before the store has committed.
    AckBeforeCommit,
    /// The delivery that an answer names is forgotten.
    ForgetDelivery,
    /// Deliveries are made without being counted.
    SkipCounting,
    /// A server that stops says that it has stored what is in memory only, and has not.
    ForgetVolatile,
}

#[derive(Debug)]
pub(crate) enum Event {
    ClientStep(usize),
    ClientAnswers { client: usize, task: Task },
    SenderStep(usize, u64),
    SenderAnswered { sender: usize, acked: Option<Sent> },
    Up(u64, Up),
    Down(u64, Down),
    Lost(u64),
    Commit(u64, Work),
    Answer(u64, Work, Result),
    Letter(u64, usize, Letter),
    Crash,
    Stop,
    Start,
    Quiet,
    Upkeep,
    Wake,
}

struct Connection {
    client: usize,
    open: bool,
    /// When the latest message of each direction arrives: a connection keeps order.
    up: Timestamp,
    down: Timestamp,
}

pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) chance: Chance,
    pub(crate) sabotage: Sabotage,
    events: BTreeMap<(Timestamp, u64), Event>,
    order: u64,
    ids: u64,
    pub(crate) store: Store,
    pub(crate) server: Server,
    pub(crate) is_up: bool,
    pub(crate) quiet: bool,
    /// This run has sent messages that are in memory only.
    pub(crate) any_volatile: bool,
    pub(crate) clients: Vec<Client>,
    connections: HashMap<u64, Connection>,
    /// When the latest letter to each hub arrives.
    letters: [Timestamp; HUBS],
    number: u64,
    /// When the hubs are looked at next.
    wake: Option<Timestamp>,
    pub(crate) ledger: Ledger,
}

impl World {
    fn new(seed: u64, sabotage: Sabotage) -> Self {
        let start = Timestamp::from_micros(1_000_000_000_000_000).expect("a time");
        Self {
            now: start,
            chance: Chance::new(seed),
            sabotage,
            events: BTreeMap::new(),
            order: 0,
            ids: 0,
            store: Store::default(),
            server: Server::new(1, false, HUBS),
            is_up: true,
            quiet: false,
            any_volatile: false,
            clients: (0..CLIENTS)
                .map(|client| Client::new(client % AGENTS))
                .collect(),
            connections: HashMap::new(),
            letters: [start; HUBS],
            number: 0,
            wake: None,
            ledger: Ledger::default(),
        }
    }

    /// Runs a world to its end; what was wrong first, if anything was.
    pub(crate) fn run(seed: u64, sabotage: Sabotage) -> Option<String> {
        let mut world = Self::new(seed, sabotage);
        for client in 0..CLIENTS {
            let at = world.chance.below(3_000);
            world.events_at(at, Event::ClientStep(client));
        }
        for sender in 0..SENDERS {
            world.events_at(sender as u64 * 100, Event::SenderStep(sender, 1));
        }
        for _ in 0..world.chance.below(4) {
            let at = world.chance.below(STORMY_MS);
            world.events_at(at, Event::Crash);
        }
        for _ in 0..world.chance.below(3) {
            let at = world.chance.below(STORMY_MS);
            world.events_at(at, Event::Stop);
        }
        world.events_at(STORMY_MS, Event::Quiet);
        let end = world.now.plus_millis(STORMY_MS + QUIET_MS).expect("a time");
        while let Some(((at, _), event)) = world.events.pop_first() {
            if at > end {
                break;
            }
            if matches!(event, Event::Wake) && world.wake != Some(at) {
                // An earlier one took its place.
                continue;
            }
            world.now = at;
            world.handle(event);
            world.poll_hubs();
            world.schedule_wake();
            if world.ledger.violation.is_some() {
                break;
            }
        }
        if world.ledger.violation.is_none() {
            world.check_end();
        }
        world.ledger.violation
    }

    pub(crate) fn events_at(&mut self, after_ms: u64, event: Event) {
        self.order += 1;
        let at = self.now.plus_millis(after_ms).expect("a time");
        self.events.insert((at, self.order), event);
    }

    fn schedule_wake(&mut self) {
        let times = self.server.hubs.iter().filter_map(|hub| hub.wake_at());
        let Some(at) = times.min() else {
            return;
        };
        // One that comes too early does no harm, so an earlier one is enough.
        if self.wake.is_none_or(|wake| wake <= self.now || at < wake) {
            let wait = self.now.millis_until(at) + 1;
            self.wake = self.now.plus_millis(wait);
            self.events_at(wait, Event::Wake);
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::ClientStep(client) => self.client_step(client),
            Event::ClientAnswers { client, task } => self.client_answers(client, task),
            Event::SenderStep(sender, run) => {
                // One call after the other: those of an earlier run have failed.
                if run == self.server.run {
                    self.sender_step(sender);
                }
            }
            Event::SenderAnswered { sender, acked } => {
                self.ledger.acked.extend(acked.map(|sent| sent.parcel.id));
                let pause = match self.chance.below(10) {
                    0..=4 => 0,
                    _ => self.chance.below(3_000),
                };
                self.events_at(pause, Event::SenderStep(sender, self.server.run));
            }
            Event::Up(connection, up) => {
                if self.is_open(connection) && self.is_up {
                    self.received(connection, up);
                }
            }
            Event::Down(connection, down) => {
                if self.is_open(connection) {
                    self.client_receives(connection, down);
                }
            }
            Event::Lost(connection) => self.connection_lost(connection),
            Event::Commit(run, work) => self.committing(run, work),
            Event::Answer(run, work, result) => {
                if run == self.server.run && self.is_up {
                    self.answered(work, result);
                }
            }
            Event::Letter(run, hub, letter) => {
                if run == self.server.run && self.is_up {
                    self.read(hub, letter);
                }
            }
            Event::Crash => self.crash(),
            Event::Stop => self.stop(),
            Event::Start => self.is_up = true,
            Event::Quiet => {
                self.quiet = true;
                self.events_at(WINDOW_MS, Event::Upkeep);
                self.events_at(2 * WINDOW_MS, Event::Upkeep);
            }
            Event::Upkeep => self.upkeep(),
            Event::Wake => {}
        }
    }

    fn committing(&mut self, run: u64, work: Work) {
        if run != self.server.run || !self.is_up {
            // It died with its process.
            return;
        }
        let result = if !self.quiet && self.chance.percent(3) {
            // Refused; or done, and the answer is lost.
            if self.chance.percent(50) {
                self.commit(&work);
            }
            Result::Failed
        } else {
            self.commit(&work)
        };
        let pause = self.chance.below(8);
        self.events_at(pause, Event::Answer(run, work, result));
    }

    /// Has the store do something, in its own time.
    pub(crate) fn work(&mut self, work: Work) {
        let run = self.server.run;
        if self.sabotage == Sabotage::AckBeforeCommit
            && let Work::Post { sender, sent, .. } = &work
        {
            let (sender, acked) = (*sender, Some(sent.clone()));
            self.events_at(0, Event::SenderAnswered { sender, acked });
        }
        let pause = match self.chance.below(20) {
            0 if !self.quiet => self.chance.below(2_000),
            _ => 1 + self.chance.below(10),
        };
        self.events_at(pause, Event::Commit(run, work));
    }

    /// Letters to a hub arrive in their order.
    pub(crate) fn letter(&mut self, hub: usize, letter: Letter) {
        let at = self
            .now
            .plus_millis(self.chance.below(3))
            .expect("a time")
            .max(self.letters[hub]);
        self.letters[hub] = at;
        self.order += 1;
        let run = self.server.run;
        self.events
            .insert((at, self.order), Event::Letter(run, hub, letter));
    }

    /// Letters to this hub, or to any, arrive now.
    pub(crate) fn read_all(&mut self, hub: Option<usize>) {
        let run = self.server.run;
        let is_letter = |event: &Event| matches!(event, Event::Letter(of, to, _) if *of == run && hub.is_none_or(|hub| hub == *to));
        let under_way = self.events.iter().filter(|(_, event)| is_letter(event));
        let under_way: Vec<_> = under_way.map(|(at, _)| *at).collect();
        for at in under_way {
            if let Some(Event::Letter(_, hub, letter)) = self.events.remove(&at) {
                self.read(hub, letter);
            }
        }
    }

    fn crash(&mut self) {
        if !self.is_up || self.quiet {
            return;
        }
        self.is_up = false;
        for client in &mut self.clients {
            client.connection = None;
        }
        for connection in self.connections.values_mut() {
            connection.open = false;
        }
        let lost_volatile = self.server.lost_volatile || self.any_volatile;
        self.server = Server::new(self.server.run + 1, lost_volatile, HUBS);
        let pause = 100 + self.chance.below(5_000);
        self.events_at(pause, Event::Start);
        for sender in 0..SENDERS {
            self.events_at(pause + 10, Event::SenderStep(sender, self.server.run));
        }
    }

    /// The server stops when it is asked to: letters arrive, and what is in memory only is stored.
    fn stop(&mut self) {
        if !self.is_up || self.quiet {
            return;
        }
        self.read_all(None);
        if !self.keep_volatile() {
            self.any_volatile = false;
        }
        self.crash();
    }

    fn upkeep(&mut self) {
        self.store.close_orphans(self.server.run);
        self.store.expire_inbox(self.now);
        let sessions = self
            .server
            .registry
            .iter()
            .filter(|(_, known)| known.connected);
        let mut sessions: Vec<(Uuid, usize)> = sessions
            .map(|(session, known)| (*session, known.hub))
            .collect();
        sessions.sort_unstable();
        for (session, hub) in sessions {
            self.letter(hub, Letter::News(session));
        }
    }

    fn sender_step(&mut self, sender: usize) {
        if self.quiet || !self.is_up {
            return;
        }
        self.number += 1;
        let bytes = match self.chance.below(100) {
            0..=1 => 200_000,
            2..=9 => 20_000,
            _ => 200,
        };
        let ttl_ms = match self.chance.below(10) {
            0 => 5_000,
            1..=3 => WINDOW_MS,
            _ => 100 * WINDOW_MS,
        };
        let id = self.new_id();
        let sent = Sent {
            number: self.number,
            sender,
            agent: self.chance.below(AGENTS as u64) as usize,
            priority: priority(self.chance.below(4)),
            expires_at: self.now.plus_millis(ttl_ms).expect("a time"),
            parcel: Arc::new(Parcel {
                id,
                text: vec![0; bytes].into(),
            }),
        };
        self.ledger.messages.insert(id, sent.clone());
        let durable = self.chance.percent(80);
        self.post(sender, sent, durable);
    }

    pub(crate) fn new_id(&mut self) -> Uuid {
        self.ids += 1;
        Uuid::from_u64_pair(self.ids, self.chance.next())
    }

    pub(crate) fn new_epoch(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    pub(crate) fn new_connection(&mut self, client: usize) -> u64 {
        self.ids += 1;
        let connection = self.chance.below(HUBS as u64) + self.ids * HUBS as u64;
        let (up, down) = (self.now, self.now);
        self.connections.insert(
            connection,
            Connection {
                client,
                open: true,
                up,
                down,
            },
        );
        connection
    }

    pub(crate) fn is_open(&self, connection: u64) -> bool {
        self.connections
            .get(&connection)
            .is_some_and(|connection| connection.open)
    }

    pub(crate) fn client_of(&self, connection: u64) -> usize {
        self.connections[&connection].client
    }

    /// The client closes.
    pub(crate) fn close(&mut self, connection: u64) {
        if let Some(found) = self.connections.get_mut(&connection) {
            found.open = false;
        }
        self.events_at(5, Event::Lost(connection));
    }

    /// The network fails: what is under way in both directions is lost, and each side learns of it in
    /// its own time.
    pub(crate) fn break_connection(&mut self, connection: u64) {
        let client = self.client_of(connection);
        self.clients[client].connection = None;
        if let Some(found) = self.connections.get_mut(&connection) {
            found.open = false;
        }
        let pause = self.chance.below(12_000);
        self.events_at(pause, Event::Lost(connection));
    }

    pub(crate) fn up(&mut self, connection: u64, up: Up) {
        let pause = 1 + self.chance.below(40);
        let Some(found) = self.connections.get_mut(&connection) else {
            return;
        };
        let at = self.now.plus_millis(pause).expect("a time").max(found.up);
        found.up = at;
        self.order += 1;
        self.events
            .insert((at, self.order), Event::Up(connection, up));
    }

    pub(crate) fn down(&mut self, connection: u64, down: Down) {
        let pause = 1 + self.chance.below(40);
        let Some(found) = self.connections.get_mut(&connection) else {
            return;
        };
        let at = self.now.plus_millis(pause).expect("a time").max(found.down);
        found.down = at;
        self.order += 1;
        self.events
            .insert((at, self.order), Event::Down(connection, down));
    }
}
