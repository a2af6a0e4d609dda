//! Storing memories and changing them: what gives a text its vector.

use std::cell::Cell;
use std::rc::Rc;

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::arguments::{arguments, present};
use super::meaning::TextVector;
use super::operation::{Operation, Pending, Scope};
use super::services::{Context, Services};
use super::snippet;
use crate::delivery::events::Done;
use crate::domain::memory::{QUERY_CHARS_MAX, TAGS_MAX, TTL_SECONDS_MAX};
use crate::domain::{
    Access, Embedded, Filter, JsonObject, Memory, MemoryPatch, Mode, NewMemory, Search, Timestamp,
};
use crate::rpc::{Condition, Fault};
use crate::store::{Viewer, ranking};

/// Importance of a memory whose owner does not say.
const IMPORTANCE_DEFAULT: f64 = 0.5;
/// Trust in a source that the owner does not rate.
const TRUST_DEFAULT: f64 = 1.0;
/// Two texts that are at least this similar say the same as a rule, or contradict each other.
const NEAR_DUPLICATE_MIN: f64 = 0.9;
/// Near duplicates that a create tells of.
const NEAR_DUPLICATES_MAX: u32 = 3;
/// Looks for near duplicates at once on a shard: a hint must not slow down a burst of creates.
const LOOKS_MAX: usize = 2;
/// Bytes of a near duplicate's text that are shown.
const SHOWN_BYTES: usize = 200;

pub(super) fn rows() -> Vec<Operation> {
    vec![
        Operation::later("memory/create", create)
            .aliases(&["create_memory", "memory/store"])
            .core_tool("store_memory", "Store a memory")
            .describe(
                "Store a fact, decision or observation so that it can be found later. Durable when \
                 this returns. Private unless access_level says otherwise. near_duplicates in the \
                 answer names what says almost the same: update or supersede it instead.",
            )
            .scope(Scope::MemoryWrite)
            .cost(5)
            .writes(false)
            .keeps_result(),
        Operation::later("memory/update", update)
            .tool("update_memory", "Update a memory")
            .describe(
                "Change fields of a memory. With expected_version the change is refused if somebody \
                 else changed it meanwhile. Earlier versions stay in its history.",
            )
            .scope(Scope::MemoryWrite)
            .cost(5)
            .writes(false),
    ]
}

arguments! {
    /// Of memory/create.
    CreateMemory {
        /// The text to remember, up to 10,000 characters unless the server is set otherwise
        #[schemars(length(min = 1))]
        content: String,
        /// Labels to filter by
        #[schemars(length(max = TAGS_MAX))]
        tags: Option<Vec<String>>,
        /// Weight in ranking, 0 to 1 (default 0.5)
        #[schemars(range(min = 0, max = 1))]
        importance: Option<f64>,
        /// Who may read it: private (default), team, shared, public or system
        access_level: Option<Access>,
        /// Kind of memory, such as fact or decision
        #[serde(rename = "type")]
        kind: Option<String>,
        /// Any JSON object to keep beside the text
        metadata: Option<JsonObject>,
        /// Where you have it from
        source: Option<String>,
        /// Trust in the source, 0 to 1 (default 1)
        #[schemars(range(min = 0, max = 1))]
        trust: Option<f64>,
        /// Start of the time it speaks about, RFC 3339
        valid_from: Option<Timestamp>,
        /// End of the time it speaks about, RFC 3339
        valid_to: Option<Timestamp>,
        /// Seconds to live
        #[schemars(range(min = 1, max = TTL_SECONDS_MAX))]
        ttl: Option<u64>,
        /// Id of the memory that this one replaces
        supersedes: Option<Uuid>,
        /// Wait a moment so that near_duplicates compares meanings, not words (default false)
        check_duplicates: Option<bool>,
    }
}

/// Of memory/create.
#[derive(Debug, Serialize, JsonSchema)]
struct Created {
    #[serde(flatten)]
    memory: Memory,
    /// What was stored before and says almost the same; absent if that was not looked for because
    /// too many were being stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    near_duplicates: Option<Vec<NearDuplicate>>,
}

/// A memory that says almost the same as a new one.
#[derive(Debug, Serialize, JsonSchema)]
struct NearDuplicate {
    /// The memory.
    id: Uuid,
    /// Likeness, 0 to 1.
    similarity: f64,
    /// Likeness of what: semantic, or lexical while the meaning of the new one is being computed.
    by: Mode,
    /// The beginning of its text.
    content: String,
}

fn create(context: &Context<'_>, arguments: CreateMemory) -> Result<Pending<Created>, Fault> {
    let viewer = context.viewer();
    let services = Rc::clone(context.services);
    let wait = arguments.check_duplicates.unwrap_or(false);
    let mut new = NewMemory {
        owner: viewer.key.clone(),
        admin: viewer.admin,
        session_id: Some(context.session.id.get()),
        content: arguments.content,
        kind: arguments.kind,
        tags: arguments.tags.unwrap_or_default(),
        importance: arguments.importance.unwrap_or(IMPORTANCE_DEFAULT),
        access_level: arguments.access_level.unwrap_or_default(),
        metadata: arguments.metadata.unwrap_or_default(),
        source: arguments.source,
        trust: arguments.trust.unwrap_or(TRUST_DEFAULT),
        valid_from: arguments.valid_from,
        valid_to: arguments.valid_to,
        ttl_seconds: arguments.ttl,
        supersedes: arguments.supersedes,
        vector: None,
    };
    new.normalize(services.content_chars_max.get())?;
    let vector = TextVector::of(&services.meaning, &viewer.key, &new.content);
    new.vector = vector.known();
    let created = context.store().create_memories(vec![new]);
    Ok(Box::pin(async move {
        let memory = match created.await?.pop() {
            Some(memory) => memory?,
            None => return Err(Fault::new(Condition::Internal, "the store gave no result")),
        };
        services.memory_changed(&memory, Done::Created);
        if let Some(superseded) = memory.supersedes {
            services.memory_superseded(superseded);
        }
        let store = Rc::clone(&services.store);
        let vector = vector.attach(store, memory.id, memory.version, wait).await;
        let near_duplicates = near_duplicates(&services, &viewer, &memory, vector).await;
        Ok(Created {
            memory,
            near_duplicates,
        })
    }))
}

