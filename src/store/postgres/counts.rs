//! How large a scope is and how many of it hold a term: remembered (`scopes.rs`), or counted.

use super::Shard;
use super::candidates::Question;
use super::rows::column;
use super::scope::Scope;
use super::scopes::Size;
use crate::store::{StoreError, Viewer};

/// How many memories are in the scope, if they are many.
pub(super) async fn size(
    shard: &Shard,
    viewer: &Viewer,
    question: &Question<'_>,
) -> Result<Option<i64>, StoreError> {
    let owned_only = question.owned_only();
    if let Some(size) = shard.scopes.size(&viewer.key, owned_only) {
        return Ok(size.large());
    }
    let scope = Scope::of(viewer);
    let count = async |most| {
        let answers = shard
            .pool
            .search(&scope, vec![question.count(most)])
            .await?;
        answers[0]
            .first()
            .map_or(Ok(0), |row| column::<i64>(row, 0))
    };
    let mut size = Size::Small;
    let most = shard.bounds.words_max;
    if count(most).await? > most {
        size = Size::Large(count(i64::MAX - 1).await?);
    }
    shard.scopes.remember(&viewer.key, owned_only, size);
    Ok(size.large())
}

/// How many memories of a large scope hold each of the terms.
pub(super) async fn holders(
    shard: &Shard,
    viewer: &Viewer,
    question: &Question<'_>,
) -> Result<Vec<u64>, StoreError> {
    let owned_only = question.owned_only();
    let lasts = question.filter.as_of.is_none();
    let mut known = match lasts {
        true => shard
            .scopes
            .holders(&viewer.key, owned_only, question.terms),
        false => vec![None; question.terms.len()],
    };
    let unknown = |known: &[Option<i64>]| -> Vec<usize> {
        let places = 0..known.len();
        places.filter(|&place| known[place].is_none()).collect()
    };
    let unknown = unknown(&known);
    if !unknown.is_empty() {
        let term = |place: &usize| question.count_holders(&question.terms[*place]);
        let queries = unknown.iter().map(term).collect();
        let answers = shard.pool.search(&Scope::of(viewer), queries).await?;
        for (place, rows) in unknown.into_iter().zip(&answers) {
            let count = rows.first().map_or(Ok(0), |row| column::<i64>(row, 0))?;
            known[place] = Some(count);
            if lasts {
                let term = &question.terms[place];
                let scopes = &shard.scopes;
                scopes.remember_holders(&viewer.key, owned_only, term, count);
            }
        }
    }
    let counts = known.into_iter().flatten();
    Ok(counts.map(|count| count as u64).collect())
}
