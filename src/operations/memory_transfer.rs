//! Memories of every agent out of the server and into it, in pages, for its operator.

use std::rc::Rc;

use schemars::JsonSchema;
use serde::Serialize;
use sonic_rs::OwnedLazyValue;

use super::arguments::arguments;
use super::operation::{Operation, Pending, Scope};
use super::services::Context;
use crate::delivery::Change;
use crate::domain::{Imported, Page, Record, Violation};
use crate::rpc::{Condition, Fault, json};
use crate::store::{Store, StoreError};

/// Largest page of an export.
const RECORDS_MAX: u32 = 1_000;
/// Page of an export whose caller does not say.
const RECORDS_DEFAULT: u32 = 100;
/// Bytes of text in a page of an export, so that it can be imported in one message as it is.
const PAGE_BYTES_MAX: usize = 512 * 1024;

pub(super) fn rows() -> Vec<Operation> {
    vec![
        Operation::later("memory/export", export)
            .tool("export_memories", "Export memories")
            .describe(
                "List the memories of every agent with their history, grants and access counts, \
                 oldest first, in pages: a copy that memory/import takes. For operators.",
            )
            .scope(Scope::Admin)
            .cost(20),
        Operation::later("memory/import", import)
            .tool("import_memories", "Import memories")
            .describe(
                "Store exported memories as they were, all of a call or none. What is stored \
                 already is left alone, so the same call again is harmless. For operators.",
            )
            .scope(Scope::Admin)
            .cost(20)
            .writes(true),
    ]
}

arguments! {
    /// Of memory/export.
    ExportMemories {
        /// Most memories, 1 to 1,000 (default 100); long ones make a page shorter
        #[schemars(range(min = 1, max = RECORDS_MAX))]
        limit: Option<u32>,
        /// next_cursor of an earlier page
        cursor: Option<String>,
    }
}

/// Of memory/export.
#[derive(Debug, Serialize, JsonSchema)]
struct Exported {
    /// A page of memories.
    records: Vec<Record>,
    /// Start of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

fn export(context: &Context<'_>, arguments: ExportMemories) -> Result<Pending<Exported>, Fault> {
    let limit = arguments.limit.unwrap_or(RECORDS_DEFAULT);
    if !(1..=RECORDS_MAX).contains(&limit) {
        let problem = format!("must lie between 1 and {RECORDS_MAX}, is {limit}");
        return Err(Violation::new("limit", problem).into());
    }
    let store = Rc::clone(&context.services.store);
    Ok(Box::pin(async move {
        let page = export_page(&*store, limit, arguments.cursor).await?;
        Ok(Exported {
            records: page.items,
            next_cursor: page.next_cursor,
        })
    }))
}

/// A page of an export that holds at most `limit` memories, and no more text than fits a message
/// unless one memory alone is larger.
pub async fn export_page(
    store: &dyn Store,
    mut limit: u32,
    cursor: Option<String>,
) -> Result<Page<Record>, StoreError> {
    loop {
        let page = store.export(limit, cursor.clone()).await?;
        let mut room = PAGE_BYTES_MAX;
        let fitting = page.items.iter().take_while(|record| {
            let fits = text_bytes(record) <= room;
            room = room.saturating_sub(text_bytes(record));
            fits
        });
        let fitting = fitting.count().max(1);
        if fitting >= page.items.len() {
            return Ok(page);
        }
        // Where a page ends is for the store to say, so the shorter one is its own question.
        limit = fitting as u32;
    }
}

fn text_bytes(record: &Record) -> usize {
    let revisions = record.revisions.iter();
    record.memory.content.len()
        + record.memory.metadata.as_str().len()
        + revisions
            .map(|revision| revision.content.len())
            .sum::<usize>()
}

arguments! {
    /// Of memory/import.
    ImportMemories {
        /// Memories as memory/export gave them, at most 1,000
        #[schemars(with = "Vec<Record>", length(max = RECORDS_MAX))]
        records: Vec<OwnedLazyValue>,
        /// Check the records and change nothing (default false)
        check_only: Option<bool>,
    }
}

fn import(context: &Context<'_>, arguments: ImportMemories) -> Result<Pending<Imported>, Fault> {
    let services = Rc::clone(context.services);
    let count = arguments.records.len();
    if count > RECORDS_MAX as usize {
        let problem = format!("at most {RECORDS_MAX}, got {count}");
        return Err(Violation::new("records", problem).into());
    }
    let mut records = Vec::with_capacity(count);
    for (index, record) in arguments.records.iter().enumerate() {
        let read = sonic_rs::to_string(record)
            .map_err(|error| Misfit::new("", json::reason(&error)))
            .and_then(|text| read_record(&text, services.content_chars_max.get()));
        records.push(read.map_err(|misfit| misfit.at(index))?);
    }
    if arguments.check_only.unwrap_or(false) {
        return Ok(Box::pin(async { Ok(Imported::default()) }));
    }
    let imported = context.store().import(records);
    Ok(Box::pin(async move {
        let imported = imported.await?;
        if imported.created > 0 {
            services.changes.publish(&Change::Memories);
            services.meaning.note_missed();
        }
        Ok(imported)
    }))
}

/// Why a record cannot be imported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", if field.is_empty() { String::new() } else { format!("{field}: ") })]
pub struct Misfit {
    /// Path of the field, such as `memory.importance`; empty where it is the whole record.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Misfit {
    /// A misfit of the field at this path.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            problem: problem.into(),
        }
    }

    fn at(self, index: usize) -> Fault {
        let message = format!("records[{index}]: {self}");
        Fault::new(Condition::InvalidArguments, message)
            .with("index", &index)
            .with("field", &self.field)
    }
}

