//! Looking at sessions: what is to be done for them now, and when to look again.

use std::cmp::Reverse;

use uuid::Uuid;

use super::super::queue::Action;
use super::held::{Held, Stage};
use super::{Effect, Hub, Request};
use crate::domain::Timestamp;

impl<C: Copy + PartialEq> Hub<C> {
    /// Looks at every session in which something has happened or is due, and says what is to be done.
    pub fn poll(&mut self, now: Timestamp, effects: &mut Vec<Effect<C>>) {
        self.poll_some(now, usize::MAX, effects);
    }

    /// The same, but looks at so many at most: those first in which something has happened first. Answers
    /// at how many.
    pub fn poll_some(
        &mut self,
        now: Timestamp,
        most: usize,
        effects: &mut Vec<Effect<C>>,
    ) -> usize {
        while let Some(Reverse((at, session))) = self.timers.peek().copied() {
            if at > now {
                break;
            }
            self.timers.pop();
            if let Some(held) = self.sessions.get_mut(&session)
                && held.timer == Some(at)
            {
                held.timer = None;
                self.dirty.push_back(session);
            }
        }
        let count = self.dirty.len().min(most);
        for _ in 0..count {
            if let Some(session) = self.dirty.pop_front() {
                self.look_at(session, now);
            }
        }
        effects.append(&mut self.effects);
        count
    }

    /// Are there sessions to be looked at now?
    pub fn is_behind(&self) -> bool {
        !self.dirty.is_empty()
    }

    pub(super) fn look_at(&mut self, session: Uuid, now: Timestamp) {
        let Some(held) = self.sessions.get(&session) else {
            return;
        };
        let is_due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        let (asks_again, may_end) = (is_due(held.again), held.ends.is_some());
        if asks_again {
            self.ask_again(session);
        }
        if may_end {
            self.end_if_due(session, now);
        }
        let Some(held) = self.sessions.get_mut(&session) else {
            return;
        };
        if held.stage != Stage::Ending {
            held.queue.poll(now, &mut self.actions);
            let wake = [held.queue.wake_at(), held.ends, held.again];
            if let Some(at) = wake.into_iter().flatten().min()
                && held.timer.is_none_or(|timer| at < timer)
            {
                held.timer = Some(at);
                self.timers.push(Reverse((at, session)));
            }
            carry_out(session, held, &mut self.actions, &mut self.effects);
        }
        self.sums.note(held);
    }

    fn ask_again(&mut self, session: Uuid) {
        let Some(held) = self.sessions.get_mut(&session) else {
            return;
        };
        held.again = None;
        if held.stage == Stage::Waiting {
            self.start(session);
        } else {
            self.refill(session);
        }
    }

    pub(super) fn end_if_due(&mut self, session: Uuid, now: Timestamp) {
        let Some(held) = self.sessions.get_mut(&session) else {
            return;
        };
        let Some(ends) = held.ends else {
            return;
        };
        if ends <= now && !held.closing {
            if held.stage != Stage::Ending && !held.abandoned {
                self.sums.counts.windows_ended += 1;
            }
            held.stage = Stage::Ending;
            held.closing = true;
            let (epoch, request) = (held.epoch, Request::Close(held.agent.clone()));
            self.effects.push(Effect::Ask {
                session,
                epoch,
                request,
            });
        } else if held.stage == Stage::Ending && !held.closing {
            held.timer = Some(ends);
            self.timers.push(Reverse((ends, session)));
        }
    }

    /// Turns what the queue of a session wants into effects.
    pub(super) fn carry_out(&mut self, session: Uuid) {
        match self.sessions.get(&session) {
            Some(held) => carry_out(session, held, &mut self.actions, &mut self.effects),
            None => self.actions.clear(),
        }
    }

    /// When [`Self::poll`] is to be called at the latest.
    pub fn wake_at(&self) -> Option<Timestamp> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }
}

fn carry_out<C: Copy>(
    session: Uuid,
    held: &Held<C>,
    actions: &mut Vec<Action>,
    effects: &mut Vec<Effect<C>>,
) {
    let epoch = held.epoch;
    for action in actions.drain(..) {
        let request = match action {
            Action::Send {
                seq,
                delivery,
                dropped,
                parcel,
            } => {
                effects.extend(held.connection.map(|connection| Effect::Send {
                    connection,
                    epoch,
                    seq,
                    delivery,
                    dropped,
                    parcel,
                }));
                continue;
            }
            Action::Count(keys) => Request::Count(keys),
            Action::Load(keys) => Request::Load(keys),
            Action::Bury(dead) => Request::Bury(dead),
        };
        effects.push(Effect::Ask {
            session,
            epoch,
            request,
        });
    }
}
