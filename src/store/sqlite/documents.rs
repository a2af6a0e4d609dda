//! From rows to what the index in memory takes in.

use std::collections::HashMap;

use crossbeam::channel::bounded;
use rusqlite::{Connection, OptionalExtension, Row};
use uuid::Uuid;

use super::rows::{agent_key, foreign, optional_time, split_list, time};
use super::vectors;
use crate::domain::{Access, AgentKey};
use crate::store::StoreError;
use crate::store::index::{Document, Index, Times};
use crate::store::ranking::DocumentTerms;

/// The order of the columns is the order in which [`document`] reads them.
macro_rules! select {
    ($condition:literal) => {
        concat!(
            "SELECT seq, id, namespace, agent, access, created_at, valid_from, valid_to, expires_at,
                 superseded_at, importance, trust, kind, source, tags, terms, words
             FROM memory WHERE deleted_at IS NULL",
            $condition
        )
    };
}

/// Reads the memory in row `seq` as it stands into the index.
pub(super) fn refresh(
    connection: &Connection,
    index: &Index,
    model: Option<i64>,
    seq: i64,
) -> Result<(), StoreError> {
    let row = connection
        .prepare_cached(select!(" AND seq = ?1"))?
        .query_row([seq], document)
        .optional()?;
    let Some((_, mut document)) = row else {
        index.put(seq, None);
        return Ok(());
    };
    let grants = "SELECT namespace, agent FROM memory_grant WHERE memory = ?1";
    document.grantees = connection
        .prepare_cached(grants)?
        .query_map([seq], |row| grantee(row, 0))?
        .collect::<Result<_, _>>()?;
    if let Some(model) = model {
        document.vector = vectors::quantized(connection, model, seq)?;
    }
    index.put(seq, Some(&document));
    Ok(())
}

/// Documents that go to the index at once, and such portions that may wait for it: enough to keep both
/// threads at work, and far less than the index itself.
const PORTION: usize = 512;
const PORTIONS_MAX: usize = 8;

/// Reads every memory into an empty index, but no vector. Taking documents in is as much work as reading
/// them, so another thread does it.
pub(super) fn load(connection: &Connection, index: &Index) -> Result<(), StoreError> {
    let (portions, taken) = bounded::<Vec<(i64, Document)>>(PORTIONS_MAX);
    // The sender belongs to this closure: the other thread ends with it, whatever goes wrong.
    std::thread::scope(move |threads| {
        threads.spawn(move || {
            for (seq, document) in taken.into_iter().flatten() {
                index.load(seq, &document);
            }
        });
        let mut portion = Vec::with_capacity(PORTION);
        read_all(connection, |read| {
            portion.push(read);
            if portion.len() == PORTION {
                let full = std::mem::replace(&mut portion, Vec::with_capacity(PORTION));
                // Nobody takes it only if that thread has panicked, which the scope tells.
                let _ = portions.send(full);
            }
        })?;
        let _ = portions.send(portion);
        Ok(())
    })
}

fn read_all(
    connection: &Connection,
    mut take: impl FnMut((i64, Document)),
) -> Result<(), StoreError> {
    let mut grants: HashMap<i64, Vec<AgentKey>> = HashMap::new();
    let mut statement = connection.prepare("SELECT memory, namespace, agent FROM memory_grant")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        grants
            .entry(row.get(0)?)
            .or_default()
            .push(grantee(row, 1)?);
    }
    let mut statement = connection.prepare(select!(" ORDER BY seq"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (seq, mut document) = document(row)?;
        document.grantees = grants.remove(&seq).unwrap_or_default();
        take((seq, document));
    }
    Ok(())
}

fn grantee(row: &Row<'_>, first: usize) -> rusqlite::Result<AgentKey> {
    let namespace = row.get_ref(first)?.as_str()?;
    Ok(agent_key(namespace, row.get_ref(first + 1)?.as_str()?))
}

fn document(row: &Row<'_>) -> rusqlite::Result<(i64, Document)> {
    let access = row.get_ref(4)?.as_str()?;
    let terms = row.get_ref(15)?.as_blob()?;
    let (terms, _) = terms.as_chunks::<8>();
    let document = Document {
        id: Uuid::from_bytes(row.get(1)?),
        owner: agent_key(row.get_ref(2)?.as_str()?, row.get_ref(3)?.as_str()?),
        access: Access::from_name(access).ok_or_else(|| foreign(4))?,
        grantees: Vec::new(),
        created_at: time(row, 5)?,
        times: Times {
            valid_from: optional_time(row, 6)?,
            valid_to: optional_time(row, 7)?,
            expires_at: optional_time(row, 8)?,
            superseded_at: optional_time(row, 9)?,
        },
        importance: row.get(10)?,
        trust: row.get(11)?,
        kind: row.get(12)?,
        source: row.get(13)?,
        tags: split_list(row.get_ref(14)?.as_str()?),
        terms: terms
            .iter()
            .map(|bytes| u64::from_le_bytes(*bytes))
            .collect(),
        words: row.get(16)?,
        vector: None,
    };
    Ok((row.get(0)?, document))
}

/// Terms as their column holds them.
pub(super) fn terms_blob(terms: &DocumentTerms) -> Vec<u8> {
    let hashes = terms.terms.iter().map(|term| term_hash(term));
    hashes.flat_map(u64::to_le_bytes).collect()
}

/// FNV-1a with 64 bits: stored, so it must never change.
pub(super) fn term_hash(term: &str) -> u64 {
    term.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
