//! What the writer needs of this program inside SQL.

use std::time::Duration;

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

use super::documents::terms_blob;
use super::rows::split_list;
use crate::domain::Timestamp;
use crate::domain::memory::decayed;
use crate::store::ranking;

/// Makes `tmws_terms(content, kind, tags)`, `tmws_words(content)` and
/// `tmws_decayed(relevance, since, now, half_life)`, all times in microseconds, known to a connection.
pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("tmws_terms", 3, flags, |context| {
        let (content, tags): (String, String) = (context.get(0)?, context.get(2)?);
        let kind: Option<String> = context.get(1)?;
        let terms = ranking::of_memory(&content, kind.as_deref(), &split_list(&tags));
        Ok(terms_blob(&terms))
    })?;
    connection.create_scalar_function("tmws_decayed", 4, flags, |context| {
        let (relevance, half_life): (f64, i64) = (context.get(0)?, context.get(3)?);
        let time = |place| {
            Ok::<_, rusqlite::Error>(
                Timestamp::from_micros(context.get(place)?).unwrap_or(Timestamp::EPOCH),
            )
        };
        let half_life = Duration::from_micros(half_life.max(0) as u64);
        Ok::<_, rusqlite::Error>(decayed(relevance, time(1)?, time(2)?, half_life))
    })?;
    connection.create_scalar_function("tmws_words", 1, flags, |context| {
        let content: String = context.get(0)?;
        Ok(i64::from(ranking::of_memory(&content, None, &[]).words))
    })
}
