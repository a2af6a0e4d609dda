//! What happened between two reports, a second.

use serde::Serialize;

use crate::operations::{Report, ShardTotals};
use crate::telemetry::performance::Figure;

/// Rates of one screen.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Rates {
    /// Time between the reports.
    pub(super) seconds: f64,
    /// Cores in use.
    pub(super) cpu_share: f64,
    pub(super) calls: f64,
    pub(super) errors: f64,
    pub(super) http_requests: f64,
    pub(super) connections_opened: f64,
    pub(super) messages_received: f64,
    pub(super) messages_sent: f64,
    pub(super) received_bytes: f64,
    pub(super) sent_bytes: f64,
    pub(super) shards: Vec<ShardRates>,
}

/// Rates of one shard.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct ShardRates {
    pub(super) turns: f64,
    /// Share of its time in turns.
    pub(super) turn_share: f64,
    /// Share of a core.
    pub(super) cpu_share: f64,
    pub(super) messages_received: f64,
    pub(super) messages_sent: f64,
}

impl Rates {
    /// What happened from `before` to `now`. A server that began anew meanwhile counts from there.
    pub(super) fn between(before: &Report, now: &Report, seconds: f64) -> Self {
        let seconds = seconds.max(1e-3);
        let rate = |before: u64, now: u64| now.saturating_sub(before) as f64 / seconds;
        let share =
            |before: Figure, now: Figure| (now.or_zero() - before.or_zero()).max(0.0) / seconds;
        let (old, new) = (&before.totals, &now.totals);
        let fresh = ShardTotals::default();
        let shards = new.shards.iter().enumerate().map(|(at, new)| {
            let old = old.shards.get(at).unwrap_or(&fresh);
            ShardRates {
                turns: rate(old.turns, new.turns),
                turn_share: share(old.turn_seconds, new.turn_seconds),
                cpu_share: share(old.cpu_seconds, new.cpu_seconds),
                messages_received: rate(old.messages_received, new.messages_received),
                messages_sent: rate(old.messages_sent, new.messages_sent),
            }
        });
        Self {
            seconds,
            cpu_share: share(old.cpu_seconds, new.cpu_seconds),
            calls: rate(old.calls, new.calls),
            errors: rate(old.errors, new.errors),
            http_requests: rate(old.http_requests, new.http_requests),
            connections_opened: rate(old.connections_opened, new.connections_opened),
            messages_received: rate(old.messages_received, new.messages_received),
            messages_sent: rate(old.messages_sent, new.messages_sent),
            received_bytes: rate(old.received_bytes, new.received_bytes),
            sent_bytes: rate(old.sent_bytes, new.sent_bytes),
            shards: shards.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Rates;
    use crate::operations::{Report, ShardTotals};

    fn report(calls: u64, cpu: f64) -> Report {
        let mut report = Report::default();
        report.totals.calls = calls;
        report.totals.cpu_seconds = cpu.into();
        report.totals.shards = vec![ShardTotals {
            turns: calls,
            turn_seconds: cpu.into(),
            ..ShardTotals::default()
        }];
        report
    }

    #[test]
    fn rates_are_what_happened_between_two_reports() {
        let rates = Rates::between(&report(100, 1.0), &report(300, 2.0), 2.0);
        assert_eq!(
            (rates.calls, rates.cpu_share, rates.errors),
            (100.0, 0.5, 0.0)
        );
        assert_eq!(
            (rates.shards[0].turns, rates.shards[0].turn_share),
            (100.0, 0.5)
        );
        // The server was restarted.
        let rates = Rates::between(&report(300, 2.0), &report(10, 0.1), 2.0);
        assert_eq!((rates.calls, rates.cpu_share), (0.0, 0.0));
    }
}
