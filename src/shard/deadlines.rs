//! What time does to connections: handshakes that take too long, pings, idleness, peers that do
//! not read, closing handshakes, and the drain.

use std::time::Duration;

use super::connection::{Connection, Phase};
use super::timers::{TICK, Tick, ticks};
use super::turn::desk;
use super::websocket::Desk;
use super::{Drain, Shard};
use crate::config::Config;
use crate::config::limits::LINGER_SECONDS;
use crate::net::{Backend, Token};

/// What is due for a connection.
enum Due {
    /// Nothing before this tick.
    Later(Tick),
    Ping,
    /// Close with this code and reason.
    Close(u16, String),
    /// Let it go.
    Remove,
}

/// The restart that a drain announces (RFC 6455 registry, 1012).
const SERVICE_RESTART: u16 = 1012;
/// The peer is too slow (1013, try again later).
const TRY_AGAIN_LATER: u16 = 1013;
/// The connection ends for the server's own reasons (1001).
const GOING_AWAY: u16 = 1001;
/// The condition that the server did not expect: an unanswered ping (1011).
const UNEXPECTED: u16 = 1011;

impl<B: Backend> Shard<B> {
    /// Puts a connection on the wheel at its next deadline, unless it stands earlier already.
    pub(super) fn schedule(&mut self, token: Token) {
        let now = self.wheel.now();
        let Some(connection) = self.connections.get_mut(token) else {
            return;
        };
        let tick = match due(connection, &self.config, now) {
            Due::Later(tick) => tick,
            _ => now + 1,
        };
        let entry = connection.clock.entry;
        if entry <= now || tick < entry {
            connection.clock.entry = self.wheel.insert(token, tick);
        }
    }

    pub(super) fn pass_deadlines(&mut self, now: Tick) {
        let mut entries = std::mem::take(&mut self.due);
        self.wheel.take_due(&mut entries);
        for (token, tick) in entries.drain(..) {
            // Entries that were superseded by an earlier one, or belong to an earlier connection.
            if self
                .connections
                .get(token)
                .is_some_and(|connection| connection.clock.entry == tick)
            {
                self.pass(token, now);
            }
        }
        self.due = entries;
    }

    fn pass(&mut self, token: Token, now: Tick) {
        let Some(connection) = self.connections.get_mut(token) else {
            return;
        };
        connection.clock.entry = 0;
        match due(connection, &self.config, now) {
            Due::Later(_) => {}
            Due::Ping => {
                connection.ping(now);
                self.touch(token);
            }
            Due::Close(code, reason) => {
                let metrics = self.dispatcher.metrics();
                match code {
                    TRY_AGAIN_LATER => metrics.slow_consumers.add(1),
                    UNEXPECTED => metrics.pings_unanswered.add(1),
                    _ => {}
                }
                if code == SERVICE_RESTART {
                    connection.end_subscriptions(&mut desk!(self, now));
                    // Clients come back as they went: spread over the time that the stop takes.
                    let retry_after = self.draining.map_or(Duration::ZERO, |drain| drain.over);
                    let window = self.config.reconnect_window;
                    connection.announce_close(window, retry_after, &mut desk!(self, now));
                }
                connection.close(code, &reason, now);
                self.touch(token);
            }
            Due::Remove => return self.remove(token),
        }
        self.schedule(token);
    }

    /// Stops accepting, and spreads the closing of connections over a time, so that they do not
    /// all come back at once.
    pub(super) fn drain(&mut self, over: Duration) {
        if self.draining.is_some() {
            return;
        }
        let now = self.wheel.now();
        // The last fifth is for the closing handshakes themselves.
        let span = over.as_millis() as u64 * 4 / 5 / TICK.as_millis() as u64;
        let end = now + 1 + span as Tick;
        self.draining = Some(Drain { over, end });
        self.backend.stop_listening();
        let tokens: Vec<(Token, bool)> = self
            .connections
            .iter()
            .map(|(token, connection)| (token, connection.is_open()))
            .collect();
        let open = tokens.iter().filter(|(_, open)| *open).count().max(1) as u64;
        let mut position = 0;
        for (token, is_open) in tokens {
            let Some(connection) = self.connections.get_mut(token) else {
                continue;
            };
            // Who has connected and not yet asked for anything is served all the same.
            connection.clock.drain = end;
            if is_open {
                connection.clock.drain = now + 1 + (span * position / open) as Tick;
                position += 1;
            }
            self.schedule(token);
        }
    }

    /// Lets every connection go.
    pub(super) fn stop(&mut self) {
        self.drain(Duration::ZERO);
        let tokens: Vec<Token> = self.connections.iter().map(|(token, _)| token).collect();
        for token in tokens {
            self.remove(token);
        }
    }
}

fn due(connection: &Connection, config: &Config, now: Tick) -> Due {
    let clock = &connection.clock;
    let stalled = clock.send + ticks(config.stalled_timeout);
    match &connection.phase {
        Phase::Head { .. } => {
            let patience = clock.accepted + ticks(config.handshake_timeout);
            let drained = (clock.drain > 0).then_some(clock.drain);
            expires(drained.map_or(patience, |drain| drain.min(patience)), now)
        }
        Phase::Closing(_) if connection.queued_bytes() > 0 => {
            // A peer that reads gets its close frame however much stood before it.
            let linger = clock.closing + ticks(Duration::from_secs(LINGER_SECONDS));
            expires(
                linger.max(clock.send + ticks(Duration::from_secs(LINGER_SECONDS))),
                now,
            )
        }
        Phase::Closing(_) => expires(
            clock.closing + ticks(Duration::from_secs(LINGER_SECONDS)),
            now,
        ),
        Phase::Vacant => Due::Remove,
        Phase::Open(open) => {
            let idle = clock.message + ticks(config.idle_timeout);
            // Who waits for an answer or for changes is silent, not idle.
            let waits = connection.in_flight > 0 || open.is_subscribed();
            let mut next = match waits {
                true => now + ticks(config.idle_timeout),
                false => idle,
            };
            if connection.sending_bytes > 0 {
                if now >= stalled {
                    let reason = format!("not read for {} s", config.stalled_timeout.as_secs());
                    return Due::Close(TRY_AGAIN_LATER, reason);
                }
                next = next.min(stalled);
            }
            if clock.drain > 0 {
                if now >= clock.drain && connection.in_flight == 0 {
                    let window_ms = config.reconnect_window.as_millis();
                    let reason = format!("the server restarts; reconnect_window_ms={window_ms}");
                    return Due::Close(SERVICE_RESTART, reason);
                }
                next = next.min(clock.drain.max(now + 1));
            }
            if now >= idle && !waits {
                let reason = format!("idle for {} s", config.idle_timeout.as_secs());
                return Due::Close(GOING_AWAY, reason);
            }
            // A connection that is not read cannot show its pong.
            if clock.awaiting_pong && !connection.paused {
                let pong = clock.ping + ticks(config.ping_timeout);
                if now >= pong {
                    let reason = format!("no pong within {} s", config.ping_timeout.as_secs());
                    return Due::Close(UNEXPECTED, reason);
                }
                next = next.min(pong);
            } else {
                let ping = clock.ping + ticks(config.ping_interval);
                if now >= ping && !connection.paused {
                    return Due::Ping;
                }
                next = next.min(ping.max(now + 1));
            }
            Due::Later(next.max(now + 1))
        }
    }
}

fn expires(tick: Tick, now: Tick) -> Due {
    if now >= tick {
        Due::Remove
    } else {
        Due::Later(tick)
    }
}
