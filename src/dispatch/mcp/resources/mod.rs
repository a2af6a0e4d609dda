//! `resources/*`: memories and agents as documents (SPEC 4.1).

mod read;
mod uri;

use std::rc::Rc;

use serde::Serialize;

pub(super) use read::{outline, read as text_of};
pub(super) use uri::Resource;
#[cfg(fuzzing)]
pub use uri::examine;

use super::caller::Request;
use super::methods::{cursor, foreign_cursor};
use crate::delivery::Session;
use crate::dispatch::wrapping::answer_later;
use crate::dispatch::{Dispatcher, Reply};
use crate::domain::{Agent, Memory};
use crate::operations::viewer;
use crate::rpc::json;
use crate::rpc::mcp::{self, Era, Params};
use crate::rpc::{Condition, Fault};
use crate::store::StoreError;

/// Memories, and agents, of a page.
const PAGE: u32 = 50;
/// Characters of a memory's title.
const TITLE_CHARS: usize = 80;
/// What all of them are.
const MIME_TYPE: &str = "application/json";

/// A row of `resources/list` or `resources/templates/list`.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) uri_template: Option<&'static str>,
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    pub(super) mime_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) annotations: Option<Annotations>,
}

/// What a client may choose by.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Annotations {
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<f64>,
    last_modified: String,
}

/// The templates: every kind of resource that there is.
pub(super) fn templates() -> Vec<Row> {
    let row = |uri, name: &str, title: &str, description: &str| Row {
        uri_template: Some(uri),
        name: name.into(),
        title: Some(title.into()),
        description: Some(description.into()),
        mime_type: MIME_TYPE,
        ..Row::default()
    };
    #[cfg_attr(not(feature = "conformance-fixture"), expect(unused_mut))]
    let mut rows = vec![
        row(
            "memory://{namespace}/{id}",
            "memory",
            "A memory",
            "One memory with its tags, times and owner.",
        ),
        row(
            "memory://{namespace}/recent",
            "recent_memories",
            "Recent memories",
            "The newest memories of a namespace that you may read.",
        ),
        row(
            "agent://{id}",
            "agent",
            "An agent",
            "The registration of an agent of your namespace.",
        ),
    ];
    #[cfg(feature = "conformance-fixture")]
    rows.extend(super::fixture::templates());
    rows
}

/// Answers `resources/list`: what is recent, then every memory that the caller may read, newest
/// first, then the agents of the namespace.
pub(super) fn list(
    dispatcher: &Rc<Dispatcher>,
    request: Request<'_>,
    params: Option<&str>,
) -> Result<Reply, Fault> {
    let cursor = cursor(params)?;
    let dispatcher = Rc::clone(dispatcher);
    let (session, era) = (Rc::clone(&request.caller.session), request.era);
    Ok(answer_later(request, async move {
        let (rows, next) = page(&dispatcher, &session, &cursor).await?;
        let mut out = Vec::new();
        mcp::begin_object(&mut out, era);
        out.extend_from_slice(b"\"resources\":");
        json::write(&mut out, &rows)
            .map_err(|_| Fault::new(Condition::Internal, "the list could not be written"))?;
        if let Some(next) = next {
            out.extend_from_slice(b",\"nextCursor\":");
            json::write_string(&mut out, &next);
        }
        write_live_hints(&mut out, era);
        mcp::end_object(&mut out, era);
        Ok(out)
    }))
}

/// Cache hints of what other agents may change at any moment.
fn write_live_hints(out: &mut Vec<u8>, era: Era) {
    if era == Era::Modern {
        out.extend_from_slice(b",\"ttlMs\":0,\"cacheScope\":\"private\"");
    }
}

