//! Rules about what calls wait for: the store, its disk, vectors.

use super::{BUSY_SHARE, happened, percent, seen};
use crate::config::limits::QUERIES_WAITING_MAX;
use crate::telemetry::performance::advice::{Facts, Seen};

/// Half of the store's queues (`SqliteOptions`, and `Pool` on PostgreSQL).
const QUEUE_HALF: f64 = 2_048.0;
/// Requests of a transaction from which on larger groups save no more syncs.
const LARGE_GROUP: f64 = 64.0;
/// Share of a file system below which it is nearly full.
const FREE_SHARE: f64 = 0.05;
/// Share of the queue of questions from which on searches notice it.
const QUESTIONS_SHARE: f64 = 0.25;

pub(super) fn writer_busy(facts: &Facts) -> Option<Seen> {
    let queues = &facts.recent.queues;
    let share = queues.store_writer_share.or_zero();
    let group = queues.store_group.or_zero();
    let text = format!(
        "the store's writer works {} of its time, with {group:.0} requests in a transaction",
        percent(share)
    );
    if group >= LARGE_GROUP {
        let action = "many writes share each sync already: set database_url to a PostgreSQL, which \
                      writes with several cores";
        return seen(share, BUSY_SHARE, text, "database_url", action);
    }
    let action = "it waits for the disk's sync: put data_dir on a faster disk, or have clients \
                  write side by side or in batches, which share a sync";
    seen(share, BUSY_SHARE, text, "data_dir", action)
}

pub(super) fn readers_busy(facts: &Facts) -> Option<Seen> {
    let share = facts.recent.queues.store_reader_share.or_zero();
    let text = format!("the store's readers work {} of their time", percent(share));
    let action = "searches wait for each other: ask for fewer hits and narrower scopes, or set \
                  database_url to a PostgreSQL, which reads with several cores";
    seen(share, BUSY_SHARE, text, "database_url", action)
}

pub(super) fn queue_full(facts: &Facts) -> Option<Seen> {
    let queues = &facts.recent.queues;
    let (writes, reads) = (queues.store_writes.or_zero(), queues.store_reads.or_zero());
    let text = format!("{writes:.0} writes and {reads:.0} reads wait for the store");
    let (key, action) = if facts.bounds.embedded {
        let action = "the store is slower than its callers: put data_dir on a faster disk, or send \
                      less at once";
        ("data_dir", action)
    } else {
        let action = "the database is slower than its callers: give the one at database_url more \
                      cores and a faster disk, or send less at once";
        ("database_url", action)
    };
    seen(writes.max(reads), QUEUE_HALF, text, key, action)
}

pub(super) fn failures(facts: &Facts) -> Option<Seen> {
    let action = "the log tells why: as a rule the disk of data_dir is full or broken";
    let count = facts.recent.troubles.store_failures;
    happened(
        count,
        "transactions of the store failed",
        "data_dir",
        action,
    )
}

pub(super) fn disk_full(facts: &Facts) -> Option<Seen> {
    let free = facts.recent.disk.free_bytes.get()?;
    let limit = facts.recent.disk.size_bytes.get()? * FREE_SHARE;
    let text = format!(
        "{:.1} GB are free on the disk of the data directory",
        free / 1e9
    );
    let action = "writes fail when it is full: make room, move data_dir, or have old memories pruned \
                  (memory_prune_below)";
    (free < limit).then(|| Seen {
        figure: free,
        limit,
        seen: text,
        key: Some("data_dir"),
        action: action.to_owned(),
    })
}

pub(super) fn compute_busy(facts: &Facts) -> Option<Seen> {
    let share = facts.recent.queues.compute_share.or_zero();
    let (threads, cores) = (facts.bounds.compute_threads, facts.bounds.cores);
    let text = format!(
        "{threads} threads make vectors {} of their time",
        percent(share)
    );
    if threads < cores {
        let action = format!("set embedding_threads to 0, one for each of the {cores} cores");
        return seen(share, BUSY_SHARE, text, "embedding_threads", action);
    }
    let action = "every core makes vectors: have a service make them (embedding_provider http, \
                  embedding_url)";
    seen(share, BUSY_SHARE, text, "embedding_url", action)
}

pub(super) fn questions_wait(facts: &Facts) -> Option<Seen> {
    let waiting = facts.recent.queues.embedding_queries.or_zero();
    let text = format!("{waiting:.0} questions wait for their vectors");
    let action = "searches wait for the model: raise max_cache_size if questions repeat, or search \
                  with mode lexical";
    let limit = QUERIES_WAITING_MAX as f64 * QUESTIONS_SHARE;
    seen(waiting, limit, text, "max_cache_size", action)
}

pub(super) fn embeddings_refused(facts: &Facts) -> Option<Seen> {
    let action = "memories get theirs later, and searches go by words meanwhile: raise \
                  embedding_threads, or send less at once";
    let count = facts.recent.troubles.embeddings_refused;
    let what = "texts got no vector as too many waited";
    happened(count, what, "embedding_threads", action)
}
