//! Full-text search.
//!
//! BM25 over bounded lists instead of FTS5's own `bm25()`, which counts every document of every
//! phrase first: 5 ms for the scope of 100,000 memories and 150 ms for a common word. Here each
//! term contributes its newest matches within what the viewer may see, at most [`MATCHES_MAX`];
//! rarer terms weigh more; the best candidates are read and checked, until none of the rest can
//! be better. A term counts once per memory however often it occurs.
//!
//! Invariant: a row reaches an answer only through the visibility condition on the row itself.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::criteria::Criteria;
use super::rows::by_seq;
use super::terms::{self, Term};
use super::{scope, stats};
use crate::domain::{Filter, Hit, Memory, Search, Timestamp};
use crate::store::{StoreError, Viewer};

/// Matches looked at per term, newest first: 0.5 ms.
const MATCHES_MAX: usize = 1_000;
/// A term with no more matches than this in the whole index is not intersected with the scope:
/// checking its rows is cheaper than walking the scope of a large namespace (5 ms at 100,000).
const RARE_MAX: usize = 300;
/// Candidates whose rows are read: 2 ms.
const CANDIDATES_MAX: usize = 1_000;
/// BM25: how soon repetition (here: length) stops to matter.
const K1: f64 = 1.2;
/// BM25: how much long texts are held back. Less than the usual 0.75, as memories are short.
const B: f64 = 0.4;
/// Words of a typical memory.
const TYPICAL_WORDS: f64 = 40.0;
/// Share of the score that importance decides.
const IMPORTANCE_SHARE: f64 = 0.15;

const COLUMNS: &str = "{content tags kind}";

/// Hits with their rows, best first, and whether candidates were left out.
pub(super) fn search(
    connection: &Connection,
    viewer: &Viewer,
    search: &Search,
    now: Timestamp,
) -> Result<(Vec<(i64, Hit)>, bool), StoreError> {
    let terms = terms::of_query(&search.query);
    let scope = scope_of(viewer, &search.filter);
    let mut rows = RowCheck::new(connection, viewer, &search.filter, now);
    let lists = matches(connection, &scope, &terms, &mut rows)?;
    let total = stats::counter(connection, "memories")?;
    let (candidates, weight_sum) = candidates(&lists, total as f64);
    let mut best: Vec<Scored> = Vec::new();
    let mut truncated = lists.iter().any(|list| list.cut);
    let limit = search.limit as usize;
    for (place, candidate) in candidates.iter().enumerate() {
        // Nothing below this candidate can reach the page any more.
        if best.len() == limit && best[limit - 1].score >= candidate.weight / weight_sum {
            break;
        }
        if place == CANDIDATES_MAX {
            truncated = true;
            break;
        }
        if let Some(row) = rows.read(candidate.seq)? {
            let score = score(&lists, candidate, &row, weight_sum);
            insert_best(
                &mut best,
                Scored {
                    seq: candidate.seq,
                    score,
                },
                limit,
            );
        }
    }
    let mut hits = Vec::with_capacity(best.len());
    for Scored { seq, score } in best {
        if let Some(stored) = by_seq(connection, seq, now)? {
            hits.push((
                seq,
                Hit {
                    memory: Memory::clone(&stored.memory),
                    score,
                },
            ));
        }
    }
    Ok((hits, truncated))
}

/// The part of the FTS expression that does not depend on the terms.
fn scope_of(viewer: &Viewer, filter: &Filter) -> String {
    let mut scope = scope::of_viewer(&viewer.key, !filter.include_shared, filter.as_of.is_some());
    // A superset of what the filter admits is enough here; names without a letter or digit
    // would be empty phrases.
    let searchable = |text: &&String| text.contains(|c: char| c.is_ascii_alphanumeric());
    for tag in filter.tags.iter().filter(searchable) {
        scope += &format!(" AND tags : {}", terms::phrase(tag));
    }
    if let Some(kind) = filter.kind.as_ref().filter(searchable) {
        scope += &format!(" AND kind : {}", terms::phrase(kind));
    }
    scope
}

/// The memories in which one term occurs.
struct Matches {
    text: String,
    seqs: Vec<i64>,
    /// There are more than were looked at.
    cut: bool,
}

fn matches(
    connection: &Connection,
    scope: &str,
    terms: &[Term],
    rows: &mut RowCheck<'_>,
) -> Result<Vec<Matches>, StoreError> {
    let mut lists = Vec::with_capacity(terms.len());
    for term in terms {
        // Alone, a phrase without a token matches nothing; beside a scope it would match all.
        let alone = format!("{COLUMNS} : {}", term.phrase);
        let mut seqs = newest(connection, &alone, RARE_MAX + 1)?;
        if seqs.len() <= RARE_MAX {
            // What the viewer may not see does not count, not even towards the term's weight.
            let mut seen = Vec::with_capacity(seqs.len());
            for seq in seqs {
                if rows.read(seq)?.is_some() {
                    seen.push(seq);
                }
            }
            if !seen.is_empty() {
                lists.push(Matches {
                    text: term.text.clone(),
                    seqs: seen,
                    cut: false,
                });
            }
            continue;
        }
        seqs = newest(connection, &format!("{scope} AND {alone}"), MATCHES_MAX + 1)?;
        if seqs.is_empty() {
            continue;
        }
        let cut = seqs.len() > MATCHES_MAX;
        seqs.truncate(MATCHES_MAX);
        lists.push(Matches {
            text: term.text.clone(),
            seqs,
            cut,
        });
    }
    complete_cut(connection, scope, &mut lists)?;
    Ok(lists)
}