/// What the viewer may read and is nearest to a memory, by meaning if that is known and otherwise
/// by words; nothing if it cannot be told now.
async fn near_duplicates(
    services: &Services,
    viewer: &Viewer,
    memory: &Memory,
    vector: Option<Embedded>,
) -> Option<Vec<NearDuplicate>> {
    let _look = Look::begin(&services.looks)?;
    let by = match vector {
        Some(_) => Mode::Semantic,
        None => Mode::Lexical,
    };
    // A text that has all the words of another scores less the longer it is.
    let best = match by {
        Mode::Lexical => {
            let words = ranking::of_memory(&memory.content, None, &[]).words;
            ranking::length_factor(words)
        }
        Mode::Semantic | Mode::Hybrid => 1.0,
    };
    let search = Search {
        query: snippet::beginning(&memory.content, QUERY_CHARS_MAX),
        mode: by,
        vector,
        filter: Filter {
            include_shared: true,
            ..Filter::default()
        },
        similarity_min: Some(NEAR_DUPLICATE_MIN * best),
        // The memory itself is among them.
        limit: NEAR_DUPLICATES_MAX + 1,
        cursor: None,
        counts_access: false,
    };
    let page = services.store.search_memories(viewer, search).await.ok()?;
    let others = page
        .hits
        .into_iter()
        .filter(|hit| hit.memory.id != memory.id);
    let near = others.take(NEAR_DUPLICATES_MAX as usize).map(|hit| {
        let part = hit.parts.similarity.or(hit.parts.lexical);
        NearDuplicate {
            id: hit.memory.id,
            similarity: (part.unwrap_or_default() / best).min(1.0),
            by,
            content: snippet::beginning(&hit.memory.content, SHOWN_BYTES),
        }
    });
    Some(near.collect())
}

/// One look for near duplicates that is under way on this shard.
struct Look<'l>(&'l Cell<usize>);

impl<'l> Look<'l> {
    fn begin(looks: &'l Cell<usize>) -> Option<Self> {
        (looks.get() < LOOKS_MAX).then(|| {
            looks.set(looks.get() + 1);
            Self(looks)
        })
    }
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

arguments! {
    /// Of memory/update.
    UpdateMemory {
        /// The memory's id
        #[serde(alias = "memory_id")]
        id: Uuid,
        /// Change only if this is still its version
        expected_version: Option<u64>,
        /// New text
        content: Option<String>,
        /// New labels, replacing all
        #[schemars(length(max = TAGS_MAX))]
        tags: Option<Vec<String>>,
        /// New weight in ranking, 0 to 1
        #[schemars(range(min = 0, max = 1))]
        importance: Option<f64>,
        /// Who may read it: private, team, shared, public or system
        access_level: Option<Access>,
        /// New kind; null clears it
        #[serde(default, rename = "type", deserialize_with = "present")]
        kind: Option<Option<String>>,
        /// New JSON object, replacing the old one
        metadata: Option<JsonObject>,
        /// New source; null clears it
        #[serde(default, deserialize_with = "present")]
        source: Option<Option<String>>,
        /// New trust in the source, 0 to 1
        #[schemars(range(min = 0, max = 1))]
        trust: Option<f64>,
        /// New start of validity, RFC 3339; null clears it
        #[serde(default, deserialize_with = "present")]
        valid_from: Option<Option<Timestamp>>,
        /// New end of validity, RFC 3339; null clears it
        #[serde(default, deserialize_with = "present")]
        valid_to: Option<Option<Timestamp>>,
        /// Seconds to live from now; null lets it live on
        #[serde(default, deserialize_with = "present")]
        ttl: Option<Option<u64>>,
    }
}

fn update(context: &Context<'_>, arguments: UpdateMemory) -> Result<Pending<Memory>, Fault> {
    let mut patch = MemoryPatch {
        content: arguments.content,
        kind: arguments.kind,
        tags: arguments.tags,
        importance: arguments.importance,
        access_level: arguments.access_level,
        metadata: arguments.metadata,
        source: arguments.source,
        trust: arguments.trust,
        valid_from: arguments.valid_from,
        valid_to: arguments.valid_to,
        ttl_seconds: arguments.ttl,
    };
    let viewer = context.viewer();
    let services = Rc::clone(context.services);
    patch.normalize(services.content_chars_max.get())?;
    let content = patch.content.clone();
    let (id, expected) = (arguments.id, arguments.expected_version);
    let updated = context.store().update_memory(&viewer, id, patch, expected);
    Ok(Box::pin(async move {
        let memory = updated.await?;
        services.memory_changed(&memory, Done::Updated);
        if let Some(content) = content {
            // Only once the change is allowed and made: others' rejected texts cost nothing.
            let vector = TextVector::of(&services.meaning, &viewer.key, &content);
            let store = Rc::clone(&services.store);
            vector.store(store, memory.id, memory.version).await;
        }
        Ok(memory)
    }))
}
