//! Lines of the older `memories_v2` layout: one object per line whose members are columns.
//!
//! What has a place here gets it; every other column is kept under `imported` in the metadata.
//! Vectors are left out, since they are made anew from the text.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use sonic_rs::OwnedLazyValue;
use uuid::Uuid;

use crate::domain::memory::RELEVANCE_NEW;
use crate::domain::{Access, Grant, JsonObject, Memory, Permission, Record, Timestamp};
use crate::operations::{Misfit, check_record};
use crate::rpc::json::reason;

/// How a line of an export begins, which saves reading it twice.
const RECORD_START: &str = r#"{"memory":"#;
/// Where columns without a place here are kept in the metadata.
const KEPT_UNDER: &str = "imported";
/// Importance of a memory that had none.
const IMPORTANCE_DEFAULT: f64 = 0.5;

/// True if the line is of this layout.
pub(super) fn is(line: &str) -> bool {
    !line.starts_with(RECORD_START)
        && Columns::parse(line).is_ok_and(|columns| {
            columns.0.contains_key("content") && !columns.0.contains_key("memory")
        })
}

/// Reads a line of this layout.
pub(super) fn read(line: &str) -> Result<Record, Misfit> {
    let mut columns = Columns::parse(line)?;
    let (original, id) = columns.id("id")?.ok_or_else(|| missing("id"))?;
    let owner: String = columns
        .take(&["agent_id"])?
        .ok_or_else(|| missing("agent_id"))?;
    let namespace: Option<String> = columns.take(&["namespace"])?;
    let namespace = namespace.unwrap_or_else(|| "default".to_owned());
    let access_level = columns.access_level()?;
    let created_at = columns.time(&["created_at"])?;
    let updated_at = columns.time(&["updated_at"])?;
    let created_at = created_at.or(updated_at).unwrap_or_else(Timestamp::now);
    let updated_at = updated_at.unwrap_or(created_at);
    let access_count: u64 = columns.take(&["access_count"])?.unwrap_or_default();
    let accessed_at = columns.time(&["accessed_at", "last_accessed_at"])?;
    // A read leaves its time; where that is not known, the latest change is the best guess.
    let last_accessed_at = accessed_at.or((access_count > 0).then_some(updated_at));
    let relevance: Option<f64> = match last_accessed_at {
        Some(_) => columns.take(&["relevance_score"])?,
        // Relevance belongs to a read. Without one it stays among what is only kept.
        None => None,
    };
    // A private memory is its owner's alone, whatever list it carries.
    let shared_with: Option<Vec<String>> = match access_level {
        Access::Private => None,
        _ => columns.take(&["shared_with_agents"])?,
    };
    let importance: Option<f64> = columns.take(&["importance", "importance_score"])?;
    let memory = Memory {
        id,
        namespace: namespace.as_str().into(),
        agent_id: owner.as_str().into(),
        content: columns
            .take(&["content"])?
            .ok_or_else(|| missing("content"))?,
        kind: None,
        tags: columns.take(&["tags"])?.unwrap_or_default(),
        importance: importance.unwrap_or(IMPORTANCE_DEFAULT),
        access_level,
        source: columns.take(&["source"])?,
        session_id: None,
        trust: 1.0,
        version: 1,
        created_at,
        updated_at,
        valid_from: None,
        valid_to: None,
        expires_at: columns.time(&["expires_at"])?,
        supersedes: None,
        superseded_by: None,
        access_count,
        relevance: relevance.unwrap_or(RELEVANCE_NEW),
        last_accessed_at,
        metadata: columns.into_metadata(&original, id)?,
    };
    let mut agents = shared_with.unwrap_or_default();
    agents.sort_unstable();
    agents.dedup();
    let grants = agents.iter().map(|agent| Grant {
        namespace: namespace.as_str().into(),
        agent_id: agent.as_str().into(),
        permission: Permission::Read,
    });
    let mut record = Record {
        grants: grants.collect(),
        memory,
        deleted: false,
        change: "created".to_owned(),
        changed_by: owner.as_str().into(),
        revisions: Vec::new(),
    };
    check_record(&mut record, usize::MAX)?;
    Ok(record)
}

