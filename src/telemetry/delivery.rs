//! What the courier of a shard counts: deliveries, their sessions, and what waits.
//!
//! Invariant: every count outlives the sessions that it was made for.

use prometheus_client::metrics::MetricType;

use super::counter::{Counter, Gauge};
use super::prometheus::Family;

/// Names of the lanes, the first to go first.
pub const LANES: [&str; 4] = ["urgent", "high", "normal", "low"];

/// What has come of it that a client wanted to take up a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResumeOutcome {
    /// It has missed nothing.
    Recovered,
    /// Messages did not reach it in time.
    MessagesLost,
    /// What was in memory only may be lost with an earlier server.
    ServerRestarted,
    /// The session had ended on this server, and what it had in memory only may be lost.
    SessionEnded,
    /// Nothing is known of the session any more.
    UnknownSession,
    /// It is not the client's session, or its wire takes no deliveries.
    Refused,
    /// The store could not say.
    Failed,
}

impl ResumeOutcome {
    const ALL: [Self; 7] = [
        Self::Recovered,
        Self::MessagesLost,
        Self::ServerRestarted,
        Self::SessionEnded,
        Self::UnknownSession,
        Self::Refused,
        Self::Failed,
    ];

    /// Its name, also on the wire where a client is told a reason.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recovered => "recovered",
            Self::MessagesLost => "messages_lost",
            Self::ServerRestarted => "server_restarted",
            Self::SessionEnded => "session_ended",
            Self::UnknownSession => "unknown_session",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// Counts of one shard's courier. Only its thread writes them.
#[derive(Debug, Default)]
pub struct DeliveryMetrics {
    /// Deliveries made.
    pub sent: Counter,
    /// Of these, repeated ones.
    pub redelivered: Counter,
    /// Deliveries that clients settled.
    pub settled: Counter,
    /// Messages in memory only that found no room.
    pub dropped: Counter,
    /// Messages whose time to live ended in a session's queue.
    pub expired: Counter,
    /// Messages given up for other reasons.
    pub dead: Counter,
    /// Connections closed because their session went on on another one.
    pub fenced: Counter,
    /// Sessions that ended because nobody came back within the reconnect window.
    pub windows_ended: Counter,
    /// Sessions taken over from the node that had them.
    pub taken_from_nodes: Counter,
    /// Sessions restored from what the store had of them: they have ended, or their server has.
    pub taken_from_store: Counter,
    /// Sessions that went on on another node.
    pub given_away: Counter,
    resumes: [Counter; ResumeOutcome::ALL.len()],
    /// Sessions with a connection that takes their deliveries.
    pub connected: Gauge,
    /// Sessions that wait for their client to come back.
    pub waiting: Gauge,
    /// Messages that wait to be delivered for the first time, by lane.
    pub lanes: [Gauge; LANES.len()],
    /// Messages that go next, once the store has counted them.
    pub staged: Gauge,
    /// Messages delivered and not answered, or between two deliveries.
    pub in_window: Gauge,
    /// Messages that clients have settled and the store has yet to.
    pub settling: Gauge,
    /// Bytes of messages held in lanes and windows.
    pub held_bytes: Gauge,
}

impl DeliveryMetrics {
    /// Counts one attempt to take up a session.
    pub fn count_resume(&self, outcome: ResumeOutcome) {
        self.resumes[outcome as usize].add(1);
    }
}

macro_rules! family {
    ($kind:ident, $name:literal, $help:literal, $read:expr) => {
        Family {
            name: $name,
            help: $help,
            kind: MetricType::$kind,
            label: None,
            members: &[("", |shard| {
                let read: fn(&DeliveryMetrics) -> u64 = $read;
                read(&shard.delivery)
            })],
        }
    };
    ($kind:ident, $name:literal, $help:literal, $label:literal, [$($value:expr => $read:expr),* $(,)?]) => {
        Family {
            name: $name,
            help: $help,
            kind: MetricType::$kind,
            label: Some($label),
            members: &[$(($value, |shard| {
                let read: fn(&DeliveryMetrics) -> u64 = $read;
                read(&shard.delivery)
            })),*],
        }
    };
}

/// Everything here as it is written.
pub(super) const FAMILIES: &[Family] = &[
    family!(
        Counter,
        "deliveries_sent",
        "Deliveries made to clients",
        |m| m.sent.get()
    ),
    family!(
        Counter,
        "deliveries_repeated",
        "Deliveries made again, of those sent",
        |m| { m.redelivered.get() }
    ),
    family!(
        Counter,
        "deliveries_settled",
        "Deliveries acknowledged by clients",
        |m| { m.settled.get() }
    ),
    family!(
        Counter,
        "deliveries_dropped",
        "Messages in memory only that found no room",
        |m| { m.dropped.get() }
    ),
    family!(
        Counter,
        "deliveries_expired",
        "Messages whose time to live ended in a queue",
        |m| { m.expired.get() }
    ),
    family!(
        Counter,
        "deliveries_dead",
        "Messages given up: undeliverable or terminated",
        |m| { m.dead.get() }
    ),
    family!(
        Counter,
        "connections_fenced",
        "Connections whose session went on elsewhere",
        |m| { m.fenced.get() }
    ),
    family!(
        Counter,
        "reconnect_windows_ended",
        "Sessions that ended because nobody came back for them",
        |m| m.windows_ended.get()
    ),
    family!(
        Counter,
        "sessions_taken_over",
        "Sessions taken over from the node that had them, or restored from the store",
        "from",
        ["node" => |m| m.taken_from_nodes.get(), "store" => |m| m.taken_from_store.get()]
    ),
    family!(
        Counter,
        "sessions_given_away",
        "Sessions that went on on another node",
        |m| { m.given_away.get() }
    ),
    family!(
        Counter,
        "session_resumes",
        "Attempts to take up a session by outcome",
        "outcome",
        [
            ResumeOutcome::ALL[0].as_str() => |m| m.resumes[0].get(),
            ResumeOutcome::ALL[1].as_str() => |m| m.resumes[1].get(),
            ResumeOutcome::ALL[2].as_str() => |m| m.resumes[2].get(),
            ResumeOutcome::ALL[3].as_str() => |m| m.resumes[3].get(),
            ResumeOutcome::ALL[4].as_str() => |m| m.resumes[4].get(),
            ResumeOutcome::ALL[5].as_str() => |m| m.resumes[5].get(),
        ]
    ),
    family!(
        Gauge,
        "delivery_sessions",
        "Sessions that take deliveries: connected, or waiting for their client",
        "state",
        ["connected" => |m| m.connected.get(), "waiting" => |m| m.waiting.get()]
    ),
    family!(
        Gauge,
        "deliveries_waiting",
        "Messages that wait for their first delivery in a session, by lane",
        "lane",
        [
            LANES[0] => |m| m.lanes[0].get(),
            LANES[1] => |m| m.lanes[1].get(),
            LANES[2] => |m| m.lanes[2].get(),
            LANES[3] => |m| m.lanes[3].get(),
        ]
    ),
    family!(
        Gauge,
        "deliveries_staged",
        "Messages that go next, once the store has counted them",
        |m| { m.staged.get() }
    ),
    family!(
        Gauge,
        "deliveries_in_window",
        "Messages delivered and not settled",
        |m| { m.in_window.get() }
    ),
    family!(
        Gauge,
        "deliveries_settling",
        "Messages acknowledged that the store has yet to settle",
        |m| { m.settling.get() }
    ),
    family!(
        Gauge,
        "deliveries_held_bytes",
        "Bytes of messages held in lanes and windows",
        |m| { m.held_bytes.get() }
    ),
];

#[cfg(test)]
mod tests {
    use super::ResumeOutcome;

    #[test]
    fn outcomes_stand_where_they_are_counted() {
        for (index, outcome) in ResumeOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index);
        }
    }
}
