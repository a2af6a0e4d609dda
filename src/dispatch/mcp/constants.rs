//! Answers that never change while the server runs, written once.

use std::sync::{Arc, OnceLock};

use serde::Serialize;

use super::icons::{Icon, icon_of, write_implementation};
use super::methods::foreign_cursor;
use super::{prompts, resources};
use crate::config::ToolProfile;
use crate::operations::{Operation, Table, or_error, outline};
use crate::rpc::mcp::{self, Era};
use crate::rpc::{Fault, json};

/// How a model uses the server well, in few words.
const INSTRUCTIONS: &str = "Shared memory for agents. Store what should outlast this conversation \
    with store_memory: one fact per memory, in full sentences, with tags. Before you start on \
    something, look for what is known with semantic_search; the resource \
    memory://{namespace}/recent tells what is new. Memories are private unless you set \
    access_level or share them. An error says what to change; wait retry_after_ms where it is given.";

/// Tools of a page: the core profile fits one, and a page is what a model may read at once.
#[cfg(not(feature = "conformance-fixture"))]
const TOOLS_OF_A_PAGE: usize = 12;
/// The suite reads one page.
#[cfg(feature = "conformance-fixture")]
const TOOLS_OF_A_PAGE: usize = 1_000;

/// Results of methods without parameters, as JSON objects.
pub struct Constants {
    table: Arc<Table>,
    /// Written when they are asked for first, or [prepared](Self::prepare): schemas take half of a start.
    tools: OnceLock<ToolPages>,
    prompts: [Vec<u8>; 2],
    templates: [Vec<u8>; 2],
    discover: Vec<u8>,
    empty: [Vec<u8>; 2],
}

/// Pages by era and profile.
type ToolPages = [[Vec<Vec<u8>>; 2]; 2];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolEntry<'a> {
    name: &'a str,
    title: &'a str,
    description: &'a str,
    input_schema: schemars::Schema,
    output_schema: schemars::Schema,
    annotations: Annotations,
    /// In the full profile, which people look at; models pay for the core one.
    #[serde(skip_serializing_if = "Option::is_none")]
    icons: Option<[Icon; 1]>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Annotations {
    read_only_hint: bool,
    /// About tools that write.
    #[serde(skip_serializing_if = "Option::is_none")]
    destructive_hint: Option<bool>,
    /// About tools that write.
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotent_hint: Option<bool>,
    open_world_hint: bool,
}

impl Constants {
    /// Writes what is short, and keeps the table for the rest.
    pub fn new(table: &Arc<Table>) -> Self {
        let eras = [Era::Legacy, Era::Modern];
        Self {
            table: Arc::clone(table),
            tools: OnceLock::new(),
            prompts: eras.map(|era| list(era, "prompts", &prompts::rows(), None)),
            templates: eras
                .map(|era| list(era, "resourceTemplates", &resources::templates(), None)),
            discover: discover(),
            empty: eras.map(empty),
        }
    }

    /// Writes what is long, so that nobody waits for it later.
    pub fn prepare(&self) {
        self.tools.get_or_init(|| tool_pages(&self.table));
    }

    /// A page of `tools/list`; the empty cursor is that of the first.
    pub fn tools(&self, era: Era, profile: ToolProfile, cursor: &str) -> Result<&[u8], Fault> {
        let tools = self.tools.get_or_init(|| tool_pages(&self.table));
        let pages = &tools[era as usize][profile as usize];
        let page = match cursor.strip_prefix("page-") {
            None if cursor.is_empty() => pages.first(),
            None => None,
            Some(number) => {
                // Only what was given out: "page-01" was not.
                let index = number
                    .parse()
                    .ok()
                    .filter(|index| format!("{index}") == number);
                index
                    .filter(|index: &usize| *index > 0)
                    .and_then(|index| pages.get(index))
            }
        };
        page.map(Vec::as_slice).ok_or_else(foreign_cursor)
    }

    /// The result of `prompts/list`.
    pub fn prompts(&self, era: Era) -> &[u8] {
        &self.prompts[era as usize]
    }

    /// The result of `resources/templates/list`.
    pub fn templates(&self, era: Era) -> &[u8] {
        &self.templates[era as usize]
    }