/// A page: `m` and the store's cursor within memories, `a` and the store's cursor within agents.
async fn page(
    dispatcher: &Dispatcher,
    session: &Session,
    cursor: &str,
) -> Result<(Vec<Row>, Option<String>), Fault> {
    let store = &dispatcher.services.store;
    let viewer = viewer(session);
    let mut rows = Vec::new();
    if cursor.is_empty() {
        #[cfg(feature = "conformance-fixture")]
        rows.extend(super::fixture::resources());
        let recent = Resource::Recent {
            namespace: viewer.key.namespace.clone(),
        };
        rows.push(Row {
            uri: Some(recent.to_string()),
            name: "recent_memories".into(),
            title: Some("Recent memories".into()),
            description: Some("The newest memories of your namespace that you may read.".into()),
            mime_type: MIME_TYPE,
            ..Row::default()
        });
    }
    let (kind, within) = cursor.split_at_checked(1).unwrap_or(("m", ""));
    let within = (!within.is_empty()).then(|| within.to_owned());
    let foreign = |error: StoreError| match error {
        StoreError::Invalid(_) => foreign_cursor(),
        error => error.into(),
    };
    let mut agents_from = within.clone();
    match kind {
        "m" => {
            let mut recall = read::recall(Vec::new(), PAGE, false);
            recall.cursor = within;
            let memories = store.recall_memories(&viewer, recall).await;
            let memories = memories.map_err(foreign)?;
            rows.extend(memories.items.iter().map(of_memory));
            if let Some(next) = memories.next_cursor {
                return Ok((rows, Some(format!("m{next}"))));
            }
            agents_from = None;
        }
        "a" => {}
        _ => return Err(foreign_cursor()),
    }
    let agents = store.list_agents(&viewer.key.namespace, None, PAGE, agents_from);
    let agents = agents.await.map_err(foreign)?;
    rows.extend(agents.items.iter().map(of_agent));
    Ok((rows, agents.next_cursor.map(|next| format!("a{next}"))))
}

fn of_memory(memory: &Memory) -> Row {
    let resource = Resource::Memory {
        namespace: memory.namespace.clone(),
        id: memory.id,
    };
    let line = memory.content.lines().next().unwrap_or_default();
    Row {
        uri: Some(resource.to_string()),
        name: memory.id.to_string(),
        title: Some(line.chars().take(TITLE_CHARS).collect()),
        mime_type: MIME_TYPE,
        annotations: Some(Annotations {
            priority: Some(memory.importance),
            last_modified: memory.updated_at.to_string(),
        }),
        ..Row::default()
    }
}

fn of_agent(agent: &Agent) -> Row {
    let resource = Resource::Agent {
        id: agent.agent_id.clone(),
    };
    Row {
        uri: Some(resource.to_string()),
        name: agent.agent_id.to_string(),
        title: agent.name.clone(),
        description: agent.description.clone(),
        mime_type: MIME_TYPE,
        annotations: Some(Annotations {
            priority: None,
            last_modified: agent.updated_at.to_string(),
        }),
        ..Row::default()
    }
}

/// The URI of a request's parameters.
pub(super) fn uri(params: Option<&str>) -> Result<String, Fault> {
    let params = Params::parse(params)?;
    let uri = params.uri.string();
    uri.map(String::from)
        .ok_or_else(|| Fault::new(Condition::InvalidArguments, "params.uri must be a string"))
}

/// The fault of a URI that names nothing the caller may see.
pub(super) fn not_found(era: Era, uri: &str) -> Fault {
    let condition = match era {
        Era::Legacy => Condition::ResourceNotFound,
        Era::Modern => Condition::InvalidArguments,
    };
    Fault::new(condition, "Resource not found").with("uri", uri)
}

/// Answers `resources/read`.
pub(super) fn read(
    dispatcher: &Rc<Dispatcher>,
    request: Request<'_>,
    params: Option<&str>,
) -> Result<Reply, Fault> {
    let uri = uri(params)?;
    #[cfg(feature = "conformance-fixture")]
    if let Some(contents) = super::fixture::read(&uri) {
        let era = request.era;
        return Ok(answer_later(request, async move {
            Ok(contents_of(era, &contents))
        }));
    }
    let era = request.era;
    let resource = Resource::parse(&uri).ok_or_else(|| not_found(era, &uri))?;
    let dispatcher = Rc::clone(dispatcher);
    let session = Rc::clone(&request.caller.session);
    Ok(answer_later(request, async move {
        let services = &dispatcher.services;
        let text = text_of(services, &viewer(&session), &resource, true).await?;
        let text = text.ok_or_else(|| not_found(era, &uri))?;
        let mut contents = Vec::with_capacity(text.len() + 256);
        write_contents(&mut contents, &uri, &text);
        Ok(contents_of(era, &contents))
    }))
}

/// Appends a resource's contents as an object.
pub(super) fn write_contents(out: &mut Vec<u8>, uri: &str, text: &str) {
    out.extend_from_slice(b"{\"uri\":");
    json::write_string(out, uri);
    out.extend_from_slice(b",\"mimeType\":\"");
    out.extend_from_slice(MIME_TYPE.as_bytes());
    out.extend_from_slice(b"\",\"text\":");
    json::write_string(out, text);
    out.push(b'}');
}

fn contents_of(era: Era, contents: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(contents.len() + 128);
    mcp::begin_object(&mut out, era);
    out.extend_from_slice(b"\"contents\":[");
    out.extend_from_slice(contents);
    out.push(b']');
    write_live_hints(&mut out, era);
    mcp::end_object(&mut out, era);
    out
}
