//! Whether an answer of `load mixed` is right, and what its client knows by it.

use anyhow::{Context, ensure};
use serde_json::Value;

use super::client::{Asked, Client, Kept, Kind};

/// Of the core profile; the list is cut nowhere between the first and the last.
const TOOLS: [&str; 3] = ["store_memory", "semantic_search", "health_check"];

/// Looks at the result of what was asked, and takes note of it.
pub(super) fn judge(client: &mut Client, asked: Asked, result: &Value) -> anyhow::Result<()> {
    let is = |name: &str, text: &str| result[name].as_str() == Some(text);
    match (asked.kind, asked.kept) {
        (Kind::Create, Some(kept)) => {
            ensure!(is("content", &kept.content), "another content");
            let id = result["id"].as_str().context("no id")?.to_owned();
            client.kept.push(Kept { id, ..kept });
        }
        (Kind::Update, Some(kept)) => {
            ensure!(is("id", &kept.id), "another memory");
            ensure!(is("content", &kept.content), "another content");
            let known = client.kept.iter_mut().find(|known| known.id == kept.id);
            *known.context("a memory that is not known")? = kept;
        }
        (Kind::Search, Some(kept)) => {
            let hits = result["hits"].as_array().context("no hits")?;
            let found = hits.iter().any(|hit| hit["content"] == kept.content);
            ensure!(found, "{} was not found", kept.marker);
        }
        (Kind::Delete, Some(kept)) => {
            ensure!(is("id", &kept.id), "another memory");
            ensure!(result["deleted"] == true, "not deleted");
            client.kept.retain(|known| known.id != kept.id);
        }
        (Kind::Recall, _) => {
            let memories = result["memories"].as_array().context("no memories")?;
            let (count, expected) = (memories.len(), client.kept.len());
            ensure!(count == expected, "{count} of {expected} memories");
            for known in &client.kept {
                let same = |memory: &Value| {
                    memory["id"] == known.id.as_str() && memory["content"] == known.content.as_str()
                };
                ensure!(memories.iter().any(same), "{} is missing", known.marker);
            }
        }
        (Kind::List, _) => {
            let tools = result["tools"].as_array().context("no tools")?;
            for name in TOOLS {
                ensure!(tools.iter().any(|tool| tool["name"] == name), "no {name}");
            }
        }
        (Kind::Health, _) => {
            let status = &result["structuredContent"]["status"];
            ensure!(status == "healthy", "{status}");
        }
        (Kind::Send, _) => ensure!(result["recipients"] == 1, "not for one agent"),
        (Kind::Status, _) => ensure!(result["agent_id"].is_string(), "no agent"),
        (Kind::Online, _) => {
            let agents = result["agents"].as_array().map_or(0, Vec::len);
            ensure!(agents > 0, "nobody is online");
        }
        (Kind::Resume, _) => ensure!(result["recovered"] == true, "not recovered"),
        (Kind::Initialize, _) => {
            ensure!(result["serverInfo"].is_object(), "no server");
        }
        (Kind::Create | Kind::Update | Kind::Search | Kind::Delete, None) => {
            anyhow::bail!("nothing was asked about")
        }
    }
    Ok(())
}
