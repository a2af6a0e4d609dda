//! All connections of a scenario and the loop that drives them.

use std::io;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::connection::{Connection, Dial, Event, Leaving};
use crate::outbox::Outbox;
use crate::poller::Poller;
use crate::target::Target;
use crate::{frame, limits};

/// The largest message that is read: a page of 100 memories stays well below.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// What one turn of the loop waits at most, so that deadlines are noticed.
const TURN: Duration = Duration::from_millis(20);

/// Upgrades under way at once: the server bounds connections that are no WebSocket yet.
const OPENING_MAX: usize = 256;

const OPEN_SECONDS_MAX: u64 = 30;

/// What a scenario does with its connections.
pub(crate) trait Driver {
    /// Something has happened on a connection; true if all is done.
    fn on(&mut self, index: usize, event: Event<'_>, out: &mut Outbox, now: Instant) -> bool;

    /// The next message that goes at a time of its own, and its connection.
    fn next_due(&self) -> Option<(usize, Instant)>;

    /// Queues that message, if its connection still lives.
    fn send_due(&mut self, out: Option<&mut Outbox>, now: Instant);
}

/// Sends only when something has happened.
struct Reacting<F>(F);

impl<F: FnMut(usize, Event<'_>, &mut Outbox, Instant) -> bool> Driver for Reacting<F> {
    fn on(&mut self, index: usize, event: Event<'_>, out: &mut Outbox, now: Instant) -> bool {
        (self.0)(index, event, out, now)
    }

    fn next_due(&self) -> Option<(usize, Instant)> {
        None
    }

    fn send_due(&mut self, _: Option<&mut Outbox>, _: Instant) {}
}

/// Connections by index; one that has ended leaves a gap.
pub(crate) struct Fleet {
    dial: Dial,
    poller: Poller,
    connections: Vec<Option<Connection>>,
    buffer: Vec<u8>,
    alive: usize,
}

impl Fleet {
    /// Clients of MCP.
    pub(crate) fn new(connections: usize) -> anyhow::Result<Self> {
        Self::dialled(connections, Dial::MCP)
    }

    /// Clients that connect as `dial` says.
    pub(crate) fn dialled(connections: usize, dial: Dial) -> anyhow::Result<Self> {
        limits::open_files_at_least(connections + 64)?;
        Ok(Self {
            dial,
            poller: Poller::new()?,
            connections: Vec::with_capacity(connections),
            buffer: vec![0; MESSAGE_BYTES_MAX],
            alive: 0,
        })
    }

    /// Further connections are made as `dial` says.
    pub(crate) fn redial(&mut self, dial: Dial) {
        self.dial = dial;
    }

    pub(crate) fn alive(&self) -> usize {
        self.alive
    }

    /// Opens connections up to `count` in all and waits until each can take messages. `headers`
    /// gives the additional lines of the head of a connection's upgrade.
    pub(crate) fn open(
        &mut self,
        target: &Target,
        count: usize,
        headers: impl Fn(usize) -> String,
    ) -> anyhow::Result<()> {
        self.open_and_hear(target, count, headers, |_, _| {})
    }

    /// The same; what the server says unasked goes to `hear`.
    pub(crate) fn open_and_hear(
        &mut self,
        target: &Target,
        count: usize,
        headers: impl Fn(usize) -> String,
        mut hear: impl FnMut(usize, &[u8]),
    ) -> anyhow::Result<()> {
        while self.connections.len() < count {
            let wave = (count - self.connections.len()).min(OPENING_MAX);
            let mut opening = 0;
            for _ in 0..wave {
                let index = self.connections.len();
                opening += usize::from(self.open_one(target, &headers(index))?);
            }
            if opening == 0 {
                continue;
            }
            let mut opened = 0;
            let mut failure = None;
            self.run_until(OPEN_SECONDS_MAX, |index, event, _, _| {
                match event {
                    Event::Open => opened += 1,
                    Event::Text(text) => hear(index, text),
                    Event::Accepted => {}
                    Event::Closed(reason) => failure = Some((index, reason)),
                }
                opened == opening || failure.is_some()
            })?;
            if let Some((index, reason)) = failure {
                bail!("connection {index}: {reason}");
            }
            if opened < opening {
                bail!("{} upgrades were not answered", opening - opened);
            }
        }
        Ok(())
    }

    /// Begins one more connection; whether an `Open` is to come of it.
    pub(crate) fn open_one(&mut self, target: &Target, headers: &str) -> anyhow::Result<bool> {
        self.connections.push(None);
        self.begin(self.connections.len() - 1, target, headers)
    }

    /// Leaves a connection, if it still lives, and begins another in its place.
    pub(crate) fn replace(
        &mut self,
        index: usize,
        target: &Target,
        headers: &str,
        leaving: Leaving,
    ) -> anyhow::Result<()> {
        if let Some(connection) = self.connections[index].take() {
            self.alive -= 1;
            connection.leave(leaving)?;
        }
        self.begin(index, target, headers)?;
        Ok(())
    }