/// Reads one record from its JSON text, and checks it as if it were written here.
pub fn read_record(text: &str, content_chars_max: usize) -> Result<Record, Misfit> {
    let mut parser = sonic_rs::Deserializer::from_str(text);
    let mut record: Record = serde_path_to_error::deserialize(&mut parser).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { String::new() } else { path };
        Misfit::new(field, json::reason(error.inner()))
    })?;
    check_record(&mut record, content_chars_max)?;
    Ok(record)
}

/// Checks a record as if it were written here, and sorts its tags.
pub fn check_record(record: &mut Record, content_chars_max: usize) -> Result<(), Misfit> {
    record
        .normalize(content_chars_max)
        .map_err(|violation| Misfit::new(violation.field, violation.problem))
}

#[cfg(test)]
mod tests {
    use super::read_record;

    const RECORD: &str = r#"{"memory":{"id":"018f0000-0000-7000-8000-000000000001","namespace":"n",
        "agent_id":"a","content":"text","tags":["b","a"],"importance":0.5,"access_level":"team",
        "metadata":{"k":[1,2.50]},"trust":1.0,"version":2,"created_at":"2026-01-01T00:00:00Z",
        "updated_at":"2026-01-02T00:00:00Z","access_count":0,"relevance":0.5},
        "change":"updated","changed_by":"a","revisions":[{"version":1,"change":"created",
        "changed_by":"a","recorded_at":"2026-01-01T00:00:00Z","content":"old","tags":[],
        "importance":0.1}]}"#;

    #[test]
    fn a_record_is_read_with_all_that_hangs_on_it() {
        let record = read_record(RECORD, 10).unwrap();
        assert_eq!(record.memory.tags, ["a", "b"]);
        assert_eq!(record.memory.metadata.as_str(), r#"{"k":[1,2.50]}"#);
        assert_eq!(record.revisions[0].content, "old");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_field() {
        for (was, is, field) in [
            (
                r#""importance":0.5"#,
                r#""importance":"x""#,
                "memory.importance",
            ),
            (r#""importance":0.5"#, r#""importance":2"#, "importance"),
            ("2026-01-02T00:00:00Z", "yesterday", "memory.updated_at"),
            (
                r#""content":"text""#,
                r#""content":"eleven more""#,
                "content",
            ),
            (r#""content":"old""#, r#""content":"""#, "revisions"),
            (r#""agent_id":"a""#, r#""agent_id":"a b""#, "agent_id"),
            (r#""version":2"#, r#""version":1"#, "revisions"),
            (r#""metadata":{"#, r#""metadata":[{"#, "memory.metadata"),
            (r#""change":"updated""#, r#""chance":"updated""#, "chance"),
        ] {
            assert!(RECORD.contains(was));
            let misfit = read_record(&RECORD.replace(was, is), 10).unwrap_err();
            assert_eq!(misfit.field, field, "{misfit}");
        }
        let twice = r#""change":"updated","grants":[
            {"namespace":"n","agent_id":"b","permission":"read"},
            {"namespace":"n","agent_id":"b","permission":"write"}]"#;
        let twice = RECORD.replace(r#""change":"updated""#, twice);
        assert_eq!(read_record(&twice, 10).unwrap_err().field, "grants");
    }
}
