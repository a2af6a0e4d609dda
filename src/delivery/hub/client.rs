//! What clients say of deliveries.

use uuid::Uuid;

use super::super::queue::{Acked, Answered, BeyondSent};
use super::Hub;
use crate::domain::Timestamp;

impl<C: Copy + PartialEq> Hub<C> {
    /// A client has done with deliveries. What has to be settled in the store is asked for, and what
    /// the client is told has to wait for [`Self::settled`]. `None` if this connection has no
    /// session here.
    pub fn ack(
        &mut self,
        session: Uuid,
        connection: C,
        acked: Acked,
    ) -> Option<Result<Answered, BeyondSent>> {
        let held = self.of_connection(session, connection)?;
        let answered = held.queue.ack(acked);
        self.dirty.push_back(session);
        Some(answered)
    }

    /// A client wants a delivery again after a while.
    pub fn nack(
        &mut self,
        session: Uuid,
        connection: C,
        (seq, delivery): (u64, Option<u32>),
        delay_ms: u64,
        now: Timestamp,
    ) -> Option<Answered> {
        let held = self.of_connection(session, connection)?;
        let answered = held.queue.nack(seq, delivery, delay_ms, now);
        self.dirty.push_back(session);
        Some(answered)
    }

    /// A client needs more time for a delivery.
    pub fn extend(
        &mut self,
        session: Uuid,
        connection: C,
        (seq, delivery): (u64, Option<u32>),
        now: Timestamp,
    ) -> Option<Answered> {
        let held = self.of_connection(session, connection)?;
        let answered = held.queue.extend(seq, delivery, now);
        self.dirty.push_back(session);
        Some(answered)
    }

    /// A client wants a message never again.
    pub fn term(
        &mut self,
        session: Uuid,
        connection: C,
        (seq, delivery): (u64, Option<u32>),
        reason: Option<Box<str>>,
        now: Timestamp,
    ) -> Option<Answered> {
        let held = self.of_connection(session, connection)?;
        let answered = held.queue.term(seq, delivery, reason, now);
        self.dirty.push_back(session);
        Some(answered)
    }

    /// Deliveries were settled for the whole agent, in the store already.
    pub fn withdraw(&mut self, session: Uuid, keys: Vec<i64>) {
        if let Some(held) = self.sessions.get_mut(&session) {
            held.withdraw(keys);
            self.dirty.push_back(session);
        }
    }
}