/// A common term's list lacks older memories; those among them that a rarer term brings in are
/// looked up, so that they get the common term's weight as well.
fn complete_cut(
    connection: &Connection,
    scope: &str,
    lists: &mut [Matches],
) -> Result<(), StoreError> {
    let rare: Vec<_> = lists
        .iter()
        .filter(|list| !list.cut)
        .map(|list| terms::phrase(&list.text))
        .collect();
    if rare.is_empty() {
        return Ok(());
    }
    let rare = rare.join(" OR ");
    for list in lists.iter_mut().filter(|list| list.cut) {
        let common = terms::phrase(&list.text);
        let both = format!("{scope} AND {COLUMNS} : ({rare}) AND {COLUMNS} : {common}");
        let oldest = list.seqs.last().copied().unwrap_or(i64::MAX);
        let older = newest(connection, &both, terms::TERMS_MAX * MATCHES_MAX)?;
        list.seqs
            .extend(older.into_iter().filter(|seq| *seq < oldest));
    }
    Ok(())
}

fn newest(connection: &Connection, expression: &str, limit: usize) -> Result<Vec<i64>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT rowid FROM memory_text WHERE memory_text MATCH ?1 ORDER BY rowid DESC LIMIT ?2",
    )?;
    let rows = statement.query_map((expression, limit as i64), |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A memory in which at least one term occurs.
struct Candidate {
    seq: i64,
    /// Sum of the weights of its terms: its score cannot be more than this part of all.
    weight: f64,
    /// Weights by the position of the list.
    terms: Vec<(u8, f64)>,
}

/// All candidates, the heaviest first, then the newest; and the weight of all terms together.
fn candidates(lists: &[Matches], total: f64) -> (Vec<Candidate>, f64) {
    let mut by_seq: HashMap<i64, Candidate> = HashMap::new();
    let mut weight_sum = 0.0;
    for (place, list) in lists.iter().enumerate() {
        let count = list.seqs.len() as f64;
        let weight = (1.0 + (total.max(count) - count + 0.5) / (count + 0.5)).ln();
        weight_sum += weight;
        for seq in &list.seqs {
            let candidate = match by_seq.entry(*seq) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(Candidate {
                    seq: *seq,
                    weight: 0.0,
                    terms: Vec::new(),
                }),
            };
            candidate.weight += weight;
            candidate.terms.push((place as u8, weight));
        }
    }
    let mut candidates: Vec<_> = by_seq.into_values().collect();
    candidates.sort_unstable_by(|a, b| b.weight.total_cmp(&a.weight).then(b.seq.cmp(&a.seq)));
    (candidates, weight_sum)
}

/// What of a row decides its rank.
#[derive(Clone)]
struct Rank {
    words: f64,
    importance: f64,
    /// Tags and kind in lower case.
    labels: Rc<str>,
}

/// From 0 to 1: the part of the query's weight that the row has, less for long texts unless a
/// term stands among the labels, and less for what matters little.
fn score(lists: &[Matches], candidate: &Candidate, row: &Rank, weight_sum: f64) -> f64 {
    let in_text = (1.0 + K1 * (1.0 - B)) / (1.0 + K1 * (1.0 - B + B * row.words / TYPICAL_WORDS));
    let weight: f64 = candidate
        .terms
        .iter()
        .map(|(place, weight)| {
            let labelled = row
                .labels
                .contains(lists[usize::from(*place)].text.as_str());
            weight * if labelled { 1.0 } else { in_text }
        })
        .sum();
    weight / weight_sum * (1.0 - IMPORTANCE_SHARE * (1.0 - row.importance))
}

/// Reads candidates, each once, if the viewer may see them and the filter admits them.
struct RowCheck<'c> {
    connection: &'c Connection,
    sql: String,
    values: Vec<Value>,
    seq: usize,
    known: HashMap<i64, Option<Rank>>,
}

impl<'c> RowCheck<'c> {
    fn new(connection: &'c Connection, viewer: &Viewer, filter: &Filter, now: Timestamp) -> Self {
        let mut criteria = Criteria::of_filter(filter, now);
        let visible = criteria.visible(&viewer.key, !filter.include_shared);
        let place = criteria.bind(0);
        let sql = format!(
            "SELECT m.words, m.importance, m.tags || coalesce(m.kind, '') FROM memory m
             WHERE m.seq = {place} AND {visible} AND {}",
            criteria.condition()
        );
        let seq = criteria.values.len() - 1;
        Self {
            connection,
            sql,
            values: criteria.values,
            seq,
            known: HashMap::new(),
        }
    }

    fn read(&mut self, seq: i64) -> Result<Option<Rank>, StoreError> {
        if let Some(rank) = self.known.get(&seq) {
            return Ok(rank.clone());
        }
        self.values[self.seq] = Value::Integer(seq);
        let mut statement = self.connection.prepare_cached(&self.sql)?;
        let rank = statement.query_row(params_from_iter(&self.values), |row| {
            Ok(Rank {
                words: row.get::<_, i64>(0)? as f64,
                importance: row.get(1)?,
                labels: row.get_ref(2)?.as_str()?.to_lowercase().into(),
            })
        });
        let rank = rank.optional()?;
        self.known.insert(seq, rank.clone());
        Ok(rank)
    }
}

struct Scored {
    seq: i64,
    score: f64,
}

/// Keeps the `limit` best; equal scores by row, newest first.
fn insert_best(best: &mut Vec<Scored>, scored: Scored, limit: usize) {
    let place = best.partition_point(|other| {
        other
            .score
            .total_cmp(&scored.score)
            .then(other.seq.cmp(&scored.seq))
            .is_gt()
    });
    if place < limit {
        best.insert(place, scored);
        best.truncate(limit);
    }
}
