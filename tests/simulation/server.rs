//! The server around the hubs: what a driver does with a store, other shards and sockets, with every
//! answer arriving when chance has it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tmws::delivery::hub::{Among, Effect, Hub, Request, Volatile};
use tmws::delivery::queue::{Acked, Entry, Parcel};
use tmws::domain::{AgentKey, DeathCause, Destination, Outline, Priority};
use uuid::Uuid;

use super::store::Sent;
use super::world::{Event, Sabotage, World};

/// What an agent may send on a connection.
#[derive(Debug, Clone)]
pub(crate) enum Up {
    Hello {
        agent: usize,
        resume: Option<(Uuid, u64, u64)>,
    },
    Ack(Vec<(u64, u32)>),
    AckUpTo(u64),
    Nack {
        seq: u64,
        delivery: u32,
        delay_ms: u64,
    },
    Extend {
        seq: u64,
        delivery: u32,
    },
    Term {
        seq: u64,
        delivery: u32,
    },
}

/// What it may get.
#[derive(Debug, Clone)]
pub(crate) enum Down {
    Welcome {
        session: Uuid,
        epoch: u64,
        recovered: Option<bool>,
    },
    Delivery {
        epoch: u64,
        seq: u64,
        delivery: u32,
        parcel: Arc<Parcel>,
    },
    Fenced,
}

/// One shard tells another.
#[derive(Debug)]
pub(crate) enum Letter {
    Offer {
        session: Uuid,
        entry: Entry,
    },
    Resume(Resume),
    Up {
        session: Uuid,
        connection: u64,
        up: Up,
    },
    Lost {
        session: Uuid,
        connection: u64,
    },
    News(Uuid),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Resume {
    pub(crate) connection: u64,
    pub(crate) agent: usize,
    pub(crate) session: Uuid,
    pub(crate) position: (u64, u64),
}

/// A call to the store under way.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    Post {
        sender: usize,
        sent: Sent,
        to: Vec<Destination>,
    },
    Ask {
        hub: usize,
        session: Uuid,
        epoch: u64,
        request: Request,
    },
    Resume {
        hub: usize,
        resume: Resume,
    },
    /// A queue that nobody serves.
    Forsaken {
        session: Uuid,
    },
}

#[derive(Debug, Clone)]
pub(crate) enum Result {
    Nothing,
    Keys(Vec<i64>),
    Found(Vec<Outline>, bool),
    Loaded(BTreeMap<i64, Arc<Parcel>>),
    Failed,
}

impl Result {
    fn found(self) -> Option<Vec<Outline>> {
        match self {
            Self::Found(found, _) => Some(found),
            _ => None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) hub: usize,
    pub(crate) agent: usize,
    pub(crate) connected: bool,
}

/// One process.
pub(crate) struct Server {
    pub(crate) run: u64,
    pub(crate) hubs: Vec<Hub<u64>>,
    pub(crate) registry: HashMap<Uuid, Known>,
    /// The session of each connection.
    pub(crate) bound: HashMap<u64, Uuid>,
    /// An earlier run may have lost messages that were in memory only.
    pub(crate) lost_volatile: bool,
}

pub(crate) fn key(agent: usize) -> AgentKey {
    AgentKey::new("space", &format!("agent{agent}")).expect("a name")
}

impl Server {
    pub(crate) fn new(run: u64, lost_volatile: bool, hubs: usize) -> Self {
        Self {
            run,
            hubs: (0..hubs)
                .map(|_| Hub::new(super::world::WINDOW_MS))
                .collect(),
            registry: HashMap::new(),
            bound: HashMap::new(),
            lost_volatile,
        }
    }
}

impl World {
    fn hub_of(&self, connection: u64) -> usize {
        connection as usize % self.server.hubs.len()
    }

    pub(crate) fn received(&mut self, connection: u64, up: Up) {
        let hub = self.hub_of(connection);
        if let Up::Hello { agent, resume } = up {
            return self.hello(hub, connection, agent, resume);
        }
        let Some(session) = self.server.bound.get(&connection).copied() else {
            return;
        };
        match self.server.registry.get(&session) {
            Some(known) if known.hub == hub => self.said(hub, session, connection, up),
            Some(known) => {
                let home = known.hub;
                self.letter(
                    home,
                    Letter::Up {
                        session,
                        connection,
                        up,
                    },
                );
            }
            None => {}
        }
    }

