//! What figures mean: bottlenecks, and what helps.
//!
//! Invariant: a rule looks at measured figures of the latest minute and at nothing else, and says
//! which figure it was, so that an operator can check it.

use super::history::Bounds;
use super::rules::RULES;
use super::sample::Sample;

/// What rules look at.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The latest minute.
    pub recent: Sample,
    /// What the configuration allows.
    pub bounds: Bounds,
}

/// A rule that holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The rule's name.
    pub name: &'static str,
    /// What is seen, in a sentence.
    pub seen: String,
    /// The figure.
    pub figure: f64,
    /// The figure from which on the rule holds.
    pub limit: f64,
    /// The setting that helps, if one does.
    pub key: Option<&'static str>,
    /// What helps.
    pub action: String,
}

/// How a rule looks.
pub(super) type Look = fn(&Facts) -> Option<Seen>;

/// What a rule has seen.
pub(super) struct Seen {
    pub(super) figure: f64,
    pub(super) limit: f64,
    pub(super) seen: String,
    pub(super) key: Option<&'static str>,
    pub(super) action: String,
}

/// All rules that hold, in the order of the table: what slows everybody first.
pub fn judge(facts: &Facts) -> Vec<Finding> {
    RULES
        .iter()
        .filter_map(|&(name, look)| {
            let seen = look(facts)?;
            Some(Finding {
                name,
                seen: seen.seen,
                figure: seen.figure,
                limit: seen.limit,
                key: seen.key,
                action: seen.action,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::groups::Shard;
    use super::super::rules::RULES;
    use super::{Facts, judge};
    use crate::config::keys;

    /// A server with two shards that has next to nothing to do.
    fn calm() -> Facts {
        let mut facts = Facts::default();
        let bounds = &mut facts.bounds;
        (bounds.cores, bounds.shards, bounds.compute_threads) = (2, 2, 2);
        (bounds.connections_max, bounds.embedded) = (10_000, true);
        let recent = &mut facts.recent;
        recent.seconds = 60.0;
        recent.cpu.share = 0.1.into();
        recent.cpu.load_average = 0.2.into();
        recent.calls.per_second = 50.0.into();
        recent.network.connections = 64.0.into();
        recent.network.open_files = 100.0.into();
        recent.network.open_files_max = 20_000.0.into();
        recent.disk.free_bytes = 50e9.into();
        recent.disk.size_bytes = 100e9.into();
        recent.shards = vec![busy(0.05), busy(0.05)].into();
        facts
    }

    fn busy(share: f64) -> Shard {
        Shard {
            turn_share: share.into(),
            cpu_share: share.into(),
            messages_received_per_second: (share * 1e5).into(),
            ..Shard::default()
        }
    }

    /// What makes a rule hold, and the setting that it is to name.
    type Case = (&'static str, fn(&mut Facts), Option<&'static str>);

    const CASES: &[Case] = &[
        (
            "shard_busy",
            |f| f.recent.shards = vec![busy(0.95), busy(0.9)].into(),
            None,
        ),
        (
            "shard_busy",
            |f| {
                f.bounds.cores = 8;
                f.recent.shards = vec![busy(0.95), busy(0.9)].into();
            },
            Some("shards"),
        ),
        (
            "shards_uneven",
            |f| f.recent.shards = vec![busy(0.6), busy(0.05)].into(),
            None,
        ),
        (
            "shards_over_cores",
            |f| {
                f.bounds.shards = 8;
                f.recent.cpu.share = 1.9.into();
            },
            Some("shards"),
        ),
        (
            "machine_busy",
            |f| f.recent.cpu.load_average = 6.0.into(),
            None,
        ),
        (
            "turns_long",
            |f| f.recent.cpu.turn_p99_us = 20_000.0.into(),
            Some("parallel_batch_size"),
        ),
        (
            "buffers_exhausted",
            |f| f.recent.troubles.buffers_exhausted = 3.0.into(),
            Some("buffer_pool_size"),
        ),
        (
            "store_writer_busy",
            |f| f.recent.queues.store_writer_share = 0.95.into(),
            Some("data_dir"),
        ),
        (
            "store_writer_busy",
            |f| {
                f.recent.queues.store_writer_share = 0.95.into();
                f.recent.queues.store_group = 120.0.into();
            },
            Some("database_url"),
        ),
        (
            "store_readers_busy",
            |f| f.recent.queues.store_reader_share = 0.95.into(),
            Some("database_url"),
        ),
        (
            "store_queue_full",
            |f| f.recent.queues.store_writes = 3_000.0.into(),
            Some("data_dir"),
        ),
        (
            "store_queue_full",
            |f| {
                f.bounds.embedded = false;
                f.recent.queues.store_reads = 3_000.0.into();
            },
            Some("database_url"),
        ),
        (
            "store_failures",
            |f| f.recent.troubles.store_failures = 1.0.into(),
            Some("data_dir"),
        ),
        (
            "compute_busy",
            |f| f.recent.queues.compute_share = 0.95.into(),
            Some("embedding_url"),
        ),
        (
            "compute_busy",
            |f| {
                f.recent.queues.compute_share = 0.95.into();
                f.bounds.compute_threads = 1;
            },
            Some("embedding_threads"),
        ),
        (
            "questions_wait",
            |f| f.recent.queues.embedding_queries = 100.0.into(),
            Some("max_cache_size"),
        ),
        (
            "embeddings_refused",
            |f| f.recent.troubles.embeddings_refused = 5.0.into(),
            Some("embedding_threads"),
        ),
        (
            "connections_near_limit",
            |f| f.recent.network.connections = 9_500.0.into(),
            Some("ws_max_connections"),
        ),
        (
            "connections_refused",
            |f| f.recent.troubles.connections_refused = 1.0.into(),
            Some("ws_max_connections"),
        ),
        (
            "descriptors_short",
            |f| f.recent.network.open_files = 19_500.0.into(),
            None,
        ),
        (
            "descriptors_short",
            |f| f.recent.troubles.accepts_paused = 1.0.into(),
            None,
        ),
        (
            "disk_full",
            |f| f.recent.disk.free_bytes = 1e9.into(),
            Some("data_dir"),
        ),
        (
            "slow_consumers",
            |f| f.recent.troubles.slow_consumers = 2.0.into(),
            Some("stalled_timeout"),
        ),
        (
            "notifications_dropped",
            |f| f.recent.troubles.notifications_dropped = 9.0.into(),
            None,
        ),
        (
            "pings_unanswered",
            |f| f.recent.troubles.pings_unanswered = 2.0.into(),
            Some("ws_ping_timeout"),
        ),
        (
            "deliveries_repeated",
            |f| {
                f.recent.deliveries.sent_per_second = 10.0.into();
                f.recent.deliveries.repeated_per_second = 4.0.into();
            },
            None,
        ),
        (
            "deliveries_given_up",
            |f| f.recent.deliveries.dead = 2.0.into(),
            None,
        ),
        (
            "deliveries_waiting",
            |f| f.recent.deliveries.normal = 50_000.0.into(),
            None,
        ),
        (
            "errors",
            |f| f.recent.calls.errors_per_second = 10.0.into(),
            None,
        ),
        (
            "violations",
            |f| f.recent.troubles.protocol_violations = 70.0.into(),
            None,
        ),
    ];

    #[test]
    fn a_calm_server_needs_no_advice() {
        assert_eq!(judge(&calm()), []);
        assert_eq!(
            judge(&Facts::default()),
            [],
            "what is not known is no finding"
        );
    }

    #[test]
    fn each_rule_holds_by_its_own_figure_and_names_what_helps() {
        for (name, change, key) in CASES {
            let mut facts = calm();
            change(&mut facts);
            let findings = judge(&facts);
            let names: Vec<_> = findings.iter().map(|finding| finding.name).collect();
            assert_eq!(names, [*name]);
            let finding = &findings[0];
            assert!(
                finding.figure >= finding.limit || *name == "disk_full",
                "{finding:?}"
            );
            assert!(
                finding.seen.len() > 20 && finding.action.len() > 20,
                "{finding:?}"
            );
            assert_eq!(finding.key, *key, "{name}");
            if let Some(key) = key {
                assert!(keys::find(key).is_some(), "{key} is no setting");
                assert!(finding.action.contains(key), "{finding:?}");
            }
        }
        for (rule, _) in RULES {
            assert!(
                CASES.iter().any(|(name, ..)| name == rule),
                "{rule} has no case"
            );
        }
    }
}
