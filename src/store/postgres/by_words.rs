//! The best of a scope by words.
//!
//! A small scope is read once: what its terms weigh is counted, and what scores best is kept. In a
//! large one the counts are known from before (`scopes.rs`), so the index of terms can be asked for
//! those with the rarest words; the others only add to a score.

use tokio_postgres::Row;

use super::candidates::Question;
use super::criteria;
use super::failure::Failure;
use super::query::Query;
use super::rows::column;
use super::sources::{self, joined};
use super::tsquery::TsQuery;
use crate::store::ranking::{CANDIDATES, Weights, length_factor};

/// Terms are looked up from the rarest on while their holders are no more than this together.
const HOLDERS_MAX: i64 = 1_000;
/// With fewer holders than this a further term is looked up, however many hold it.
const HOLDERS_MIN: i64 = 300;
/// Holders of that further term that are looked at: a few milliseconds.
const SCANNED_MAX: i64 = 3_000;

/// Which terms the index is asked for.
pub(super) struct Plan {
    /// All of their holders.
    rare: Vec<usize>,
    /// Some of its holders.
    common: Option<usize>,
    /// Are there terms that are not looked up?
    pub(super) leaves_out: bool,
}

impl Plan {
    /// By the number of holders of each term.
    pub(super) fn new(holders: &[u64]) -> Self {
        let mut order: Vec<_> = (0..holders.len()).collect();
        order.sort_by_key(|&place| holders[place]);
        let mut sum = 0;
        let mut rare = Vec::new();
        for &place in &order {
            let with = holders[place] as i64;
            if sum + with > HOLDERS_MAX {
                break;
            }
            sum += with;
            rare.push(place);
        }
        let common = order.get(rare.len()).copied();
        let common = common.filter(|_| sum < HOLDERS_MIN);
        let looked_up = rare.len() + usize::from(common.is_some());
        let cut = common.is_some_and(|place| holders[place] as i64 > SCANNED_MAX);
        Self {
            rare,
            common,
            leaves_out: cut || looked_up < holders.len(),
        }
    }
}

