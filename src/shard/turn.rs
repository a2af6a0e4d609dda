//! One turn: take what completed, handle it, send.

use std::io;

use rustix::time::{ClockId, clock_gettime};

use super::connection::{Connection, Phase};
use super::timers::Tick;
use super::websocket::Desk;
use super::{Listener, Shard};
use crate::config::limits::{HTTP_CONNECTIONS_MAX, QUEUED_BYTES_LOW, QUEUED_BYTES_MAX};
use crate::delivery::Order;
use crate::net::{Backend, Event, Lease, Receive, Token};

/// Bytes of one send. A peer that takes none of them for 30 s is stuck; a slow one still moves.
const SEND_BYTES_MAX: usize = 256 * 1024;

/// Connections to which one turn sends deliveries. A broadcast to thousands goes in portions: a call that
/// comes meanwhile waits for one of them, a tenth of a millisecond.
const DELIVERED_TO_PER_TURN: usize = 16;
/// Deliveries that one turn takes: many to one connection leave in one send.
const ORDERS_PER_TURN: usize = 64;

/// The parts of a shard that serving one of its connections needs.
macro_rules! desk {
    ($shard:expr, $now:expr) => {
        Desk {
            dispatcher: &$shard.dispatcher,
            outbox: &$shard.outbox,
            pool: &mut $shard.pool,
            metrics: $shard.dispatcher.metrics(),
            now: $now,
        }
    };
}

pub(super) use desk;

impl<B: Backend> Shard<B> {
    /// Runs one turn; false if there was nothing to do.
    pub(super) fn turn(&mut self) -> io::Result<bool> {
        let mut events = std::mem::take(&mut self.events);
        self.backend.turn(&mut events)?;
        let now = self.wheel.now();
        self.dispatcher.begin_turn();
        let mut worked = !events.is_empty();
        for event in events.drain(..) {
            self.handle(event, now);
        }
        self.events = events;
        // What belongs to a request goes before its answer.
        worked |= self.take_pushed(now);
        worked |= self.take_answers(now);
        self.dispatcher.end_turn();
        if self.wheel.is_due() {
            self.backend.tick();
            self.pass_deadlines(now);
            self.publish_gauges();
            self.giving_back.see();
        }
        worked |= self.flush(now);
        Ok(worked)
    }

    fn handle(&mut self, event: Event, now: Tick) {
        match event {
            Event::Accepted { token, listener } => self.accepted(token, listener, now),
            Event::Received { token, lease } => self.received(token, lease, now),
            Event::Sent { token, buffer } => self.sent(token, buffer, now),
            Event::Ended { token } => self.ended(token),
        }
    }

    fn accepted(&mut self, token: Token, listener: u8, now: Tick) {
        let Some(place) = self.gate.enter_http(HTTP_CONNECTIONS_MAX) else {
            self.dispatcher.metrics().connections_refused.add(1);
            self.backend.close(token);
            return;
        };
        let listener = Listener::from_number(listener);
        let mut connection = Connection::new(listener, place, now);
        // The kernel had accepted it before the drain began.
        connection.clock.drain = self.draining.map_or(0, |drain| drain.end);
        self.connections.insert_at(token, connection);
        self.schedule(token);
        self.backend.receive(token, Receive::Once);
    }

    fn received(&mut self, token: Token, lease: Lease, now: Tick) {
        let Some(connection) = self.connections.get_mut(token) else {
            self.backend.release(lease);
            return;
        };
        if matches!(connection.phase, Phase::Head { .. }) {
            self.read_head(token, lease, now);
            return;
        }
        if connection.out.capacity() == 0 {
            connection.out = Self::spare_buffer(&mut self.spare);
        }
        let input = self.backend.bytes(&lease);
        let bytes = input.len();
        if connection.paused {
            // The rest of what the kernel had received before it heard of the pause.
            connection.stash.extend_from_slice(input);
        } else {
            let consumed = connection.receive(token, input, &mut desk!(self, now));
            if consumed < bytes {
                connection.stash.extend_from_slice(&input[consumed..]);
                connection.paused = true;
                self.backend.pause(token);
            }
        }
        self.dispatcher.metrics().bytes_received.add(bytes as u64);
        self.backend.release(lease);
        self.touch(token);
    }

    fn take_pushed(&mut self, now: Tick) -> bool {
        let mut pushed = std::mem::take(&mut self.pushed);
        self.outgoing.take(&mut pushed);
        let any = !pushed.is_empty();
        let mut dropped = self.outgoing.take_dropped();
        for (key, message) in pushed.drain(..) {
            let token = Token::from_key(key);
            let Some(connection) = self.connections.get_mut(token) else {
                continue;
            };
            if connection.queued_bytes() > QUEUED_BYTES_MAX {
                // A peer that does not read: whatever this tells of can be asked for.
                dropped += 1;
                continue;
            }
            if connection.out.capacity() == 0 {
                connection.out = Self::spare_buffer(&mut self.spare);
            }
            connection.push(&message, &mut desk!(self, now));
            self.touch(token);
        }
        self.pushed = pushed;
        if dropped > 0 {
            self.dispatcher.metrics().notifications_dropped.add(dropped);
        }
        self.take_orders(now) || any
    }

    /// Deliveries, which a session's window bounds, and connections that are to be closed.
    fn take_orders(&mut self, now: Tick) -> bool {
        let (mut taken, mut connections) = (0, 0);
        while taken < ORDERS_PER_TURN && connections < DELIVERED_TO_PER_TURN {
            let Some((key, order)) = self.outgoing.take_order() else {
                break;
            };
            taken += 1;
            let token = Token::from_key(key);
            let Some(connection) = self.connections.get_mut(token) else {
                continue;
            };
            if connection.out.capacity() == 0 {
                connection.out = Self::spare_buffer(&mut self.spare);
            }
            connections += usize::from(!connection.dirty);
            match order {
                Order::Send(message) => connection.push(&message, &mut desk!(self, now)),
                Order::Deliver(delivery) => connection.deliver(&delivery, &mut desk!(self, now)),
                Order::Close(code, reason) => connection.close(code, reason, now),
            }
            self.touch(token);
        }
        taken > 0
    }

