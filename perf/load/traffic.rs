//! The requests of `load rate`: which are in flight, when the next ones go, what became of the others.
//!
//! A connection has `pipeline` slots. The ids of a slot are equal modulo `pipeline`, so an id
//! names its slot in whatever order the answers come.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use memchr::memmem::Finder;

use crate::connection::Event;
use crate::fleet::{Driver, Fleet};
use crate::jsonrpc::{self, FIRST_ID, Template};
use crate::latency::{Latencies, Summary};
use crate::outbox::Outbox;
use crate::report::Faults;

const DRAIN_SECONDS_MAX: u64 = 10;

/// What a right answer is.
pub(crate) enum Judge {
    /// The request, byte by byte.
    Echo,
    /// A result, no error, which holds the text if one is given.
    Result(Option<Box<Finder<'static>>>),
}

impl Judge {
    /// A result that holds this text.
    pub(crate) fn result(holds: Option<&str>) -> Self {
        Self::Result(holds.map(|text| Box::new(Finder::new(text).into_owned())))
    }
}

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

struct Slot {
    id: u64,
    /// When its request left, or should have left.
    due: Instant,
}

/// All requests of a run.
pub(crate) struct Traffic {
    template: Template,
    judge: Judge,
    pace: Pace,
    connections: usize,
    pipeline: usize,
    slots: Vec<Slot>,
    stopping: bool,
    /// Requests without an answer, in flight or waiting for their slot.
    unanswered: u64,
    /// The start of the window: what was due before it is not measured.
    since: Instant,
    /// Answers in the window.
    pub(crate) messages: u64,
    pub(crate) answer_bytes: u64,
    pub(crate) latencies: Latencies,
    /// The `data.code` of an error that is an answer too, because the server is asked for more than it can do.
    pub(crate) refusal: Option<String>,
    /// Such answers in the window.
    pub(crate) refused: u64,
    pub(crate) faults: Faults,
}

impl Traffic {
    pub(crate) fn new(
        template: Template,
        judge: Judge,
        mut pace: Pace,
        connections: usize,
        pipeline: u32,
    ) -> Self {
        let now = Instant::now();
        let pipeline_ids = u64::from(pipeline);
        let first = FIRST_ID.next_multiple_of(pipeline_ids);
        let ids = (0..connections).flat_map(|_| (0..pipeline_ids).map(|slot| first + slot));
        let slots = ids.map(|id| Slot { id, due: now }).collect();
        let pipeline = pipeline as usize;
        if let Pace::Open(schedule) = &mut pace {
            schedule.waiting = vec![VecDeque::new(); connections];
            schedule.idle = (0..connections)
                .map(|index| (index * pipeline..(index + 1) * pipeline).collect())
                .collect();
        }
        Self {
            template,
            judge,
            pace,
            connections,
            pipeline,
            slots,
            stopping: false,
            unanswered: 0,
            since: now,
            messages: 0,
            answer_bytes: 0,
            latencies: Latencies::new(),
            refusal: None,
            refused: 0,
            faults: Faults::default(),
        }
    }

    /// Fills the slots of a connection, or lets the schedule begin.
    pub(crate) fn begin(&mut self, index: usize, out: &mut Outbox, now: Instant) {
        match &mut self.pace {
            Pace::Open(schedule) => schedule.start = now,
            Pace::Closed => {
                for slot in index * self.pipeline..(index + 1) * self.pipeline {
                    self.unanswered += 1;
                    self.send(slot, now, out);
                }
            }
        }
    }

    fn send(&mut self, slot: usize, due: Instant, out: &mut Outbox) {
        let slot = &mut self.slots[slot];
        slot.due = due;
        out.text(self.template.with_id(slot.id));
    }

    fn answer(&mut self, index: usize, answer: &[u8], out: &mut Outbox, now: Instant) {
        let id = match &self.judge {
            Judge::Echo => self.template.id_of_echo(answer),
            Judge::Result(holds) => jsonrpc::id_of_result(answer).filter(|_| {
                holds
                    .as_ref()
                    .is_none_or(|text| text.find(answer).is_some())
            }),
        };
        let refused = id.is_none().then(|| self.refused(answer)).flatten();
        let id = id.or(refused);
        let place = |id: u64| index * self.pipeline + (id % self.pipeline as u64) as usize;
        let Some(place) = id
            .map(place)
            .filter(|place| Some(self.slots[*place].id) == id)
        else {
            self.faults
                .add(|| String::from_utf8_lossy(answer).into_owned());
            return;
        };
        let open = matches!(self.pace, Pace::Open(_));
        let slot = &mut self.slots[place];
        slot.id += self.pipeline as u64;
        // What an open loop has sent in its window is measured however late its answer comes; what a closed
        // one still waits for, when the window ends, is not in its count either.
        if slot.due >= self.since && (open || !self.stopping) {
            self.latencies
                .record(now.saturating_duration_since(slot.due));
        }
        if !self.stopping {
            self.messages += u64::from(refused.is_none());
            self.refused += u64::from(refused.is_some());
            self.answer_bytes += answer.len() as u64;
        }
        let next = match &mut self.pace {
            Pace::Closed => (!self.stopping).then_some(now),
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
            None if !open => self.unanswered -= 1,
            None => {}
        }
    }

    /// The id of an answer that is the refusal.
    fn refused(&self, answer: &[u8]) -> Option<u64> {
        let code = self.refusal.as_deref()?;
        jsonrpc::id_of_error(answer, code)
    }

    /// Begins the window: forgets what was counted so far, but not the faults.
    pub(crate) fn measure_from(&mut self, now: Instant) {
        self.since = now;
        self.messages = 0;
        self.refused = 0;
        self.answer_bytes = 0;
        self.latencies.clear();
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
        self.stopping && self.unanswered == 0
    }

    fn next_due(&self) -> Option<(usize, Instant)> {
        match &self.pace {
            Pace::Open(schedule) if !self.stopping => {
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