impl Question<'_> {
    /// The best by words of a small scope. The first columns of every row are the size of the scope
    /// and how many hold each term; the others are NULL if no memory holds any.
    pub(super) fn by_words(&self) -> Query {
        let mut query = Query::default();
        let source = self.scope(&mut query, "m.*");
        let mask = self.mask(&mut query);
        let admitted = criteria::admitted(&mut query, self.filter);
        let holders: Vec<_> = self
            .places()
            .map(|place| format!("count(*) FILTER (WHERE mask & {} <> 0)", 1_i64 << place))
            .collect();
        // The weights of `ranking`, but for a factor that is the same for all.
        let weights: Vec<_> = self
            .places()
            .map(|place| {
                let with = format!("holders[{}]", place + 1);
                format!(
                    "ln(1 + (greatest(memories - {with}, 0) + 0.5::float8) / ({with} + 0.5::float8))
                     AS w{place}"
                )
            })
            .collect();
        let sum = self.sum(|place| format!("w{place}"));
        let slope = query.bind(slope());
        let similarity = self.similarity(&mut query);
        query
            .say(format!(
                "WITH hit AS MATERIALIZED (
                     SELECT m.seq, m.id, m.created_at, m.importance, m.words, {mask} AS mask,
                         {admitted} AS admitted
                     FROM ({source}) m
                 ), counted AS MATERIALIZED (
                     SELECT count(*) AS memories, ARRAY[{holders}]::bigint[] AS holders FROM hit
                 ), known AS MATERIALIZED (
                     SELECT memories, holders, {weights} FROM counted
                 )
                 SELECT known.memories, known.holders, m.seq, m.id, m.created_at, m.importance,
                     m.words, m.mask, {similarity}
                 FROM known LEFT JOIN LATERAL (
                     SELECT * FROM hit WHERE admitted AND mask <> 0
                     ORDER BY ({sum}) / (1 + {slope} * words) DESC, created_at DESC, id DESC
                     LIMIT {limit}
                 ) m ON true",
                holders = holders.join(", "),
                weights = weights.join(", "),
                limit = CANDIDATES + 1,
            ))
            .kept()
    }

    /// How many of the scope hold `term`.
    pub(super) fn count_holders(&self, term: &str) -> Query {
        let mut query = Query::default();
        let present = criteria::present(&mut query, self.filter, self.now);
        let wanted = TsQuery::word(term);
        let owned_only = self.owned_only();
        let sources = sources::worded_sources(&mut query, self.viewer, owned_only, &wanted);
        let source = joined(&sources, "1", &present);
        query
            .say(format!("SELECT count(*) FROM ({source}) m"))
            .kept()
    }

    /// The best by words of a large scope, in which the terms weigh `weights`.
    pub(super) fn by_rare_words(&self, plan: &Plan, weights: &Weights) -> Query {
        let mut query = Query::default();
        let mut condition = criteria::present(&mut query, self.filter, self.now);
        condition += " AND ";
        condition += &criteria::admitted(&mut query, self.filter);
        let word = |place: &usize| TsQuery::word(&self.terms[*place]);
        let rare = || TsQuery::any(plan.rare.iter().map(word));
        let owned_only = self.owned_only();
        let columns = "m.seq, m.id, m.created_at, m.importance, m.words, m.terms";
        let sources = sources::worded_sources(&mut query, self.viewer, owned_only, &rare());
        let mut source = joined(&sources, columns, &condition);
        if let Some(common) = &plan.common {
            let wanted = word(common).without(rare());
            let sources = sources::worded_sources(&mut query, self.viewer, owned_only, &wanted);
            let some = joined(&sources, columns, &condition);
            source += &format!(" UNION ALL (SELECT * FROM ({some}) m LIMIT {SCANNED_MAX})");
        }
        let mask = self.mask(&mut query);
        let places: Vec<_> = self
            .places()
            .map(|place| query.bind(weights.terms().get(place).copied().unwrap_or(0.0)))
            .collect();
        let sum = self.sum(|place| places[place].clone());
        let slope = query.bind(slope());
        let similarity = self.similarity(&mut query);
        query
            .say(format!(
                "WITH hit AS MATERIALIZED (
                     SELECT m.seq, m.id, m.created_at, m.importance, m.words, {mask} AS mask
                     FROM ({source}) m
                 )
                 SELECT NULL::bigint, NULL::bigint[], m.seq, m.id, m.created_at, m.importance,
                     m.words, m.mask, {similarity}
                 FROM (
                     SELECT * FROM hit
                     ORDER BY ({sum}) / (1 + {slope} * words) DESC, created_at DESC, id DESC
                     LIMIT {limit}
                 ) m",
                limit = CANDIDATES + 1,
            ))
            .kept()
    }

    /// What a row with `mask` weighs.
    fn sum(&self, weight: impl Fn(usize) -> String) -> String {
        let parts: Vec<_> = self
            .places()
            .map(|place| {
                let (bit, weight) = (1_i64 << place, weight(place));
                format!("CASE WHEN mask & {bit} <> 0 THEN {weight} ELSE 0 END")
            })
            .collect();
        parts.join(" + ")
    }
}

/// How much each word of a text takes from what its terms weigh.
fn slope() -> f64 {
    1.0 / length_factor(1) - 1.0
}

/// Reads the size of the scope and how many of it hold each of `terms` terms.
pub(super) fn holders(row: &Row, terms: usize) -> Result<(u64, Vec<u64>), Failure> {
    let memories: i64 = column(row, 0)?;
    let holders: Vec<i64> = column(row, 1)?;
    Ok((
        memories as u64,
        holders
            .into_iter()
            .take(terms)
            .map(|count| count as u64)
            .collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_words_are_looked_up_first() {
        let plan = Plan::new(&[90_000, 10, 800, 0]);
        assert_eq!(plan.rare, [3, 1, 2]);
        assert_eq!(plan.common, None, "these are enough");
        assert!(plan.leaves_out);

        let plan = Plan::new(&[90_000, 10, 2_000]);
        assert_eq!((&plan.rare[..], plan.common), (&[1][..], Some(2)));
        assert!(plan.leaves_out);

        let plan = Plan::new(&[10, 2_000]);
        assert_eq!(plan.common, Some(1));
        assert!(!plan.leaves_out, "all of both are looked at");

        let plan = Plan::new(&[90_000]);
        assert_eq!(plan.common, Some(0));
        assert!(plan.leaves_out, "not all of its holders are looked at");
    }
}
