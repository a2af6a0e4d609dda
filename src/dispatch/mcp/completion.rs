//! `completion/complete`: values for the arguments of prompts and the variables of templates.

use std::rc::Rc;

use serde::Deserialize;

use super::caller::Request;
use super::{prompts, resources};
use crate::delivery::Session;
use crate::dispatch::wrapping::answer_later;
use crate::dispatch::{Dispatcher, Reply};
use crate::domain::{Filter, Order, Recall};
use crate::operations::viewer;
use crate::rpc::json::{self, Text};
use crate::rpc::mcp;
use crate::rpc::{Condition, Fault};

/// Values of one answer (MCP, completion).
const VALUES_MAX: usize = 100;

/// The parameters of `completion/complete`.
#[derive(Debug, Deserialize)]
struct Complete<'a> {
    #[serde(borrow, rename = "ref")]
    reference: Reference<'a>,
    #[serde(borrow)]
    argument: Argument<'a>,
}

#[derive(Debug, Deserialize)]
struct Reference<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Text<'a>,
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow, default)]
    uri: Text<'a>,
}

#[derive(Debug, Deserialize)]
struct Argument<'a> {
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow, default)]
    value: Text<'a>,
}

/// What values come from.
#[derive(Debug, Clone, Copy)]
enum Source {
    Namespace,
    Memories,
    Agents,
    Tags,
    /// Free text.
    Nothing,
}

/// Answers `completion/complete`.
pub(super) fn complete(
    dispatcher: &Rc<Dispatcher>,
    request: Request<'_>,
    params: Option<&str>,
) -> Result<Reply, Fault> {
    let invalid = |message| Fault::new(Condition::InvalidArguments, message);
    let params: Complete<'_> = sonic_rs::from_str(params.unwrap_or("{}"))
        .map_err(|error| invalid(format!("params: {}", json::reason(&error))))?;
    let Some(name) = params.argument.name.get() else {
        return Err(invalid("params.argument.name must be a string".into()));
    };
    let source = source(&params.reference, name).map_err(invalid)?;
    let prefix = params.argument.value.get().unwrap_or_default().to_owned();
    let dispatcher = Rc::clone(dispatcher);
    let session = Rc::clone(&request.caller.session);
    let era = request.era;
    Ok(answer_later(request, async move {
        let (mut values, mut more) = values(&dispatcher, &session, source).await?;
        values.retain(|value| value.starts_with(&prefix));
        let total = values.len();
        more |= total > VALUES_MAX;
        values.truncate(VALUES_MAX);
        let mut out = Vec::new();
        mcp::begin_object(&mut out, era);
        out.extend_from_slice(b"\"completion\":{\"values\":");
        json::write(&mut out, &values)
            .map_err(|_| Fault::new(Condition::Internal, "the values could not be written"))?;
        out.extend_from_slice(format!(",\"total\":{total},\"hasMore\":{more}}}").as_bytes());
        mcp::end_object(&mut out, era);
        Ok(out)
    }))
}

fn source(reference: &Reference<'_>, argument: &str) -> Result<Source, String> {
    match reference.kind.get() {
        Some("ref/prompt") => {
            let name = reference.name.get().unwrap_or_default();
            let rows = prompts::rows();
            let Some(prompt) = rows.iter().find(|prompt| prompt.name == name) else {
                return Err(format!("Unknown prompt: {name}"));
            };
            if !prompt.arguments.iter().any(|known| known.name == argument) {
                return Err(format!("prompt {name} has no argument {argument}"));
            }
            Ok(match argument {
                "topic" | "tag" => Source::Tags,
                "to_agent" => Source::Agents,
                _ => Source::Nothing,
            })
        }
        Some("ref/resource") => {
            let uri = reference.uri.get().unwrap_or_default();
            let rows = resources::templates();
            if !rows.iter().any(|row| row.uri_template == Some(uri)) {
                return Err(format!("Unknown resource template: {uri}"));
            }
            if !uri.contains(&format!("{{{argument}}}")) {
                return Err(format!("template {uri} has no variable {argument}"));
            }
            Ok(match argument {
                "namespace" => Source::Namespace,
                _ if uri.starts_with("memory:") => Source::Memories,
                _ if uri.starts_with("agent:") => Source::Agents,
                _ => Source::Nothing,
            })
        }
        _ => Err("params.ref.type must be ref/prompt or ref/resource".to_owned()),
    }
}

/// Values of a source, and whether there are more than were looked at.
async fn values(
    dispatcher: &Dispatcher,
    session: &Session,
    source: Source,
) -> Result<(Vec<String>, bool), Fault> {
    let store = &dispatcher.services.store;
    let viewer = viewer(session);
    let namespace = &viewer.key.namespace;
    Ok(match source {
        Source::Nothing => (Vec::new(), false),
        Source::Namespace => (vec![namespace.to_string()], false),
        Source::Tags => {
            let stats = store.memory_stats(&viewer).await?;
            let tags = stats.top_tags.into_iter().map(|count| count.tag);
            (tags.collect(), false)
        }
        Source::Agents => {
            let page = store
                .list_agents(namespace, None, VALUES_MAX as u32, None)
                .await?;
            let ids = page.items.iter().map(|agent| agent.agent_id.to_string());
            (ids.collect(), page.next_cursor.is_some())
        }
        Source::Memories => {
            let recall = Recall {
                filter: Filter {
                    include_shared: true,
                    ..Filter::default()
                },
                order: Order::Newest,
                limit: VALUES_MAX as u32,
                cursor: None,
                counts_access: false,
            };
            let page = store.recall_memories(&viewer, recall).await?;
            let here = page
                .items
                .iter()
                .filter(|memory| memory.namespace == *namespace);
            let ids = here.map(|memory| memory.id.to_string());
            (ids.collect(), page.next_cursor.is_some())
        }
    })
}