fn missing(column: &str) -> Misfit {
    Misfit::new(column, "is missing")
}

/// Columns by name, each as the JSON text of its value; absent and null are the same.
struct Columns(BTreeMap<String, String>);

impl Columns {
    fn parse(line: &str) -> Result<Self, Misfit> {
        let bad = |error: sonic_rs::Error| Misfit::new("", reason(&error));
        // Lazy values are read without a look inside; this looks.
        sonic_rs::from_str::<sonic_rs::Value>(line).map_err(bad)?;
        let values: BTreeMap<String, OwnedLazyValue> = sonic_rs::from_str(line).map_err(bad)?;
        let mut columns = BTreeMap::new();
        for (name, value) in values {
            let text = sonic_rs::to_string(&value).map_err(bad)?;
            // A vector, as an array or as the text that a database writes for it.
            let vector = name.starts_with("embedding") && text.trim_matches('"').starts_with('[');
            if text != "null" && !vector && name != "embedding" {
                columns.insert(name, text);
            }
        }
        Ok(Self(columns))
    }

    /// Takes the first of these columns that is there.
    fn take<T: DeserializeOwned>(&mut self, names: &[&str]) -> Result<Option<T>, Misfit> {
        for name in names {
            if let Some(text) = self.0.remove(*name) {
                return sonic_rs::from_str(&text)
                    .map(Some)
                    .map_err(|error| Misfit::new(*name, reason(&error)));
            }
        }
        Ok(None)
    }

    /// Takes a column of type id: as it was, and as a UUID. One that is none gets the same UUID
    /// whenever it is imported.
    fn id(&mut self, name: &str) -> Result<Option<(String, Uuid)>, Misfit> {
        let Some(text) = self.0.remove(name) else {
            return Ok(None);
        };
        let original = match sonic_rs::from_str::<String>(&text) {
            Ok(string) => string,
            Err(_) if text.parse::<i64>().is_ok() => text,
            Err(_) => return Err(Misfit::new(name, "is neither a text nor a number")),
        };
        let id = original.parse().unwrap_or_else(|_| {
            let name = format!("memories_v2/{original}");
            Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes())
        });
        Ok(Some((original, id)))
    }

    /// Takes a column of type time: RFC 3339, or as databases write it, in UTC if it does not say.
    fn time(&mut self, names: &[&str]) -> Result<Option<Timestamp>, Misfit> {
        let Some(name) = names.iter().find(|name| self.0.contains_key(**name)) else {
            return Ok(None);
        };
        let Some(text) = self.take::<String>(&[*name])? else {
            return Ok(None);
        };
        let time = text
            .parse()
            .or_else(|_| format!("{text}Z").parse::<Timestamp>());
        let time = time.map_err(|_| {
            Misfit::new(
                *name,
                format!("{text:?} is no time such as 2026-01-31T12:00:00Z"),
            )
        })?;
        Ok(Some(time))
    }

    fn access_level(&mut self) -> Result<Access, Misfit> {
        let Some(name) = self.take::<String>(&["access_level"])? else {
            return Ok(Access::default());
        };
        Access::from_name(&name.to_ascii_lowercase()).ok_or_else(|| {
            let problem = format!("{name:?} is none of private, team, shared, public, system");
            Misfit::new("access_level", problem)
        })
    }

    /// The metadata: what the memory had, and under one name every column that is left.
    fn into_metadata(mut self, original: &str, id: Uuid) -> Result<JsonObject, Misfit> {
        let mut metadata = self.object()?;
        if let Some((_, parent)) = self.id("parent_memory_id")? {
            // The id that the parent has here.
            self.keep("parent_memory_id", quoted(&parent.to_string()));
        }
        if original.parse() != Ok(id) {
            self.keep("id", quoted(original));
        }
        let mut kept = self.0;
        if !kept.is_empty() {
            if let Some(own) = metadata.remove(KEPT_UNDER) {
                kept.insert(KEPT_UNDER.to_owned(), own);
            }
            metadata.insert(KEPT_UNDER.to_owned(), object_text(&kept));
        }
        let text = object_text(&metadata);
        JsonObject::parse(&text).ok_or_else(|| Misfit::new("metadata", "is not a JSON object"))
    }

    /// The object that the old memory carried, itself or as text.
    fn object(&mut self) -> Result<BTreeMap<String, String>, Misfit> {
        for name in ["metadata", "context"] {
            let Some(text) = self.0.remove(name) else {
                continue;
            };
            let text = sonic_rs::from_str::<String>(&text).unwrap_or(text);
            let members: BTreeMap<String, OwnedLazyValue> =
                sonic_rs::from_str(&text).map_err(|_| Misfit::new(name, "is not a JSON object"))?;
            return members
                .iter()
                .map(|(name, value)| Ok((name.clone(), sonic_rs::to_string(value)?)))
                .collect::<Result<_, sonic_rs::Error>>()
                .map_err(|error| Misfit::new(name, reason(&error)));
        }
        Ok(BTreeMap::new())
    }

    fn keep(&mut self, name: &str, text: String) {
        self.0.insert(name.to_owned(), text);
    }
}

