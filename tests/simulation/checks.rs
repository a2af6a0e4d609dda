//! What must be true at every moment, and at the end.

use std::collections::{HashMap, HashSet};

use tmws::config::limits::{QUEUED_BYTES_MAX, WINDOW_BYTES_MAX};
use tmws::delivery::queue::{Answered, Levels, Parcel};
use tmws::domain::Priority;
use tmws::domain::message::{BODY_BYTES_MAX, DELIVERIES_MAX};
use uuid::Uuid;

use super::store::Sent;
use super::world::World;

/// What is remembered to judge by.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Every message by its id.
    pub(crate) messages: HashMap<Uuid, Sent>,
    /// Messages whose senders were told that they are durable.
    pub(crate) acked: Vec<Uuid>,
    /// Who has received a message, by session.
    received: HashMap<Uuid, HashSet<Uuid>>,
    /// Sends by session and message.
    sends: HashMap<(Uuid, Uuid), u32>,
    /// Latest place by session and epoch.
    latest: HashMap<(Uuid, u64), u64>,
    /// Message and latest delivery by session, epoch and place.
    places: HashMap<(Uuid, u64, u64), (Uuid, u32)>,
    /// The session of each connection that ever had one.
    pub(crate) sessions: HashMap<u64, Uuid>,
    /// Up to which place the client of a connection has everything.
    reach: HashMap<u64, u64>,
    /// Latest number by session, epoch, sender and priority.
    order: HashMap<(Uuid, u64, usize, Priority), u64>,
    /// Places whose latest delivery was named in the ack under way.
    timely: u64,
    /// The first thing that was wrong.
    pub(crate) violation: Option<String>,
}

impl World {
    pub(crate) fn violated(&mut self, what: String) {
        self.ledger.violation.get_or_insert(what);
    }

    /// A delivery leaves the server.
    pub(crate) fn check_sent(
        &mut self,
        hub: usize,
        connection: u64,
        (epoch, seq, delivery): (u64, u64, u32),
        parcel: &Parcel,
    ) {
        let Some(session) = self.ledger.sessions.get(&connection).copied() else {
            return;
        };
        let reach = self.ledger.reach.get(&connection).copied().unwrap_or(0);
        if seq > reach {
            // Whatever it never had and will not get now may have been given up, or settled.
            let open: HashSet<u64> = self.server.hubs[hub]
                .get(session)
                .map_or_else(HashSet::new, |held| held.queue().places().collect());
            if let Some(skipped) = (reach + 1..seq).find(|place| open.contains(place)) {
                self.violated(format!("place {skipped} was skipped for {seq}"));
            }
            self.ledger.reach.insert(connection, seq);
        }
        let ledger = &mut self.ledger;
        let sends = ledger.sends.entry((session, parcel.id)).or_default();
        *sends += 1;
        let mut wrong = None;
        let moved = self.store.moved.contains_key(&parcel.id);
        if *sends > DELIVERIES_MAX && !moved {
            wrong = Some(format!("delivery {delivery}, the {sends}th of one message"));
        }
        let latest = ledger.latest.entry((session, epoch)).or_default();
        if seq > *latest {
            if seq != *latest + 1 {
                wrong = Some(format!("place {seq} given away after {latest}"));
            }
            *latest = seq;
            let sent = &ledger.messages[&parcel.id];
            if !moved {
                let lane = (session, epoch, sent.sender, sent.priority);
                let before = ledger.order.insert(lane, sent.number).unwrap_or(0);
                if before > sent.number {
                    wrong = Some(format!("message {} went after {before}", sent.number));
                }
            }
        } else if ledger
            .places
            .get(&(session, epoch, seq))
            .is_none_or(|(id, _)| *id != parcel.id)
        {
            wrong = Some(format!("place {seq} has two messages"));
        }
        ledger
            .places
            .insert((session, epoch, seq), (parcel.id, delivery));
        let bytes = self.server.hubs[hub]
            .get(session)
            .map_or(0, |held| held.queue().bytes());
        if bytes > QUEUED_BYTES_MAX + WINDOW_BYTES_MAX + 2 * BODY_BYTES_MAX {
            wrong = Some(format!("a queue takes {bytes} bytes"));
        }
        if let Some(wrong) = wrong {
            self.violated(wrong);
        }
    }

    /// What a hub says of all its sessions is what each of them has.
    pub(crate) fn check_levels(&mut self, hub: usize) {
        // Now and then: it walks through every message.
        if self.now.as_micros() / 1_000 % 64 != 0 {
            return;
        }
        let mut sum = Levels::default();
        let mut messages = 0;
        let hub = &self.server.hubs[hub];
        let sessions = self.server.registry.keys();
        for held in sessions.filter_map(|session| hub.get(*session)) {
            sum.replace(&Levels::default(), &held.levels());
            messages += held.entries().count() as u64;
        }
        let levels = hub.levels();
        let counted =
            levels.lanes.iter().sum::<u64>() + levels.staged + levels.in_window + levels.settling;
        if levels != sum || counted != messages {
            let found = format!("{levels:?} instead of {sum:?} and {messages} messages");
            self.violated(found);
        }
    }