    /// The result of `server/discover`.
    pub fn discover(&self) -> &[u8] {
        &self.discover
    }

    /// A result without members of its own.
    pub fn empty(&self, era: Era) -> &[u8] {
        &self.empty[era as usize]
    }

    /// The result of `initialize`.
    pub fn initialize(&self, version: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        out.extend_from_slice(b"{\"protocolVersion\":");
        json::write_string(&mut out, version);
        out.extend_from_slice(b",\"capabilities\":");
        out.extend_from_slice(LEGACY_CAPABILITIES.as_bytes());
        out.extend_from_slice(b",\"serverInfo\":");
        write_implementation(&mut out);
        out.extend_from_slice(b",\"instructions\":");
        json::write_string(&mut out, INSTRUCTIONS);
        out.push(b'}');
        out
    }
}

/// What a legacy client may use. Lists of resources change with every memory, so only those who
/// subscribe are told.
#[cfg(not(feature = "conformance-fixture"))]
const LEGACY_CAPABILITIES: &str =
    r#"{"completions":{},"logging":{},"prompts":{},"resources":{"subscribe":true},"tools":{}}"#;
#[cfg(feature = "conformance-fixture")]
const LEGACY_CAPABILITIES: &str = r#"{"completions":{},"logging":{},"prompts":{"listChanged":true},"resources":{"subscribe":true},"tools":{"listChanged":true}}"#;

/// What a modern client may use.
#[cfg(not(feature = "conformance-fixture"))]
const MODERN_CAPABILITIES: &str = r#"{"completions":{},"logging":{},"prompts":{},"resources":{"subscribe":true,"listChanged":true},"tools":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;
#[cfg(feature = "conformance-fixture")]
const MODERN_CAPABILITIES: &str = r#"{"completions":{},"logging":{},"prompts":{"listChanged":true},"resources":{"subscribe":true,"listChanged":true},"tools":{"listChanged":true},"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;

fn tool_pages(table: &Table) -> ToolPages {
    let entries = [ToolProfile::Core, ToolProfile::Full].map(|profile| entries(table, profile));
    [Era::Legacy, Era::Modern].map(|era| [&entries[0], &entries[1]].map(|list| pages(era, list)))
}

fn entries(table: &Table, profile: ToolProfile) -> Vec<Vec<u8>> {
    let entries: Vec<Vec<u8>> = table
        .iter()
        .filter_map(|operation| entry(operation, profile))
        .collect();
    #[cfg(feature = "conformance-fixture")]
    let entries = [super::fixture::tools(), entries].concat();
    entries
}

fn pages(era: Era, entries: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let pages: Vec<_> = entries.chunks(TOOLS_OF_A_PAGE).collect();
    let last = pages.len().saturating_sub(1);
    let pages = pages.iter().enumerate().map(|(index, page)| {
        let mut out = Vec::new();
        mcp::begin_object(&mut out, era);
        out.extend_from_slice(b"\"tools\":[");
        out.extend_from_slice(&page.join(&b','));
        out.push(b']');
        if index < last {
            let next = format!(",\"nextCursor\":\"page-{}\"", index + 1);
            out.extend_from_slice(next.as_bytes());
        }
        if era == Era::Modern {
            write_cache_hints(&mut out);
        }
        mcp::end_object(&mut out, era);
        out
    });
    pages.collect()
}

fn entry(operation: &Operation, profile: ToolProfile) -> Option<Vec<u8>> {
    let tool = operation
        .tool
        .filter(|tool| tool.core || profile == ToolProfile::Full)?;
    let writes = !operation.read_only;
    let entry = ToolEntry {
        name: tool.name,
        title: tool.title,
        description: operation.description,
        input_schema: (operation.arguments)(),
        output_schema: match profile {
            ToolProfile::Core => or_error(&outline(&(operation.result)())),
            ToolProfile::Full => or_error(&(operation.result)()),
        },
        annotations: Annotations {
            read_only_hint: operation.read_only,
            destructive_hint: writes.then_some(operation.destructive),
            idempotent_hint: writes.then_some(operation.idempotent),
            // Everything happens inside the server.
            open_world_hint: false,
        },
        icons: (profile == ToolProfile::Full).then(|| [icon_of(operation.method)]),
    };
    let mut out = Vec::new();
    json::write(&mut out, &entry).expect("schemas are JSON");
    Some(out)
}