    /// What a client says reaches the hub of its session.
    fn said(&mut self, hub: usize, session: Uuid, connection: u64, up: Up) {
        let now = self.now;
        let forget = self.sabotage == Sabotage::ForgetDelivery;
        let named = |delivery| (!forget).then_some(delivery);
        let core = &mut self.server.hubs[hub];
        match up {
            Up::Hello { .. } => {}
            Up::Ack(places) => {
                self.check_late(session, &places);
                let core = &mut self.server.hubs[hub];
                let places = places
                    .iter()
                    .map(|(seq, delivery)| (*seq, named(*delivery)))
                    .collect();
                if let Some(Ok(answered)) = core.ack(session, connection, Acked::Places(places)) {
                    self.check_answered(session, &answered);
                    self.settle(hub, session, answered.keys);
                }
            }
            Up::AckUpTo(seq) => {
                if let Some(Ok(answered)) = core.ack(session, connection, Acked::UpTo(seq)) {
                    self.settle(hub, session, answered.keys);
                }
            }
            Up::Nack {
                seq,
                delivery,
                delay_ms,
            } => {
                drop(core.nack(session, connection, (seq, named(delivery)), delay_ms, now));
            }
            Up::Extend { seq, delivery } => {
                drop(core.extend(session, connection, (seq, named(delivery)), now));
            }
            Up::Term { seq, delivery } => {
                drop(core.term(session, connection, (seq, named(delivery)), None, now));
            }
        }
    }

    fn settle(&mut self, hub: usize, session: Uuid, keys: Vec<i64>) {
        if let Some(held) = self.server.hubs[hub].get(session)
            && !keys.is_empty()
        {
            let epoch = held.epoch();
            self.work(Work::Ask {
                hub,
                session,
                epoch,
                request: Request::Settle(keys),
            });
        }
    }

    fn hello(
        &mut self,
        hub: usize,
        connection: u64,
        agent: usize,
        resume: Option<(Uuid, u64, u64)>,
    ) {
        let Some((session, epoch, last_seq)) = resume else {
            return self.welcome_fresh(hub, connection, agent, None);
        };
        let resume = Resume {
            connection,
            agent,
            session,
            position: (epoch, last_seq),
        };
        match self.server.registry.get(&session) {
            Some(known) if known.hub == hub => self.resume_here(hub, resume),
            Some(known) => {
                let home = known.hub;
                self.letter(home, Letter::Resume(resume));
            }
            None => self.work(Work::Resume { hub, resume }),
        }
    }

    fn welcome_fresh(
        &mut self,
        hub: usize,
        connection: u64,
        agent: usize,
        recovered: Option<bool>,
    ) {
        let session = self.new_id();
        let epoch = self.new_epoch();
        self.register(session, hub, agent);
        self.bind(connection, session);
        self.server.hubs[hub].open(session, key(agent), epoch, connection);
        self.server.hubs[hub].start(session);
        self.down(
            connection,
            Down::Welcome {
                session,
                epoch,
                recovered,
            },
        );
        self.check_alive(hub, session, connection);
    }

    fn bind(&mut self, connection: u64, session: Uuid) {
        self.server.bound.insert(connection, session);
        self.ledger.sessions.insert(connection, session);
    }

    fn register(&mut self, session: Uuid, hub: usize, agent: usize) {
        self.server.registry.insert(
            session,
            Known {
                hub,
                agent,
                connected: true,
            },
        );
    }

    fn resume_here(&mut self, hub: usize, resume: Resume) {
        let Resume {
            connection,
            agent,
            session,
            position,
        } = resume;
        let resumed =
            self.server.hubs[hub].resume(session, &key(agent), position, connection, self.now);
        let Some(resumed) = resumed else {
            // It comes to its end.
            let hub = self.hub_of(connection);
            return self.welcome_fresh(hub, connection, agent, Some(false));
        };
        self.bind(connection, session);
        self.register(session, hub, agent);
        if resumed.known_position {
            self.note_reach(hub, connection, position.1);
        }
        let recovered = resumed.missed.is_nothing() && !resumed.volatile;
        if recovered && resumed.known_position {
            self.check_no_gap(hub, session, position.1);
        }
        let epoch = resumed.epoch;
        self.down(
            connection,
            Down::Welcome {
                session,
                epoch,
                recovered: Some(recovered),
            },
        );
        self.check_alive(hub, session, connection);
    }