    /// Leaves all connections.
    pub(crate) fn leave(&mut self, leaving: Leaving) -> io::Result<()> {
        for place in &mut self.connections {
            if let Some(connection) = place.take() {
                self.alive -= 1;
                connection.leave(leaving)?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, index: usize, target: &Target, headers: &str) -> anyhow::Result<bool> {
        let connection = Connection::begin(self.dial, target, headers, index as u32)
            .with_context(|| format!("connection {index}"))?;
        let opening = connection.opening();
        self.poller.add(&connection.stream, index)?;
        self.connections[index] = Some(connection);
        self.alive += 1;
        self.flush(index)?;
        Ok(opening)
    }

    /// Queues frames on every living connection and sends them.
    pub(crate) fn each(&mut self, mut queue: impl FnMut(usize, &mut Outbox)) -> io::Result<()> {
        for index in 0..self.connections.len() {
            if let Some(connection) = &mut self.connections[index] {
                queue(index, &mut connection.out);
                self.flush(index)?;
            }
        }
        Ok(())
    }

    /// Reports events until the handler says that it is done, no connection is left, or the time is
    /// over; true if the handler said so. What the handler queues is sent in one write.
    pub(crate) fn run_until(
        &mut self,
        seconds_max: u64,
        handler: impl FnMut(usize, Event<'_>, &mut Outbox, Instant) -> bool,
    ) -> io::Result<bool> {
        self.run_for(Duration::from_secs(seconds_max), handler)
    }

    /// As `run_until`, for a time that is no whole number of seconds.
    pub(crate) fn run_for(
        &mut self,
        time_max: Duration,
        handler: impl FnMut(usize, Event<'_>, &mut Outbox, Instant) -> bool,
    ) -> io::Result<bool> {
        self.drive(time_max, &mut Reacting(handler))
    }

    /// As `run_for`, for what sends when its time comes as well.
    pub(crate) fn drive(
        &mut self,
        time_max: Duration,
        driver: &mut impl Driver,
    ) -> io::Result<bool> {
        let deadline = Instant::now() + time_max;
        let mut done = false;
        while !done && self.alive > 0 {
            let now = Instant::now();
            if now >= deadline {
                return Ok(false);
            }
            let mut until = deadline.min(now + TURN);
            while let Some((index, due)) = driver.next_due() {
                if due > now {
                    until = until.min(due);
                    break;
                }
                driver.send_due(self.connections[index].as_mut().map(|to| &mut to.out), now);
                self.flush(index)?;
            }
            let time = until.saturating_duration_since(Instant::now());
            self.turn(time, |index, event, out, now| {
                done |= driver.on(index, event, out, now);
            })?;
        }
        Ok(done)
    }

    /// Waits once, for a moment at most, and reports what has come. What the handler queues is sent
    /// in one write.
    pub(crate) fn turn(
        &mut self,
        time_max: Duration,
        mut handler: impl FnMut(usize, Event<'_>, &mut Outbox, Instant),
    ) -> io::Result<()> {
        let count = self.poller.wait(TURN.min(time_max))?;
        for place in 0..count {
            let (index, readable) = self.poller.event(place);
            if readable {
                self.receive(index, |event, out, now| handler(index, event, out, now));
            }
            self.flush(index)?;
        }
        Ok(())
    }

    /// Queues frames on one connection and sends them.
    pub(crate) fn write(
        &mut self,
        index: usize,
        queue: impl FnOnce(&mut Outbox),
    ) -> io::Result<()> {
        if let Some(Some(connection)) = self.connections.get_mut(index) {
            queue(&mut connection.out);
            self.flush(index)?;
        }
        Ok(())
    }

    /// Does not read a connection any more.
    pub(crate) fn stop_reading(&mut self, index: usize) -> io::Result<()> {
        match self.connections.get(index) {
            Some(Some(connection)) => self.poller.ignore(&connection.stream, index),
            _ => Ok(()),
        }
    }

    fn receive(&mut self, index: usize, mut on: impl FnMut(Event<'_>, &mut Outbox, Instant)) {
        let Some(connection) = &mut self.connections[index] else {
            return;
        };
        // Messages of one read have arrived together.
        let now = Instant::now();
        let going_on = connection.receive(&mut self.buffer, |event, out| on(event, out, now));
        if !going_on {
            self.end(index);
        }
    }

    /// Sends what is queued. A peer that is gone is found out by the next read.
    fn flush(&mut self, index: usize) -> io::Result<()> {
        let Some(connection) = &mut self.connections[index] else {
            return Ok(());
        };
        let all = connection.out.flush(&connection.stream).unwrap_or(true);
        if all == connection.waits_for_room {
            connection.waits_for_room = !all;
            self.poller.watch_room(&connection.stream, index, !all)?;
        }
        Ok(())
    }

    /// Dropping the socket takes it out of the poller.
    fn end(&mut self, index: usize) {
        if self.connections[index].take().is_some() {
            self.alive -= 1;
        }
    }

    /// Closes all connections (1000) and waits for the server to agree; those that it did not
    /// answer in time are counted.
    pub(crate) fn close(&mut self, seconds_max: u64) -> io::Result<usize> {
        self.each(|_, out| out.frame(frame::CLOSE, &1000_u16.to_be_bytes()))?;
        for place in &mut self.connections {
            // There is no frame to say it with.
            if place
                .as_ref()
                .is_some_and(|connection| !connection.has_frames())
            {
                *place = None;
                self.alive -= 1;
            }
        }
        self.run_until(seconds_max, |_, _, _, _| false)?;
        Ok(self.alive)
    }
}
