//! Deliveries that are made again: unanswered ones, and those lost with a connection.

use super::window::State;
use super::{Action, Missed, SessionQueue, ack_due, backoff};
use crate::domain::message::DELIVERIES_MAX;
use crate::domain::{DeathCause, Timestamp};

impl SessionQueue {
    /// A connection is there again, whose client has received everything up to the place
    /// `received`, if that is known. What it has not comes again at once, in order, and so does, after
    /// it, what it has not answered. What it says it has not received was not delivered, so that a
    /// client on a bad line does not use up the deliveries of what waits for it. Tells what it has
    /// missed for good, until it says anything or is past it.
    pub fn reconnect(&mut self, received: Option<u64>, now: Timestamp) -> Missed {
        self.connected = true;
        let flights: Vec<(u64, State)> = self
            .window
            .iter()
            .map(|(seq, flight)| (seq, flight.state))
            .collect();
        self.lost.clear();
        self.lost_asked = false;
        let is_known = received.is_some();
        let received = received.unwrap_or(0);
        for (seq, state) in flights {
            if seq > received {
                self.reclaim(seq, is_known && state != State::Lost, now);
            } else if matches!(state, State::Pause { .. } | State::Lost) || self.may_repeat(seq) {
                self.window.set(seq, State::Pause { until: now });
            }
        }
        self.given_up.retain(|seq| *seq > received);
        if self.given_up_before <= received {
            self.given_up_before = 0;
        }
        self.told = self.missed;
        self.told_volatile = self.lost_volatile;
        self.missed()
    }

    /// Has a message sent again that was lost with a connection, or gives it up.
    pub(super) fn reclaim(&mut self, seq: u64, was_not_made: bool, now: Timestamp) {
        let Some(flight) = self.window.get_mut(seq) else {
            return;
        };
        flight.entry.made -= u32::from(was_not_made && flight.entry.made > 0);
        if flight.entry.made >= DELIVERIES_MAX {
            self.give_up_flight(seq, DeathCause::Undeliverable, None, now);
        } else if flight.entry.expires_at <= now {
            self.give_up_flight(seq, DeathCause::Expired, None, now);
        } else {
            self.window.set(seq, State::Lost);
            self.lost.push_back(seq);
        }
    }

    /// Is it sent, and not for the last time?
    pub(super) fn may_repeat(&self, seq: u64) -> bool {
        self.window.get(seq).is_some_and(|flight| {
            matches!(flight.state, State::Sent { .. }) && flight.entry.made < DELIVERIES_MAX
        })
    }

    /// Sees to what was sent and is due.
    pub(super) fn redeliver(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let due = self.window.due(now);
        let mut count = Vec::new();
        for seq in due {
            let Some(flight) = self.window.get(seq) else {
                continue;
            };
            let (made, state, key) = (flight.entry.made, flight.state, flight.entry.key);
            if made >= DELIVERIES_MAX && (self.connected || flight.entry.expires_at <= now) {
                self.give_up_flight(seq, DeathCause::Undeliverable, None, now);
            } else if flight.entry.expires_at <= now {
                self.give_up_flight(seq, DeathCause::Expired, None, now);
            } else if !self.connected {
                // Whatever is due comes again with the client, or expires before.
                let until = flight.entry.expires_at;
                self.window.set(seq, State::Pause { until });
            } else if let State::Sent { .. } = state {
                let pause = backoff::pause_ms(made, self.seed ^ seq);
                let until = now.plus_millis(pause).unwrap_or(now);
                self.window.set(seq, State::Pause { until });
            } else if flight.entry.is_counted() {
                self.send_again(seq, now, actions);
            } else {
                self.window.set(seq, State::Counting);
                count.extend(key);
            }
        }
        if !count.is_empty() {
            actions.push(Action::Count(count));
        }
    }

    /// Sends what was lost with a connection. A client settles everything up to the latest place it
    /// has received: nothing may reach it before what comes before.
    pub(super) fn send_lost(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        if self.lost_again.is_some_and(|again| again <= now) {
            self.lost_again = None;
            self.lost_asked = false;
        }
        while let Some(seq) = self.lost.front().copied() {
            match self.window.get(seq) {
                Some(flight) if flight.state == State::Lost => {
                    if !flight.entry.is_counted() {
                        break;
                    }
                    self.send_again(seq, now, actions);
                }
                // Settled meanwhile.
                Some(_) | None => {}
            }
            self.lost.pop_front();
        }
        if self.lost.is_empty() || self.lost_asked {
            return;
        }
        self.lost_asked = true;
        let flights = self.lost.iter().filter_map(|seq| self.window.get(*seq));
        let uncounted = flights.filter(|flight| !flight.entry.is_counted());
        let keys = uncounted.filter_map(|flight| flight.entry.key).collect();
        actions.push(Action::Count(keys));
    }

    pub(super) fn send_again(&mut self, seq: u64, now: Timestamp, actions: &mut Vec<Action>) {
        let until = ack_due(now);
        let dropped = self.tally.dropped_in_short();
        if let Some(flight) = self.window.get_mut(seq) {
            flight.entry.made += 1;
            flight.entry.number += 1;
            let parcel = flight.entry.parcel.clone();
            let delivery = flight.entry.number;
            actions.extend(parcel.map(|parcel| Action::Send {
                seq,
                delivery,
                dropped,
                parcel,
            }));
            self.window.set(seq, State::Sent { until });
            self.tally.sent += 1;
            self.tally.redelivered += 1;
        }
    }
}