    /// A connection that broke while its session was looked for.
    fn check_alive(&mut self, hub: usize, session: Uuid, connection: u64) {
        if !self.is_open(connection) {
            self.lose(hub, session, connection);
        }
    }

    pub(crate) fn connection_lost(&mut self, connection: u64) {
        let Some(session) = self.server.bound.remove(&connection) else {
            return;
        };
        if let Some(known) = self.server.registry.get(&session) {
            let home = known.hub;
            self.letter(
                home,
                Letter::Lost {
                    session,
                    connection,
                },
            );
        }
    }

    fn lose(&mut self, hub: usize, session: Uuid, connection: u64) {
        self.server.hubs[hub].disconnect(session, connection, self.now);
        let gone = self.server.hubs[hub]
            .get(session)
            .is_some_and(|held| !held.is_connected());
        if let Some(known) = self.server.registry.get_mut(&session)
            && known.hub == hub
            && gone
        {
            known.connected = false;
        }
    }

    /// A sender's call.
    pub(crate) fn post(&mut self, sender: usize, sent: Sent, durable: bool) {
        let of_agent = |known: &&Known| known.agent == sent.agent;
        let sessions = self
            .server
            .registry
            .iter()
            .filter(|(_, known)| of_agent(known));
        let mut sessions: Vec<(Uuid, usize, bool)> = sessions
            .map(|(session, known)| (*session, known.hub, known.connected))
            .collect();
        sessions.sort_unstable();
        if !durable {
            self.any_volatile = true;
            for (session, hub, _) in sessions {
                let parcel = Arc::clone(&sent.parcel);
                let entry = Entry::volatile(parcel, sent.priority, sent.expires_at);
                self.letter(hub, Letter::Offer { session, entry });
            }
            self.events_at(
                0,
                Event::SenderAnswered {
                    sender,
                    acked: None,
                },
            );
            return;
        }
        let agent = key(sent.agent);
        let mut to: Vec<Destination> = sessions
            .iter()
            .map(|(session, _, connected)| Destination {
                agent: agent.clone(),
                session: Some(*session),
                node: None,
                begun: *connected,
            })
            .collect();
        if to.is_empty() {
            to.push(Destination {
                agent,
                session: None,
                node: None,
                begun: false,
            });
        }
        self.work(Work::Post { sender, sent, to });
    }

    /// The sessions of an agent that have no connection.
    fn absent(&self, agent: usize) -> Vec<Uuid> {
        let known = self.server.registry.iter();
        let absent = known.filter(|(_, known)| known.agent == agent && !known.connected);
        absent.map(|(session, _)| *session).collect()
    }

    /// What a call does when the store commits it.
    pub(crate) fn commit(&mut self, work: &Work) -> Result {
        let run = self.server.run;
        match work {
            Work::Post { sent, to, .. } => Result::Keys(self.store.post(run, sent, to)),
            Work::Forsaken { session } => {
                self.store.close(*session);
                Result::Nothing
            }
            Work::Resume { resume, .. } => {
                let (found, known) = self.store.resume(run, resume.agent, resume.session);
                Result::Found(found, known)
            }
            Work::Ask {
                session, request, ..
            } => match request {
                Request::Fill(agent) => {
                    let agent = agent_number(agent);
                    let absent = self.absent(agent);
                    Result::Found(self.store.fill(run, agent, *session, &absent), true)
                }
                Request::CatchUp(agent) => {
                    let agent = agent_number(agent);
                    let absent = self.absent(agent);
                    self.store.fill(run, agent, *session, &absent);
                    let (found, _) = self.store.resume(run, agent, *session);
                    Result::Found(found, true)
                }
                Request::Count(keys) => {
                    if self.sabotage != Sabotage::SkipCounting {
                        self.store.count(keys);
                    }
                    Result::Nothing
                }
                Request::Load(keys) => Result::Loaded(self.store.load(keys)),
                Request::Settle(keys) => {
                    self.store.settle(keys);
                    Result::Nothing
                }
                Request::Bury(dead) => {
                    self.check_dead(dead);
                    self.store.bury(dead);
                    Result::Nothing
                }
                Request::Close(_) => {
                    self.store.close(*session);
                    Result::Nothing
                }
            },
        }
    }

