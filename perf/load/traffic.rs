//! The requests of `load rate`: which are in flight, when the next ones go, what became of the others.
//!
//! A connection has `pipeline` slots. The ids of a slot are equal modulo `pipeline`, so an id
//! names its slot in whatever order the answers come.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::connection::Event;
use crate::fleet::{Driver, Fleet};
use crate::jsonrpc::{self, FIRST_ID, Outcome};
use crate::latency::{Latencies, Summary};
use crate::mix::{Kind, Mix};
use crate::outbox::Outbox;
use crate::report::Faults;
use crate::tally::Tally;

const DRAIN_SECONDS_MAX: u64 = 10;

/// When requests go.
pub(crate) enum Pace {
    /// As soon as the answer before has come.
    Closed,
    /// Each at its time, the connections in turn.
    Open(Schedule),
}

/// Times of requests, and those that wait for a slot of their connection.
pub(crate) struct Schedule {
    rate: u32,
    start: Instant,
    next: u64,
    /// By connection.
    waiting: Vec<VecDeque<Instant>>,
    /// Slots without a request, by connection.
    idle: Vec<Vec<usize>>,
    late: Latencies,
}

impl Pace {
    /// So many requests a second.
    pub(crate) fn at(rate: u32) -> Self {
        Self::Open(Schedule {
            rate,
            start: Instant::now(),
            next: 0,
            waiting: Vec::new(),
            idle: Vec::new(),
            late: Latencies::new(),
        })
    }
}

