//! Answers that never change while the server runs, written once.

use serde::Serialize;

use crate::config::ToolProfile;
use crate::operations::{Operation, Table};
use crate::rpc::json;
use crate::rpc::mcp::{self, Era};

/// How a model uses the server well, in few words.
const INSTRUCTIONS: &str = "Shared memory for agents. Store what should outlast this conversation \
    with store_memory: one fact per memory, in full sentences, with tags. Before you start on \
    something, look for what is known with semantic_search. Memories are private unless you set \
    access_level or share them.";

/// Results of methods without parameters, as JSON objects.
pub struct Constants {
    tools: [[Vec<u8>; 2]; 2],
    discover: Vec<u8>,
    pings: [&'static [u8]; 2],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolEntry<'a> {
    name: &'a str,
    title: &'a str,
    description: &'a str,
    input_schema: &'a schemars::Schema,
    annotations: Annotations,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Annotations {
    read_only_hint: bool,
    destructive_hint: bool,
    idempotent_hint: bool,
    open_world_hint: bool,
}

impl Constants {
    /// Writes all of them from the table.
    pub fn new(table: &Table) -> Self {
        let lists =
            |era| [ToolProfile::Core, ToolProfile::Full].map(|profile| tools(table, era, profile));
        Self {
            tools: [lists(Era::Legacy), lists(Era::Modern)],
            discover: discover(),
            pings: [b"{}", b"{\"resultType\":\"complete\"}"],
        }
    }

    /// The result of `tools/list`.
    pub fn tools(&self, era: Era, profile: ToolProfile) -> &[u8] {
        &self.tools[era as usize][profile as usize]
    }

    /// The result of `server/discover`.
    pub fn discover(&self) -> &[u8] {
        &self.discover
    }

    /// A result without members of its own.
    pub fn empty(&self, era: Era) -> &[u8] {
        self.pings[era as usize]
    }

    /// The result of `initialize`.
    pub fn initialize(&self, version: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(b"{\"protocolVersion\":");
        json::write_string(&mut out, version);
        out.extend_from_slice(b",\"capabilities\":{\"tools\":{}},\"serverInfo\":");
        out.extend_from_slice(mcp::server_info().as_bytes());
        out.extend_from_slice(b",\"instructions\":");
        json::write_string(&mut out, INSTRUCTIONS);
        out.push(b'}');
        out
    }
}

fn tools(table: &Table, era: Era, profile: ToolProfile) -> Vec<u8> {
    let entries: Vec<ToolEntry<'_>> = table
        .iter()
        .flat_map(|operation| entries(operation, profile))
        .collect();
    let mut out = Vec::new();
    mcp::begin_object(&mut out, era);
    out.extend_from_slice(b"\"tools\":");
    json::write(&mut out, &entries).expect("schemas are JSON");
    if era == Era::Modern {
        write_cache_hints(&mut out);
    }
    mcp::end_object(&mut out, era);
    out
}

fn entries(operation: &Operation, profile: ToolProfile) -> Option<ToolEntry<'_>> {
    let tool = operation
        .tool
        .filter(|tool| tool.core || profile == ToolProfile::Full)?;
    Some(ToolEntry {
        name: tool.name,
        title: tool.title,
        description: operation.description,
        input_schema: &operation.arguments,
        annotations: Annotations {
            read_only_hint: operation.read_only,
            destructive_hint: operation.destructive,
            idempotent_hint: operation.idempotent,
            // Everything happens inside the server.
            open_world_hint: false,
        },
    })
}

fn discover() -> Vec<u8> {
    let mut out = Vec::new();
    mcp::begin_object(&mut out, Era::Modern);
    out.extend_from_slice(b"\"supportedVersions\":[");
    json::write_string(&mut out, mcp::MODERN);
    out.extend_from_slice(b"],\"capabilities\":{\"tools\":{}},\"instructions\":");
    json::write_string(&mut out, INSTRUCTIONS);
    write_cache_hints(&mut out);
    mcp::end_object(&mut out, Era::Modern);
    out
}

fn write_cache_hints(out: &mut Vec<u8>) {
    let hints = format!(",\"ttlMs\":{},\"cacheScope\":\"public\"", mcp::CACHE_TTL_MS);
    out.extend_from_slice(hints.as_bytes());
}

#[cfg(test)]
mod tests {
    use sonic_rs::{JsonContainerTrait, JsonValueTrait, Value};

    use super::Constants;
    use crate::config::ToolProfile;
    use crate::operations::Table;
    use crate::rpc::mcp::Era;

    #[test]
    fn lists_are_json_with_each_tool_once() {
        let constants = Constants::new(&Table::default());
        for (profile, count) in [(ToolProfile::Core, 8), (ToolProfile::Full, 20)] {
            for era in [Era::Legacy, Era::Modern] {
                let list: Value = sonic_rs::from_slice(constants.tools(era, profile)).unwrap();
                let mut names: Vec<_> = list["tools"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|tool| tool["name"].as_str().unwrap().to_owned())
                    .collect();
                names.sort();
                names.dedup();
                assert_eq!(names.len(), count, "{names:?}");
                assert_eq!(list.get("ttlMs").is_some(), era == Era::Modern);
            }
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