    fn take_answers(&mut self, now: Tick) -> bool {
        let mut finished = std::mem::take(&mut self.finished);
        self.outbox.take(&mut finished);
        let any = !finished.is_empty();
        for (token, answer, alone) in finished.drain(..) {
            if let Some(connection) = self.connections.get_mut(token) {
                if connection.out.capacity() == 0 {
                    connection.out = Self::spare_buffer(&mut self.spare);
                }
                connection.finish(answer, alone, &mut desk!(self, now));
                self.resume(token, now);
                self.touch(token);
            }
        }
        self.finished = finished;
        any
    }

    fn sent(&mut self, token: Token, buffer: Vec<u8>, now: Tick) {
        self.keep_buffer(buffer);
        let Some(connection) = self.connections.get_mut(token) else {
            return;
        };
        connection.sending_bytes = 0;
        self.resume(token, now);
        self.touch(token);
    }

    /// Reads a paused connection again once it has room.
    pub(super) fn resume(&mut self, token: Token, now: Tick) {
        let Some(connection) = self.connections.get_mut(token) else {
            return;
        };
        if !connection.paused || !connection.has_room() {
            return;
        }
        let mut stash = std::mem::take(&mut connection.stash);
        let consumed = connection.receive(token, &mut stash, &mut desk!(self, now));
        stash.drain(..consumed);
        if stash.is_empty() {
            connection.paused = false;
            if !connection.ended {
                self.backend.receive(token, Receive::Stream);
            }
        } else {
            connection.stash = stash;
        }
    }

    fn ended(&mut self, token: Token) {
        let Some(connection) = self.connections.get_mut(token) else {
            return;
        };
        // Requests that came before the end are answered as far as the peer still reads; a second
        // end is a send that failed.
        let busy = connection.in_flight > 0 || connection.paused || connection.queued_bytes() > 0;
        let gone = std::mem::replace(&mut connection.ended, true);
        if gone || !connection.is_open() || !busy {
            self.remove(token);
        }
    }

    /// Puts a connection on the list of this turn's sends.
    pub(super) fn touch(&mut self, token: Token) {
        if let Some(connection) = self.connections.get_mut(token)
            && !connection.dirty
        {
            connection.dirty = true;
            self.dirty.push(token);
        }
    }

    fn flush(&mut self, now: Tick) -> bool {
        let mut dirty = std::mem::take(&mut self.dirty);
        let any = !dirty.is_empty();
        for token in dirty.drain(..) {
            self.flush_one(token, now);
        }
        self.dirty = dirty;
        any
    }

    fn flush_one(&mut self, token: Token, now: Tick) {
        let Some(connection) = self.connections.get_mut(token) else {
            return;
        };
        connection.dirty = false;
        if connection.sending_bytes > 0 {
            return;
        }
        if connection.out.is_empty() {
            connection.out = Vec::new();
            self.settle(token);
            return;
        }
        let mut buffer = std::mem::take(&mut connection.out);
        if buffer.len() > SEND_BYTES_MAX {
            connection.out = buffer.split_off(SEND_BYTES_MAX);
        }
        connection.sending_bytes = buffer.len() as u32;
        connection.clock.send = now;
        self.dispatcher
            .metrics()
            .bytes_sent
            .add(buffer.len() as u64);
        self.backend.send(token, buffer);
        if connection.queued_bytes() > QUEUED_BYTES_LOW {
            self.schedule(token);
        }
    }

    /// Decides about a connection that has nothing more to send.
    fn settle(&mut self, token: Token) {
        let Some(connection) = self.connections.get_mut(token) else {
            return;
        };
        match &mut connection.phase {
            // Both close frames have travelled: the server closes first (RFC 6455, 7.1.1).
            Phase::Closing(closing) if closing.decoder.is_none() && closing.shut => {}
            Phase::Closing(closing) if closing.decoder.is_none() => {
                closing.shut = true;
                self.backend.shutdown(token);
                self.schedule(token);
            }
            Phase::Closing(_) => self.schedule(token),
            Phase::Open(_)
                if connection.ended && connection.in_flight == 0 && !connection.paused =>
            {
                self.remove(token);
            }
            Phase::Open(_) | Phase::Head { .. } | Phase::Vacant => {}
        }
    }

    /// Lets a connection go.
    pub(super) fn remove(&mut self, token: Token) {
        if let Some(connection) = self.connections.take(token) {
            if !matches!(connection.phase, Phase::Head { .. }) {
                self.dispatcher.metrics().connections_closed.add(1);
            }
            self.backend.close(token);
        }
    }

    fn publish_gauges(&self) {
        let gauges = self.backend.gauges();
        let metrics = self.dispatcher.metrics();
        metrics.sockets.set(gauges.sockets);
        metrics.buffers.set(gauges.buffers);
        metrics.buffers_lent.set(gauges.buffers_lent);
        metrics.pool_exhausted.set(gauges.pool_exhausted);
        metrics.ring_depth.set(gauges.ring_depth);
        metrics.accepts_paused.set(gauges.accept_paused);
        let cpu = clock_gettime(ClockId::ThreadCPUTime);
        metrics
            .cpu_ns
            .set(cpu.tv_sec as u64 * 1_000_000_000 + cpu.tv_nsec as u64);
        self.dispatcher.show_waiting();
    }
}