    /// What the server does with the store's answer.
    pub(crate) fn answered(&mut self, work: Work, result: Result) {
        match (work, result) {
            (Work::Post { sender, sent, to }, Result::Keys(keys)) => {
                self.events_at(
                    0,
                    Event::SenderAnswered {
                        sender,
                        acked: Some(sent.clone()),
                    },
                );
                for (destination, key) in to.into_iter().zip(keys) {
                    self.posted(&sent, &destination, key);
                }
            }
            (Work::Post { sender, sent, .. }, _) => {
                // It may be stored all the same; whoever finds it does so later than others.
                self.store.moved.insert(sent.parcel.id, true);
                self.events_at(
                    0,
                    Event::SenderAnswered {
                        sender,
                        acked: None,
                    },
                );
            }
            (Work::Resume { hub, resume }, Result::Found(waiting, known)) => {
                self.restored(hub, resume, waiting, known);
            }
            (Work::Resume { hub, resume }, _) => {
                // The store may have given the queue to this server.
                let session = resume.session;
                self.work(Work::Forsaken { session });
                self.welcome_fresh(hub, resume.connection, resume.agent, Some(false));
            }
            (
                Work::Ask {
                    hub,
                    session,
                    epoch,
                    request,
                },
                result,
            ) => {
                self.ask_answered(hub, session, epoch, request, result);
            }
            (Work::Forsaken { session }, Result::Failed) => {
                if !self.server.registry.contains_key(&session) {
                    self.work(Work::Forsaken { session });
                }
            }
            (Work::Forsaken { .. }, _) => {}
        }
    }

    fn posted(&mut self, sent: &Sent, destination: &Destination, key: i64) {
        let Some(session) = destination.session else {
            // Somebody may have come while it was stored.
            let sessions = self.server.registry.iter();
            let of_agent =
                sessions.filter(|(_, known)| known.agent == sent.agent && known.connected);
            if let Some((session, known)) = of_agent.min_by_key(|(session, _)| **session) {
                let (session, hub) = (*session, known.hub);
                self.letter(hub, Letter::News(session));
            }
            return;
        };
        let parcel = Arc::clone(&sent.parcel);
        let entry = Entry::stored(
            key,
            destination.begun,
            parcel,
            sent.priority,
            sent.expires_at,
        );
        let hub = self
            .server
            .registry
            .get(&session)
            .map_or(0, |known| known.hub);
        self.letter(hub, Letter::Offer { session, entry });
    }

    fn restored(&mut self, hub: usize, resume: Resume, waiting: Vec<Outline>, known: bool) {
        let Resume {
            connection,
            agent,
            session,
            ..
        } = resume;
        if self.server.registry.contains_key(&session) {
            // Another connection was faster.
            return self.hello(
                hub,
                connection,
                agent,
                Some((session, resume.position.0, resume.position.1)),
            );
        }
        if !known && self.server.lost_volatile {
            return self.welcome_fresh(hub, connection, agent, Some(false));
        }
        let epoch = self.new_epoch();
        self.register(session, hub, agent);
        self.bind(connection, session);
        let now = self.now;
        let waiting = (waiting, self.server.lost_volatile);
        self.server.hubs[hub].restore(session, key(agent), epoch, waiting, connection, now);
        let recovered = Some(!self.server.lost_volatile);
        self.down(
            connection,
            Down::Welcome {
                session,
                epoch,
                recovered,
            },
        );
        self.check_alive(hub, session, connection);
    }

    fn ask_answered(
        &mut self,
        hub: usize,
        session: Uuid,
        epoch: u64,
        request: Request,
        result: Result,
    ) {
        let now = self.now;
        let core = &mut self.server.hubs[hub];
        let done = !matches!(result, Result::Failed);
        match request {
            Request::Fill(_) => {
                let found = result.found();
                core.filled(session, epoch, found, now);
            }
            Request::CatchUp(_) => {
                self.read_all(Some(hub));
                let found = result.found();
                self.server.hubs[hub].caught_up(session, epoch, found, now);
            }
            Request::Count(keys) => core.counted(session, epoch, &keys, done, now),
            Request::Load(keys) => {
                let found = match &result {
                    Result::Loaded(found) => Some(found),
                    _ => None,
                };
                core.loaded(session, epoch, &keys, found, now);
            }
            Request::Settle(keys) => core.settled(session, epoch, &keys, done, now),
            Request::Bury(dead) => {
                let keys: Vec<i64> = dead.iter().map(|(key, ..)| *key).collect();
                core.buried(session, epoch, &keys, done, now);
            }
            Request::Close(_) => core.closed(session, epoch, done, now),
        }
    }

