//! The store as it promises to be: what is committed stays, whatever happens to the server.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tmws::delivery::queue::Parcel;
use tmws::domain::{DeathCause, Destination, Outline, Priority, Timestamp};
use uuid::Uuid;

/// A message of the simulation. Its number grows with each send of its sender.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) number: u64,
    pub(crate) sender: usize,
    pub(crate) agent: usize,
    pub(crate) priority: Priority,
    pub(crate) expires_at: Timestamp,
    pub(crate) parcel: Arc<Parcel>,
}

#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) sent: Sent,
    pub(crate) session: Option<Uuid>,
    pub(crate) deliveries: u32,
    /// A copy is in another queue.
    copied: bool,
    /// It was not posted to its queue.
    filled: bool,
}

/// How deliveries have ended, by message.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) settled: u32,
    pub(crate) dead: u32,
}

#[derive(Default)]
pub(crate) struct Store {
    pub(crate) rows: BTreeMap<i64, Row>,
    latest: i64,
    /// Sessions that have a queue, and the run of the server that serves it.
    queues: HashMap<Uuid, u64>,
    pub(crate) ends: HashMap<Uuid, Ends>,
    /// Messages that were in more than one queue: their order says nothing.
    pub(crate) moved: HashMap<Uuid, bool>,
}

impl Store {
    pub(crate) fn post(&mut self, run: u64, sent: &Sent, to: &[Destination]) -> Vec<i64> {
        let mut keys = Vec::new();
        for destination in to {
            self.latest += 1;
            if let Some(session) = destination.session {
                self.queues.entry(session).or_insert(run);
            }
            let row = Row {
                sent: sent.clone(),
                session: destination.session,
                deliveries: u32::from(destination.begun),
                copied: false,
                filled: false,
            };
            self.rows.insert(self.latest, row);
            keys.push(self.latest);
        }
        keys
    }

    /// Stores what was in memory only in a queue.
    pub(crate) fn keep(&mut self, run: u64, sent: &Sent, session: Uuid, deliveries: u32) -> i64 {
        self.latest += 1;
        self.queues.entry(session).or_insert(run);
        let row = Row {
            sent: sent.clone(),
            session: Some(session),
            deliveries,
            copied: false,
            filled: false,
        };
        self.rows.insert(self.latest, row);
        self.latest
    }

    pub(crate) fn fill(
        &mut self,
        run: u64,
        agent: usize,
        session: Uuid,
        absent: &[Uuid],
    ) -> Vec<Outline> {
        let queues = &self.queues;
        let is_gone = |other: &Uuid| {
            absent.contains(other) || queues.get(other).is_some_and(|served| *served != run)
        };
        let mut found = Vec::new();
        let mut copies = Vec::new();
        for (key, row) in &mut self.rows {
            if row.sent.agent != agent {
                continue;
            }
            match row.session {
                None => {
                    row.session = Some(session);
                    row.filled = true;
                    self.moved.insert(row.sent.parcel.id, true);
                    found.push(outline(*key, row));
                }
                Some(other) if other != session && !row.copied && is_gone(&other) => {
                    row.copied = true;
                    self.moved.insert(row.sent.parcel.id, true);
                    let copy = Row {
                        session: Some(session),
                        copied: false,
                        filled: true,
                        ..row.clone()
                    };
                    copies.push(copy);
                }
                Some(own) if own == session && row.filled => found.push(outline(*key, row)),
                Some(_) => {}
            }
        }
        for copy in copies {
            self.latest += 1;
            found.push(outline(self.latest, &copy));
            self.rows.insert(self.latest, copy);
        }
        if !found.is_empty() {
            self.queues.entry(session).or_insert(run);
        }
        found
    }

    /// Takes a queue over; tells what is in it and whether it is known.
    pub(crate) fn resume(&mut self, run: u64, agent: usize, session: Uuid) -> (Vec<Outline>, bool) {
        let known = self.queues.contains_key(&session);
        if known {
            self.queues.insert(session, run);
        }
        let of_session = |row: &Row| row.session == Some(session) && row.sent.agent == agent;
        let rows = self.rows.iter().filter(|(_, row)| of_session(row));
        let mut rows: Vec<(&i64, &Row)> = rows.collect();
        rows.sort_by_key(|(key, row)| (row.sent.parcel.id, **key));
        let outlines = rows.into_iter().map(|(key, row)| outline(*key, row));
        (outlines.collect(), known)
    }

    pub(crate) fn close(&mut self, session: Uuid) {
        self.queues.remove(&session);
        let moved = &mut self.moved;
        self.rows
            .retain(|_, row| row.session != Some(session) || !row.copied);
        for row in self
            .rows
            .values_mut()
            .filter(|row| row.session == Some(session))
        {
            row.session = None;
            moved.insert(row.sent.parcel.id, true);
        }
    }

    /// Closes the queues of runs that are over; the upkeep of a server does so after a while.
    pub(crate) fn close_orphans(&mut self, run: u64) {
        let orphans = self.queues.iter().filter(|(_, served)| **served != run);
        let orphans: Vec<Uuid> = orphans.map(|(session, _)| *session).collect();
        for session in orphans {
            self.close(session);
        }
    }

    pub(crate) fn load(&self, keys: &[i64]) -> BTreeMap<i64, Arc<Parcel>> {
        let rows = keys
            .iter()
            .filter_map(|key| Some((*key, self.rows.get(key)?)));
        rows.map(|(key, row)| (key, Arc::clone(&row.sent.parcel)))
            .collect()
    }

    pub(crate) fn count(&mut self, keys: &[i64]) {
        for key in keys {
            if let Some(row) = self.rows.get_mut(key) {
                row.deliveries += 1;
            }
        }
    }

    pub(crate) fn settle(&mut self, keys: &[i64]) {
        for key in keys {
            if let Some(row) = self.rows.remove(key) {
                self.ends.entry(row.sent.parcel.id).or_default().settled += 1;
            }
        }
    }

    pub(crate) fn bury(&mut self, dead: &[(i64, DeathCause, Option<Box<str>>)]) {
        for (key, ..) in dead {
            if let Some(row) = self.rows.remove(key) {
                self.ends.entry(row.sent.parcel.id).or_default().dead += 1;
            }
        }
    }

    /// Expired messages in the inbox become dead letters, as the upkeep sees to.
    pub(crate) fn expire_inbox(&mut self, now: Timestamp) {
        let is_over = |row: &Row| row.session.is_none() && row.sent.expires_at <= now;
        let over: Vec<i64> = self
            .rows
            .iter()
            .filter(|(_, row)| is_over(row))
            .map(|(key, _)| *key)
            .collect();
        for key in over {
            self.bury(&[(key, DeathCause::Expired, None)]);
        }
    }
}

fn outline(key: i64, row: &Row) -> Outline {
    Outline {
        key,
        message: row.sent.parcel.id,
        priority: row.sent.priority,
        bytes: row.sent.parcel.text.len(),
        expires_at: row.sent.expires_at,
        deliveries: row.deliveries,
    }
}