    /// A client says up to which place it has everything.
    pub(crate) fn note_reach(&mut self, hub: usize, connection: u64, reach: u64) {
        self.ledger.reach.insert(connection, reach);
        let session = self.ledger.sessions[&connection];
        let Some(held) = self.server.hubs[hub].get(session) else {
            return;
        };
        // What it says it never had was not delivered.
        let epoch = held.epoch();
        for place in held.queue().places().filter(|place| *place > reach) {
            if let Some((id, _)) = self.ledger.places.get(&(session, epoch, place))
                && let Some(sends) = self.ledger.sends.get_mut(&(session, *id))
            {
                *sends = sends.saturating_sub(1);
            }
        }
    }

    pub(crate) fn check_receiver(&mut self, agent: usize, id: Uuid) {
        if self.ledger.messages[&id].agent != agent {
            self.violated(format!("agent {agent} got a message of another"));
        }
    }

    pub(crate) fn note_received(&mut self, session: Uuid, id: Uuid) {
        self.ledger.received.entry(session).or_default().insert(id);
    }

    pub(crate) fn check_welcome(&mut self, recovered: Option<bool>, goes_on: bool) {
        if recovered.is_none() && goes_on {
            self.violated("a new session has an old name".into());
        }
    }

    /// Notes which places an ack may settle.
    pub(crate) fn check_late(&mut self, session: Uuid, places: &[(u64, u32)]) {
        let hub = self
            .server
            .registry
            .get(&session)
            .map_or(0, |known| known.hub);
        let epoch = self.server.hubs[hub]
            .get(session)
            .map_or(0, |held| held.epoch());
        let latest = |seq: u64| self.ledger.places.get(&(session, epoch, seq));
        let is_timely = |(seq, delivery): &&(u64, u32)| {
            latest(*seq).is_some_and(|(_, latest)| latest == delivery)
        };
        self.ledger.timely = places.iter().filter(is_timely).count() as u64;
    }

    pub(crate) fn check_answered(&mut self, session: Uuid, answered: &Answered) {
        if answered.accepted > self.ledger.timely {
            self.violated(format!("a late answer settled something of {session}"));
        }
    }

    /// Whoever is told that nothing was missed has missed nothing: what was posted to the queue is
    /// received, waits, or has yet to arrive.
    pub(crate) fn check_no_gap(&mut self, hub: usize, session: Uuid, last_seq: u64) {
        let Some(held) = self.server.hubs[hub].get(session) else {
            return;
        };
        let epoch = held.epoch();
        let waiting: HashSet<Uuid> = held
            .entries()
            .filter_map(|entry| Some(entry.parcel.as_ref()?.id))
            .collect();
        let spilled: HashSet<i64> = held.entries().filter_map(|entry| entry.key).collect();
        let stored = self
            .store
            .rows
            .iter()
            .filter(|(key, _)| spilled.contains(key));
        let stored: HashSet<Uuid> = stored.map(|(_, row)| row.sent.parcel.id).collect();
        let empty = HashSet::new();
        let received = self.ledger.received.get(&session).unwrap_or(&empty);
        let mut missing = Vec::new();
        for seq in last_seq + 1..=held.queue().latest() {
            let Some((id, _)) = self.ledger.places.get(&(session, epoch, seq)) else {
                continue;
            };
            if !waiting.contains(id) && !stored.contains(id) && !received.contains(id) {
                missing.push(seq);
            }
        }
        if !missing.is_empty() {
            self.violated(format!("nothing missed after {last_seq}, but {missing:?}"));
        }
    }

    /// When everything has come to rest.
    pub(crate) fn check_end(&mut self) {
        let mut wrong = None;
        for id in &self.ledger.acked {
            let sent = &self.ledger.messages[id];
            let ends = self.store.ends.get(id).copied().unwrap_or_default();
            let waits = self
                .store
                .rows
                .values()
                .any(|row| row.sent.parcel.id == *id);
            let number = sent.number;
            if ends.settled + ends.dead == 0 && !waits {
                wrong = Some(format!("message {number} was acknowledged and is nowhere"));
            } else if waits {
                wrong = Some(format!("message {number} waits though everybody answers"));
            }
            let is_received = self.ledger.received.values().any(|ids| ids.contains(id));
            if ends.settled > 0 && !is_received {
                wrong = Some(format!("message {number} was settled and never received"));
            }
        }
        if let Some(wrong) = wrong {
            self.violated(wrong);
        }
    }
}
