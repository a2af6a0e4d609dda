//! The rules by which figures of the latest minute become advice.
//!
//! Limits are where our own measurements begin to queue (`perf/README.md`), or shares of what the
//! configuration allows.

mod peers;
mod store;

use super::advice::{Facts, Look, Seen};
use super::figure::Figure;

/// From this share of its time on, whoever serves a queue makes it grow with every burst.
const BUSY_SHARE: f64 = 0.85;
/// A shard that has this much to do, and twice what another one has, is worth spreading.
const UNEVEN_SHARE: f64 = 0.4;
/// A turn that long is a tenth of the time in which people notice.
const LONG_TURN_US: f64 = 10_000.0;
/// A load average of so many times the cores means that others wait for them.
const LOAD_OF_CORES: f64 = 1.5;

/// All rules: what slows everybody first.
pub(super) const RULES: &[(&str, Look)] = &[
    ("shard_busy", shard_busy),
    ("shards_uneven", shards_uneven),
    ("shards_over_cores", shards_over_cores),
    ("machine_busy", machine_busy),
    ("turns_long", turns_long),
    ("buffers_exhausted", buffers_exhausted),
    ("store_writer_busy", store::writer_busy),
    ("store_readers_busy", store::readers_busy),
    ("store_queue_full", store::queue_full),
    ("store_failures", store::failures),
    ("disk_full", store::disk_full),
    ("compute_busy", store::compute_busy),
    ("questions_wait", store::questions_wait),
    ("embeddings_refused", store::embeddings_refused),
    ("connections_near_limit", peers::connections_near_limit),
    ("connections_refused", peers::connections_refused),
    ("descriptors_short", peers::descriptors_short),
    ("slow_consumers", peers::slow_consumers),
    ("notifications_dropped", peers::notifications_dropped),
    ("pings_unanswered", peers::pings_unanswered),
    ("deliveries_repeated", peers::deliveries_repeated),
    ("deliveries_given_up", peers::deliveries_given_up),
    ("deliveries_waiting", peers::deliveries_waiting),
    ("errors", peers::errors),
    ("violations", peers::violations),
];

/// Something was seen if the figure has reached its limit.
fn seen(
    figure: f64,
    limit: f64,
    text: String,
    key: impl Into<Option<&'static str>>,
    action: impl Into<String>,
) -> Option<Seen> {
    (figure >= limit).then(|| Seen {
        figure,
        limit,
        seen: text,
        key: key.into(),
        action: action.into(),
    })
}

/// Something that should not happen has, in the latest minute.
fn happened(
    count: Figure,
    what: &str,
    key: impl Into<Option<&'static str>>,
    action: &str,
) -> Option<Seen> {
    let count = count.or_zero();
    let text = format!("{what}: {count:.0} times in the latest minute");
    seen(count, 1.0, text, key, action)
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// How busy each shard is: its turns, or its thread with what runs beside them.
fn busyness(facts: &Facts) -> impl Iterator<Item = f64> {
    let shards = facts.recent.shards.iter();
    shards.map(|shard| shard.turn_share.or_zero().max(shard.cpu_share.or_zero()))
}

fn busiest(facts: &Facts) -> (usize, f64) {
    let larger = |best: (usize, f64), next: (usize, f64)| if next.1 > best.1 { next } else { best };
    busyness(facts).enumerate().fold((0, 0.0), larger)
}

fn shard_busy(facts: &Facts) -> Option<Seen> {
    let (index, share) = busiest(facts);
    let text = format!("shard {index} works {} of its time", percent(share));
    let (shards, cores) = (facts.bounds.shards, facts.bounds.cores);
    if shards < cores {
        let action =
            format!("set shards to 0, one for each of the {cores} cores; {shards} serve now");
        return seen(share, BUSY_SHARE, text, "shards", action);
    }
    let action = "every core has its shard: move agents to another node or to a machine with more \
                  cores, and look at the hottest operations";
    seen(share, BUSY_SHARE, text, None, action)
}

fn shards_uneven(facts: &Facts) -> Option<Seen> {
    let (index, most) = busiest(facts);
    let least = busyness(facts).fold(f64::INFINITY, f64::min);
    if least * 2.0 > most || most >= BUSY_SHARE {
        return None;
    }
    let text = format!(
        "shard {index} works {} of its time, the idlest one {}",
        percent(most),
        percent(least)
    );
    let action = "a connection stays with the shard that accepted it: spread the load over more \
                  connections, or have busy clients connect anew";
    seen(most, UNEVEN_SHARE, text, None, action)
}

fn shards_over_cores(facts: &Facts) -> Option<Seen> {
    let (shards, cores) = (facts.bounds.shards, facts.bounds.cores);
    if shards <= cores {
        return None;
    }
    let share = facts.recent.cpu.share.or_zero();
    let text = format!("{shards} shards share {cores} cores, of which {share:.1} are in use");
    let action = "shards on one core slow each other: set shards to 0";
    seen(share, cores as f64 * BUSY_SHARE, text, "shards", action)
}

fn machine_busy(facts: &Facts) -> Option<Seen> {
    let cores = facts.bounds.cores as f64;
    let own = facts.recent.cpu.share.get()?;
    let load = facts.recent.cpu.load_average.get()?;
    if own * 2.0 > cores {
        return None;
    }
    let text = format!(
        "the load average is {load:.1} on {cores} cores, of which the server takes {own:.1}"
    );
    let action = "other processes take the cores: move them, or give the server cores of its own";
    seen(load, cores * LOAD_OF_CORES, text, None, action)
}

fn turns_long(facts: &Facts) -> Option<Seen> {
    let figure = facts.recent.cpu.turn_p99_us.or_zero();
    let text = format!("one turn of a hundred takes {:.1} ms or more", figure / 1e3);
    let action = "everybody on a shard waits for a turn: lower parallel_batch_size, and have clients \
                  send smaller messages";
    seen(figure, LONG_TURN_US, text, "parallel_batch_size", action)
}

fn buffers_exhausted(facts: &Facts) -> Option<Seen> {
    let action = "reception stopped until buffers came back: double buffer_pool_size";
    let count = facts.recent.troubles.buffers_exhausted;
    let what = "the receive buffers of a shard ran out";
    happened(count, what, "buffer_pool_size", action)
}