fn list<T: Serialize>(era: Era, name: &str, rows: &[T], next: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    mcp::begin_object(&mut out, era);
    json::write_string(&mut out, name);
    out.push(b':');
    json::write(&mut out, rows).expect("rows are JSON");
    if let Some(next) = next {
        out.extend_from_slice(b",\"nextCursor\":");
        json::write_string(&mut out, next);
    }
    if era == Era::Modern {
        write_cache_hints(&mut out);
    }
    mcp::end_object(&mut out, era);
    out
}

fn empty(era: Era) -> Vec<u8> {
    let mut out = Vec::new();
    mcp::write_direct_result(&mut out, era, "{}");
    out
}

fn discover() -> Vec<u8> {
    let mut out = b"{\"resultType\":\"complete\",\"supportedVersions\":[".to_vec();
    json::write_string(&mut out, mcp::MODERN);
    out.extend_from_slice(b"],\"capabilities\":");
    out.extend_from_slice(MODERN_CAPABILITIES.as_bytes());
    out.extend_from_slice(b",\"instructions\":");
    json::write_string(&mut out, INSTRUCTIONS);
    write_cache_hints(&mut out);
    out.extend_from_slice(b",\"_meta\":{\"io.modelcontextprotocol/serverInfo\":");
    write_implementation(&mut out);
    out.extend_from_slice(b"}}");
    out
}

fn write_cache_hints(out: &mut Vec<u8>) {
    let hints = format!(",\"ttlMs\":{},\"cacheScope\":\"public\"", mcp::CACHE_TTL_MS);
    out.extend_from_slice(hints.as_bytes());
}

#[cfg(test)]
mod tests {
    use sonic_rs::{JsonContainerTrait, JsonValueTrait, Value};

    use std::sync::Arc;

    use super::Constants;
    use crate::config::ToolProfile;
    use crate::rpc::mcp::Era;

    #[test]
    fn lists_are_json_with_each_tool_once() {
        let constants = Constants::new(&Arc::default());
        for (profile, count) in [(ToolProfile::Core, 8), (ToolProfile::Full, 30)] {
            for era in [Era::Legacy, Era::Modern] {
                let (mut names, mut cursor) = (Vec::new(), String::new());
                loop {
                    let page = constants.tools(era, profile, &cursor).unwrap();
                    let list: Value = sonic_rs::from_slice(page).unwrap();
                    for tool in list["tools"].as_array().unwrap() {
                        names.push(tool["name"].as_str().unwrap().to_owned());
                    }
                    assert_eq!(list.get("ttlMs").is_some(), era == Era::Modern);
                    match list.get("nextCursor") {
                        Some(next) => cursor = next.as_str().unwrap().to_owned(),
                        None => break,
                    }
                }
                names.sort();
                names.dedup();
                if cfg!(not(feature = "conformance-fixture")) {
                    assert_eq!(names.len(), count, "{names:?}");
                }
                for foreign in ["page-0", "page-01", "page-99", "page--1", "x", "page-"] {
                    assert!(constants.tools(era, profile, foreign).is_err(), "{foreign}");
                }
            }
        }
        if cfg!(not(feature = "conformance-fixture")) {
            // 2,711 tokens of o200k_base at 11,955 bytes: 3,000 tokens are about 13,200 bytes.
            let core = constants.tools(Era::Modern, ToolProfile::Core, "").unwrap();
            assert!(core.len() < 13_200, "{} bytes", core.len());
        }
        let discover: Value = sonic_rs::from_slice(constants.discover()).unwrap();
        assert_eq!(
            discover["supportedVersions"][0].as_str(),
            Some("2026-07-28")
        );
        let initialize: Value = sonic_rs::from_slice(&constants.initialize("2025-06-18")).unwrap();
        assert_eq!(initialize["protocolVersion"].as_str(), Some("2025-06-18"));
    }
}
