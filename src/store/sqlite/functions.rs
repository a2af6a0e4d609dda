//! What migrations need of this program inside SQL.

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

use super::documents::terms_blob;
use super::rows::split_list;
use crate::store::ranking;

/// Makes `tmws_terms(content, kind, tags)` and `tmws_words(content)` known to a connection.
pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("tmws_terms", 3, flags, |context| {
        let (content, tags): (String, String) = (context.get(0)?, context.get(2)?);
        let kind: Option<String> = context.get(1)?;
        let terms = ranking::of_memory(&content, kind.as_deref(), &split_list(&tags));
        Ok(terms_blob(&terms))
    })?;
    connection.create_scalar_function("tmws_words", 1, flags, |context| {
        let content: String = context.get(0)?;
        Ok(i64::from(ranking::of_memory(&content, None, &[]).words))
    })
}
