//! Rules about peers: connections, what they read and acknowledge, what they ask for.

use super::{happened, percent, seen};
use crate::config::limits::LETTERS_WAITING_MAX;
use crate::telemetry::performance::advice::{Facts, Seen};
use crate::telemetry::performance::figure::Figure;

/// Share of the connections or descriptors that are allowed.
const NEAR_LIMIT: f64 = 0.9;
/// Share of deliveries that were made before.
const REPEATED_SHARE: f64 = 0.2;
/// Share of calls that fail.
const ERROR_SHARE: f64 = 0.1;
/// Below so many in a minute a share of them means nothing.
const MINUTE_MIN: f64 = 60.0;
/// Share of the letters that may wait between shards, as messages that wait in lanes.
const LANES_SHARE: f64 = 0.25;

pub(super) fn connections_near_limit(facts: &Facts) -> Option<Seen> {
    let most = facts.bounds.connections_max as f64;
    let open = facts.recent.network.connections.get()?;
    let text = format!("{open:.0} WebSockets are open and {most:.0} allowed");
    let action = "more are answered 503: raise ws_max_connections";
    seen(open, most * NEAR_LIMIT, text, "ws_max_connections", action)
}

pub(super) fn connections_refused(facts: &Facts) -> Option<Seen> {
    let action =
        "a cap was reached: raise ws_max_connections, or close connections that nobody uses";
    let count = facts.recent.troubles.connections_refused;
    happened(
        count,
        "connections were refused",
        "ws_max_connections",
        action,
    )
}

pub(super) fn descriptors_short(facts: &Facts) -> Option<Seen> {
    let action = "raise the limit of open files (ulimit -n, LimitNOFILE of the service)";
    let paused = facts.recent.troubles.accepts_paused;
    let what = "accepting stopped for want of descriptors";
    if let Some(seen) = happened(paused, what, None, action) {
        return Some(seen);
    }
    let most = facts.recent.network.open_files_max.get()?;
    let open = facts.recent.network.open_files.get()?;
    let text = format!("{open:.0} files are open and {most:.0} allowed");
    seen(open, most * NEAR_LIMIT, text, None, action)
}

pub(super) fn slow_consumers(facts: &Facts) -> Option<Seen> {
    let action = "clients do not read what they ask for: have them read all the time; \
                  stalled_timeout says how long one may not";
    let count = facts.recent.troubles.slow_consumers;
    let what = "connections were closed for not reading";
    happened(count, what, "stalled_timeout", action)
}

pub(super) fn notifications_dropped(facts: &Facts) -> Option<Seen> {
    let action = "clients read too slowly: have them read all the time, or watch less";
    let count = facts.recent.troubles.notifications_dropped;
    happened(count, "notifications found no room", None, action)
}

pub(super) fn pings_unanswered(facts: &Facts) -> Option<Seen> {
    let action = "clients or the network are gone without a word; if clients are only busy raise \
                  ws_ping_timeout";
    let count = facts.recent.troubles.pings_unanswered;
    happened(
        count,
        "connections were found dead",
        "ws_ping_timeout",
        action,
    )
}

pub(super) fn deliveries_repeated(facts: &Facts) -> Option<Seen> {
    let deliveries = &facts.recent.deliveries;
    let sent = deliveries.sent_per_second.or_zero();
    let repeated = deliveries.repeated_per_second.or_zero();
    if repeated * facts.recent.seconds < MINUTE_MIN {
        return None;
    }
    let share = repeated / sent.max(repeated);
    let text = format!("{} of all deliveries were made before", percent(share));
    let action = "clients do not acknowledge within 30 s: have them send session/ack, or \
                  session/extend while they work";
    seen(share, REPEATED_SHARE, text, None, action)
}

pub(super) fn deliveries_given_up(facts: &Facts) -> Option<Seen> {
    let action = "tmws dlq list --all-agents shows which messages, and why";
    let count = facts.recent.deliveries.dead;
    happened(count, "messages became dead letters", None, action)
}

pub(super) fn deliveries_waiting(facts: &Facts) -> Option<Seen> {
    let waits = &facts.recent.deliveries;
    let lanes = [waits.urgent, waits.high, waits.normal, waits.low];
    let waiting: f64 = lanes.into_iter().map(Figure::or_zero).sum();
    let text = format!("{waiting:.0} messages wait for their first delivery");
    let action = "receivers are slower than senders: add sessions that take them, or send less";
    let limit = LETTERS_WAITING_MAX as f64 * LANES_SHARE;
    seen(waiting, limit, text, None, action)
}

pub(super) fn errors(facts: &Facts) -> Option<Seen> {
    let calls = &facts.recent.calls;
    let failed = calls.errors_per_second.or_zero();
    if failed * facts.recent.seconds < MINUTE_MIN {
        return None;
    }
    let share = failed / calls.per_second.or_zero().max(failed);
    let text = format!("{} of all calls are answered with an error", percent(share));
    let action = "the hottest operations show which; every answer tells its client what to change";
    seen(share, ERROR_SHARE, text, None, action)
}

pub(super) fn violations(facts: &Facts) -> Option<Seen> {
    let count = facts.recent.troubles.protocol_violations.or_zero();
    let text = format!("peers broke the protocol {count:.0} times in the latest minute");
    let action = "a client is broken or hostile: its connections end with 1002, 1007 or 1009";
    seen(count, MINUTE_MIN, text, None, action)
}