    /// A letter arrives at a hub.
    pub(crate) fn read(&mut self, hub: usize, letter: Letter) {
        match letter {
            Letter::Offer { session, entry } => self.offered(hub, session, entry),
            // Nodes have their sessions look for what they may have missed.
            Letter::News(session) if self.chance.below(3) == 0 => {
                self.server.hubs[hub].ring(session);
            }
            Letter::News(session) => self.server.hubs[hub].refill(session),
            Letter::Resume(resume) => self.resume_here(hub, resume),
            Letter::Up {
                session,
                connection,
                up,
            } => self.said(hub, session, connection, up),
            Letter::Lost {
                session,
                connection,
            } => self.lose(hub, session, connection),
        }
    }

    fn offered(&mut self, hub: usize, session: Uuid, entry: Entry) {
        if self.server.hubs[hub]
            .offer(session, entry.clone(), self.now)
            .is_some()
        {
            return;
        }
        if entry.key.is_some() {
            self.work(Work::Forsaken { session });
        }
    }

    /// Stores what is in memory only; true if something of it is lost all the same.
    pub(crate) fn keep_volatile(&mut self) -> bool {
        let run = self.server.run;
        for hub in &mut self.server.hubs {
            let left: Vec<Volatile> = hub.volatile(Among::All).collect();
            for one in left {
                let id = one.parcel.id;
                self.ledger.acked.push(id);
                if self.sabotage == Sabotage::ForgetVolatile {
                    continue;
                }
                let sent = &self.ledger.messages[&id];
                let key = self.store.keep(run, sent, one.session, one.deliveries);
                assert_eq!(hub.kept(&one, key), Some(true), "nothing happens meanwhile");
            }
            let left = hub.volatile(Among::All).count();
            assert!(left == 0 || self.sabotage == Sabotage::ForgetVolatile);
        }
        self.server.hubs.iter().any(Hub::has_lost_volatile)
    }

    /// Does what the hubs want.
    pub(crate) fn poll_hubs(&mut self) {
        let mut effects = Vec::new();
        for hub in 0..self.server.hubs.len() {
            loop {
                self.server.hubs[hub].poll(self.now, &mut effects);
                if effects.is_empty() {
                    break;
                }
                for effect in effects.drain(..) {
                    self.carry_out(hub, effect);
                }
            }
            self.check_levels(hub);
        }
    }

    fn carry_out(&mut self, hub: usize, effect: Effect<u64>) {
        match effect {
            Effect::Send {
                connection,
                epoch,
                seq,
                delivery,
                parcel,
                ..
            } => {
                self.check_sent(hub, connection, (epoch, seq, delivery), &parcel);
                self.down(
                    connection,
                    Down::Delivery {
                        epoch,
                        seq,
                        delivery,
                        parcel,
                    },
                );
            }
            Effect::Fence(connection) => {
                self.server.bound.remove(&connection);
                self.down(connection, Down::Fenced);
            }
            Effect::Ask {
                session,
                epoch,
                request,
            } => {
                self.work(Work::Ask {
                    hub,
                    session,
                    epoch,
                    request,
                });
            }
            Effect::Ended { session, agent } => {
                self.server.registry.remove(&session);
                let agent = agent_number(&agent);
                let others = self.server.registry.iter();
                let others = others.filter(|(_, known)| known.agent == agent && known.connected);
                if let Some((session, known)) = others.min_by_key(|(session, _)| **session) {
                    let (session, hub) = (*session, known.hub);
                    self.letter(hub, Letter::News(session));
                }
            }
        }
    }

    fn check_dead(&mut self, dead: &[(i64, DeathCause, Option<Box<str>>)]) {
        for (key, cause, _) in dead {
            let Some(row) = self.store.rows.get(key) else {
                continue;
            };
            let fits = match cause {
                DeathCause::Expired => row.sent.expires_at <= self.now,
                DeathCause::Undeliverable => row.deliveries >= 5,
                DeathCause::Terminated => true,
            };
            if !fits {
                self.violated(format!("delivery {key} was given up as {}", cause.as_str()));
            }
        }
    }
}

pub(crate) fn agent_number(agent: &AgentKey) -> usize {
    agent
        .agent
        .trim_start_matches("agent")
        .parse()
        .expect("an agent of ours")
}

/// Priorities by chance.
pub(crate) fn priority(number: u64) -> Priority {
    Priority::ALL[(number % 4) as usize]
}