fn quoted(text: &str) -> String {
    let mut out = Vec::new();
    crate::rpc::json::write_string(&mut out, text);
    String::from_utf8_lossy(&out).into_owned()
}

fn object_text(members: &BTreeMap<String, String>) -> String {
    let members: Vec<_> = members
        .iter()
        .map(|(name, value)| format!("{}:{value}", quoted(name)))
        .collect();
    format!("{{{}}}", members.join(","))
}

#[cfg(test)]
mod tests {
    use super::{is, read};
    use crate::domain::Access;

    #[test]
    fn columns_find_their_places() {
        let line = r#"{"id":"mem-1","content":"x","agent_id":"a","access_level":"SHARED",
            "shared_with_agents":["c","b","b"],"importance_score":0.9,"created_at":
            "2025-03-01 10:00:00.5+00","access_count":3,"tags":["t"],"context":{"n":1.50,
            "imported":true},"embedding":[0.1],"embedding_v3":"[1,2]","embedding_model":"m",
            "learning_weight":1e2,"parent_memory_id":"mem-0","expires_at":null}"#;
        assert!(is(line));
        let record = read(line).unwrap();
        let memory = &record.memory;
        assert_eq!(memory.access_level, Access::Shared);
        assert_eq!(memory.created_at.to_string(), "2025-03-01T10:00:00.5Z");
        assert_eq!(memory.last_accessed_at, Some(memory.created_at));
        assert_eq!((memory.importance, memory.access_count), (0.9, 3));
        let grants: Vec<_> = record.grants.iter().map(|grant| &*grant.agent_id).collect();
        assert_eq!(grants, ["b", "c"]);
        let parent = read(&line.replace("mem-1", "mem-0")).unwrap().memory.id;
        let kept = [
            r#""embedding_model":"m""#,
            r#""id":"mem-1""#,
            r#""imported":true"#,
            r#""learning_weight":1e2"#,
            &format!(r#""parent_memory_id":"{parent}""#),
        ];
        let expected = format!(r#"{{"imported":{{{}}},"n":1.50}}"#, kept.join(","));
        assert_eq!(memory.metadata.as_str(), expected);
        assert_eq!(memory.id, read(line).unwrap().memory.id);
        assert_eq!(memory.id.get_version_num(), 5);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (line, field) in [
            (r#"{"content":"x","agent_id":"a"}"#, "id"),
            (r#"{"id":1,"content":"x"}"#, "agent_id"),
            (
                r#"{"id":1,"content":"x","agent_id":"a","tags":"t"}"#,
                "tags",
            ),
            (
                r#"{"id":1,"content":"x","agent_id":"a","created_at":"soon"}"#,
                "created_at",
            ),
            (
                r#"{"id":1,"content":"x","agent_id":"a","access_level":"all"}"#,
                "access_level",
            ),
            (
                r#"{"id":1,"content":"x","agent_id":"a","metadata":[1]}"#,
                "metadata",
            ),
            (
                r#"{"id":1,"content":"x","agent_id":"a","importance":7}"#,
                "importance",
            ),
        ] {
            assert_eq!(read(line).unwrap_err().field, field, "{line}");
        }
        assert!(!is(r#"{"memory":{},"content":"x"}"#));
        assert!(!is("[]"));
    }
}
