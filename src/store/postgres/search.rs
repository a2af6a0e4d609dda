//! Searching: candidates (`gather.rs`) are ranked here, and those of the page read in full.

use super::candidates::Question;
use super::{Shard, gather, recall, vectors};
use crate::domain::{Embedded, Hit, Mode, Search, SearchPage};
use crate::store::ranking::{self, CANDIDATES, SearchCursor};
use crate::store::{StoreError, Viewer};

pub(super) async fn search(
    shard: &Shard,
    viewer: &Viewer,
    search: Search,
) -> Result<SearchPage, StoreError> {
    let cursor = search
        .cursor
        .as_deref()
        .map(SearchCursor::parse)
        .transpose()?;
    let now = shard.now();
    // Later pages rank by the time of the first.
    let ranked_at = cursor.as_ref().map_or(now, |cursor| cursor.now);
    let terms = match search.mode {
        Mode::Semantic => Vec::new(),
        Mode::Hybrid | Mode::Lexical => ranking::of_query(&search.query),
    };
    let asked = search
        .vector
        .as_ref()
        .filter(|_| search.mode != Mode::Lexical);
    let vector = match asked {
        Some(Embedded { model, vector }) => {
            vectors::check_dimension(model, vector)?;
            Some((
                vectors::known(shard, model).await?.unwrap_or(0),
                &vector[..],
            ))
        }
        None => None,
    };
    let question = Question {
        viewer: &viewer.key,
        filter: &search.filter,
        now,
        terms: &terms,
        vector,
        // Later pages go on in the order of all candidates.
        wanted: match cursor {
            None => search.limit as usize,
            Some(_) => CANDIDATES,
        },
    };
    let model = asked.map(|asked| &asked.model);
    let found = gather::candidates(shard, viewer, &question, model).await?;
    let weighs = search.mode != Mode::Semantic;
    let all: Vec<_> = found
        .rows
        .iter()
        .map(|row| found.candidate(row, weighs))
        .collect();
    let (page, more) = ranking::page(
        search.mode,
        &all,
        search.similarity_min,
        cursor.as_ref(),
        search.limit as usize,
        ranked_at,
    );
    let next_cursor = page
        .last()
        .filter(|_| more)
        .map(|last| SearchCursor::behind(last, ranked_at).write());
    let seq_of = |id| {
        found
            .rows
            .iter()
            .find(|row| row.id == id)
            .map(|row| row.seq)
    };
    let seqs: Vec<i64> = page.iter().filter_map(|ranked| seq_of(ranked.id)).collect();
    let memories = recall::load(shard, viewer, &seqs, now).await?;
    let mut hits = Vec::with_capacity(memories.len());
    for (seq, mut memory) in memories {
        if let Some(ranked) = page.iter().find(|ranked| ranked.id == memory.id) {
            if search.counts_access {
                memory.access_count += shard.access.add(seq);
            }
            hits.push(Hit {
                memory,
                score: ranked.score,
                parts: ranked.parts,
            });
        }
    }
    Ok(SearchPage {
        hits,
        truncated: found.more && !more,
        next_cursor,
    })
}