impl Schedule {
    fn due(&self) -> Instant {
        let nanoseconds = u128::from(self.next) * 1_000_000_000 / u128::from(self.rate);
        self.start + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

/// Room for one request.
struct Slot {
    id: u64,
    /// Of the latest request: its message, and the number that was in it.
    message: usize,
    number: u64,
    /// When it left, or should have left; none if it is answered.
    due: Option<Instant>,
}

/// All requests of a run.
pub(crate) struct Traffic {
    mix: Mix,
    pace: Pace,
    connections: usize,
    pipeline: usize,
    slots: Vec<Slot>,
    /// Requests so far, and how many are to be.
    requests: u64,
    pub(crate) requests_max: u64,
    stopping: bool,
    /// Requests without an answer, in flight or waiting for their slot.
    unanswered: u64,
    /// The start of the window: what was due before it is not measured.
    since: Instant,
    /// By message.
    tallies: Vec<Tally>,
    /// The `data.code` of an error that is an answer too, because the server is asked for more than it can do.
    pub(crate) refusal: Option<String>,
    pub(crate) faults: Faults,
}

impl Traffic {
    pub(crate) fn new(mix: Mix, mut pace: Pace, connections: usize, pipeline: u32) -> Self {
        let pipeline_ids = u64::from(pipeline);
        let first = FIRST_ID.next_multiple_of(pipeline_ids);
        let ids = (0..connections).flat_map(|_| (0..pipeline_ids).map(|slot| first + slot));
        let slot = |id| Slot {
            id,
            message: 0,
            number: 0,
            due: None,
        };
        let slots = ids.map(slot).collect();
        let pipeline = pipeline as usize;
        if let Pace::Open(schedule) = &mut pace {
            schedule.waiting = vec![VecDeque::new(); connections];
            schedule.idle = (0..connections)
                .map(|index| (index * pipeline..(index + 1) * pipeline).collect())
                .collect();
        }
        Self {
            tallies: mix.messages.iter().map(|_| Tally::new()).collect(),
            mix,
            pace,
            connections,
            pipeline,
            slots,
            requests: 0,
            requests_max: u64::MAX,
            stopping: false,
            unanswered: 0,
            since: Instant::now(),
            refusal: None,
            faults: Faults::default(),
        }
    }

    /// Fills the slots of a connection, or lets the schedule begin.
    pub(crate) fn begin(&mut self, index: usize, out: &mut Outbox, now: Instant) {
        match &mut self.pace {
            Pace::Open(schedule) => schedule.start = now,
            Pace::Closed => {
                for slot in index * self.pipeline..(index + 1) * self.pipeline {
                    if self.ends() {
                        return;
                    }
                    self.unanswered += 1;
                    self.send(slot, now, out);
                }
            }
        }
    }

    fn send(&mut self, slot: usize, due: Instant, out: &mut Outbox) {
        let slot = &mut self.slots[slot];
        slot.message = self.mix.choose(self.requests);
        slot.number = self.mix.number(self.requests);
        slot.due = Some(due);
        self.requests += 1;
        let message = &mut self.mix.messages[slot.message];
        out.text(message.template.with(slot.id, slot.number));
    }

    fn answer(&mut self, index: usize, answer: &[u8], out: &mut Outbox, now: Instant) {
        let known = self.outcome(index, answer).and_then(|(id, outcome)| {
            let place = index * self.pipeline + (id % self.pipeline as u64) as usize;
            let slot = &mut self.slots[place];
            let due = slot.due.take_if(|_| slot.id == id)?;
            Some((place, due, outcome))
        });
        let Some((place, due, outcome)) = known else {
            self.faults
                .add(|| String::from_utf8_lossy(answer).into_owned());
            return;
        };
        self.count(place, due, outcome, answer, now);
        self.slots[place].id += self.pipeline as u64;
        let ends = self.ends();
        let next = match &mut self.pace {
            Pace::Closed => (!ends).then_some(now),
            Pace::Open(schedule) => {
                self.unanswered -= 1;
                let next = schedule.waiting[index].pop_front();
                if next.is_none() {
                    schedule.idle[index].push(place);
                }
                next
            }
        };
        match next {
            Some(due) => self.send(place, due, out),
            None if matches!(self.pace, Pace::Closed) => self.unanswered -= 1,
            None => {}
        }
    }

    /// Whether no further request begins.
    fn ends(&self) -> bool {
        let begun = match &self.pace {
            Pace::Closed => self.requests,
            Pace::Open(schedule) => schedule.next,
        };
        self.stopping || begun >= self.requests_max
    }

    /// Whether nothing is left to send or to wait for.
    pub(crate) fn is_done(&self) -> bool {
        self.ends() && self.unanswered == 0
    }

    /// The id of the request that this answers, and how; none if it answers none.
    fn outcome(&self, index: usize, answer: &[u8]) -> Option<(u64, Outcome)> {
        // The others have asked for nothing.
        if index >= self.connections {
            return None;
        }
        match self.mix.kind {
            Kind::Echo => {
                let id = self.mix.messages[0].template.id_of_echo(answer)?;
                Some((id, Outcome::Result))
            }
            Kind::JsonRpc => jsonrpc::outcome(answer, self.refusal.as_deref()),
            // It has no id; the only request of its connection is meant.
            Kind::Body => Some((self.slots[index].id, Outcome::Result)),
        }
    }

    /// Takes note of an answer.
    fn count(&mut self, place: usize, due: Instant, outcome: Outcome, answer: &[u8], now: Instant) {
        let Slot {
            id,
            message,
            number,
            ..
        } = self.slots[place];
        let tally = &mut self.tallies[message];
        let message = &mut self.mix.messages[message];
        let is_right = match outcome {
            Outcome::Result => message.is_answered(answer, id, number),
            Outcome::Refusal => true,
            Outcome::Error => false,
        };
        if !is_right {
            tally.errors += 1;
            self.faults
                .add(|| format!("{}: {}", message.name, String::from_utf8_lossy(answer)));
            return;
        }
        // What an open loop has sent in its window is measured however late its answer comes; what a closed
        // one still waits for, when the window ends, is not in its count either.
        let open = matches!(self.pace, Pace::Open(_));
        if due >= self.since && (open || !self.stopping) {
            tally.latencies.record(now.saturating_duration_since(due));
        }
        if !self.stopping {
            tally.answers += u64::from(outcome == Outcome::Result);
            tally.refused += u64::from(outcome == Outcome::Refusal);
            tally.answer_bytes += answer.len() as u64;
        }
    }

    /// What was counted of each message, by its name.
    pub(crate) fn tallies(&self) -> impl Iterator<Item = (&str, &Tally)> {
        let names = self.mix.messages.iter().map(|one| one.name.as_str());
        names.zip(&self.tallies)
    }

    /// What was counted of all messages together.
    pub(crate) fn total(&self) -> Tally {
        let mut total = Tally::new();
        for tally in &self.tallies {
            total.add(tally);
        }
        total
    }

    /// Begins the window: forgets what was counted so far, but not the faults.
    pub(crate) fn measure_from(&mut self, now: Instant) {
        self.since = now;
        for tally in &mut self.tallies {
            tally.begin_window();
        }
        if let Pace::Open(schedule) = &mut self.pace {
            schedule.late.clear();
        }
    }

    /// Waits for the answers that are still to come, and closes.
    pub(crate) fn stop(&mut self, fleet: &mut Fleet) -> anyhow::Result<()> {
        self.stopping = true;
        if self.unanswered > 0 {
            fleet.drive(Duration::from_secs(DRAIN_SECONDS_MAX), self)?;
        }
        let (sent, wanted) = (self.requests, self.requests_max);
        if wanted < u64::MAX && sent < wanted {
            self.faults
                .add(|| format!("{sent} of {wanted} requests were sent in time"));
        }
        if self.unanswered > 0 {
            let missing = self.unanswered;
            self.faults
                .add(|| format!("{missing} requests were not answered"));
        }
        fleet.close(DRAIN_SECONDS_MAX)?;
        Ok(())
    }

    /// How late the requests of a schedule left.
    pub(crate) fn late(&self) -> Option<Summary> {
        match &self.pace {
            Pace::Closed => None,
            Pace::Open(schedule) => Some(schedule.late.summary()),
        }
    }
}

impl Driver for Traffic {
    /// Done when nothing is left to wait for; before that the time ends it.
    fn on(&mut self, index: usize, event: Event<'_>, out: &mut Outbox, now: Instant) -> bool {
        match event {
            Event::Text(answer) => self.answer(index, answer, out, now),
            Event::Closed(reason) => self.faults.add(|| format!("connection {index}: {reason}")),
            Event::Open | Event::Accepted => {}
        }
        self.is_done()
    }

    fn next_due(&self) -> Option<(usize, Instant)> {
        match &self.pace {
            Pace::Open(schedule) if !self.ends() => {
                let index = schedule.next % self.connections as u64;
                Some((index as usize, schedule.due()))
            }
            _ => None,
        }
    }

    fn send_due(&mut self, out: Option<&mut Outbox>, now: Instant) {
        let Pace::Open(schedule) = &mut self.pace else {
            return;
        };
        let (due, index) = (schedule.due(), schedule.next % self.connections as u64);
        schedule.next += 1;
        schedule.late.record(now.saturating_duration_since(due));
        // A request without a connection stays unanswered, which is a fault in the end.
        self.unanswered += 1;
        let Some(out) = out else {
            return;
        };
        match schedule.idle[index as usize].pop() {
            Some(slot) => self.send(slot, due, out),
            None => schedule.waiting[index as usize].push_back(due),
        }
    }
}
