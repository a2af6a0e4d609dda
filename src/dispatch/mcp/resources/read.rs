//! What a resource holds, as its reader sees it.

use serde::Serialize;

use super::uri::Resource;
use crate::domain::{AgentKey, Filter, Memory, Order, Recall};
use crate::operations::Services;
use crate::rpc::json;
use crate::store::{Store, StoreError, Viewer};

/// Memories of `memory://{namespace}/recent`: what fits a context without thinking about it.
const RECENT_MAX: u32 = 20;

/// The JSON text of a resource; `None` if there is none that the viewer may see. `reads` says
/// whether it counts as a read of what it shows.
pub(in crate::dispatch::mcp) async fn read(
    services: &Services,
    viewer: &Viewer,
    resource: &Resource,
    reads: bool,
) -> Result<Option<String>, StoreError> {
    let store = &*services.store;
    let text = match resource {
        Resource::Memory { namespace, id } if reads => match store.get_memory(viewer, *id).await {
            Ok(memory) if memory.namespace == *namespace => text(&memory),
            Ok(_) | Err(StoreError::NotFound { .. }) => None,
            Err(error) => return Err(error),
        },
        Resource::Memory { namespace, id } => {
            let recall = recall(vec![*id], 1, false);
            let page = store.recall_memories(viewer, recall).await?;
            let memory = page.items.into_iter().next();
            memory
                .filter(|memory| memory.namespace == *namespace)
                .and_then(|memory| text(&unread(memory)))
        }
        Resource::Recent { namespace } => {
            let mut memories = recent(store, viewer, namespace, reads).await?;
            if !reads {
                memories = memories.into_iter().map(unread).collect();
            }
            text(&Recent { memories })
        }
        #[cfg(feature = "conformance-fixture")]
        Resource::Watched => Some("Watch me.".to_owned()),
        Resource::Agent { id } => {
            let key = AgentKey {
                namespace: viewer.key.namespace.clone(),
                agent: id.clone(),
            };
            match store.get_agent(&key).await {
                Ok(agent) => text(&agent),
                Err(StoreError::NotFound { .. }) => None,
                Err(error) => return Err(error),
            }
        }
    };
    Ok(text)
}

/// A memory without what its readers and time change about it. Whoever watches would otherwise be
/// told of that whenever somebody writes, and so of writes that it must not know of.
fn unread(memory: Memory) -> Memory {
    Memory {
        access_count: 0,
        relevance: 0.0,
        last_accessed_at: None,
        ..memory
    }
}

#[derive(Serialize)]
struct Recent {
    memories: Vec<Memory>,
}

fn text<T: Serialize>(value: &T) -> Option<String> {
    let mut out = Vec::new();
    json::write(&mut out, value)
        .inspect_err(|error| tracing::error!(%error, "a resource could not be written as JSON"))
        .ok()?;
    String::from_utf8(out).ok()
}

/// A recall of the newest, or of these ids.
pub(super) fn recall(ids: Vec<uuid::Uuid>, limit: u32, reads: bool) -> Recall {
    Recall {
        filter: Filter {
            ids,
            include_shared: true,
            ..Filter::default()
        },
        order: Order::Newest,
        limit,
        cursor: None,
        counts_access: reads,
    }
}

/// The newest memories of a namespace that the viewer may read. What is public in other
/// namespaces is found among the viewer's own, so a few pages are looked through.
async fn recent(
    store: &dyn Store,
    viewer: &Viewer,
    namespace: &str,
    reads: bool,
) -> Result<Vec<Memory>, StoreError> {
    /// Pages of 100 that are looked through for memories of the namespace.
    const PAGES_MAX: usize = 10;
    let mut found = Vec::new();
    let mut next = recall(Vec::new(), 100, false);
    for _ in 0..PAGES_MAX {
        let page = store.recall_memories(viewer, next.clone()).await?;
        let memories = page.items.into_iter();
        let here = memories.filter(|memory| &*memory.namespace == namespace);
        found.extend(here.take(RECENT_MAX as usize - found.len()));
        if found.len() >= RECENT_MAX as usize || page.next_cursor.is_none() {
            break;
        }
        next.cursor = page.next_cursor;
    }
    if reads && !found.is_empty() {
        let ids = found.iter().map(|memory| memory.id).collect();
        let page = store.recall_memories(viewer, recall(ids, RECENT_MAX, true));
        found = page.await?.items;
    }
    Ok(found)
}

/// What tells one list of resources from another: a change of the list changes it, unless it is
/// undone before anybody looks.
pub(in crate::dispatch::mcp) async fn outline(
    services: &Services,
    viewer: &Viewer,
) -> Result<String, StoreError> {
    let store = &services.store;
    let newest = recall(Vec::new(), 1, false);
    let newest = store.recall_memories(viewer, newest).await?;
    let readable = store.memory_stats(viewer).await?;
    let agents = store.list_agents(&viewer.key.namespace, None, 100, None);
    let agents = agents.await?.items.into_iter();
    let agents: Vec<_> = agents
        .map(|agent| (agent.agent_id, agent.updated_at))
        .collect();
    let newest = newest.items.first().map(|memory| memory.id);
    Ok(format!("{readable:?} {newest:?} {agents:?}"))
}
