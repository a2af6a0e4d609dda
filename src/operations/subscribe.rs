//! What a session hears of: topics of messages, and events with the place to read on from.

use std::collections::BTreeMap;
use std::rc::Rc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::arguments::arguments;
use super::delivery::attendance;
use super::message::topic_name;
use super::operation::{Operation, Pending, Scope};
use super::services::Context;
use crate::delivery::courier::Attendance;
use crate::delivery::events::{Position, Topic, Wanted};
use crate::domain::memory::TAGS_MAX;
use crate::domain::{AgentKey, Violation};
use crate::rpc::{Condition, Fault};

/// Topics of one session.
const TOPICS_MAX: usize = 256;

pub(super) fn rows() -> Vec<Operation> {
    vec![
        Operation::later("session/subscribe", subscribe)
            .describe(
                "Have messages and events delivered on this connection: topic message for messages to \
                 you, topic:NAME for those to a topic of your namespace; presence for agents of your \
                 namespace that come, go or change their status, memory for memories of it that you \
                 may read, diagnostics for the operator's warnings. from reads events on from where \
                 you were.",
            )
            .scope(Scope::AgentRead)
            .writes(true)
            .changes_session(),
        Operation::ready("session/unsubscribe", unsubscribe)
            .describe("End the delivery of topics.")
            .scope(Scope::AgentRead)
            .writes(true)
            .changes_session(),
    ]
}

/// Which events of a topic are wanted.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PresenceFilter {
    /// Only of this agent
    agent: Option<String>,
}

/// Which memories.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MemoryFilter {
    /// Only this memory
    id: Option<Uuid>,
    /// Only memories with all of these labels
    #[schemars(length(max = TAGS_MAX))]
    tags: Option<Vec<String>>,
    /// Only memories of this agent
    agent: Option<String>,
}

/// By topic.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Filters {
    /// Of topic presence
    presence: Option<PresenceFilter>,
    /// Of topic memory
    memory: Option<MemoryFilter>,
}

/// A place among events.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct From {
    /// Its epoch
    epoch: u64,
    /// The offset of the latest event that you have
    offset: u64,
}

arguments! {
    /// Of session/subscribe.
    Subscribe {
        /// message, topic:NAME, presence, memory, diagnostics
        topics: Vec<String>,
        /// Which events are wanted (all)
        filters: Option<Filters>,
        /// Where to read on, by topic of events (from now on)
        from: Option<BTreeMap<String, From>>,
    }
}

/// Where the events of a topic are.
#[derive(Debug, Serialize, JsonSchema)]
struct Place {
    /// Names the server's run that counts the offsets.
    epoch: u64,
    /// The present offset: whatever comes later has a greater one.
    offset: u64,
    /// With from: everything after it comes. If false, some of it is lost, and events come from the
    /// present offset on.
    #[serde(skip_serializing_if = "Option::is_none")]
    recovered: Option<bool>,
}

/// Of session/subscribe.
#[derive(Debug, Serialize, JsonSchema)]
struct Subscribed {
    /// The session that takes deliveries.
    session_id: Uuid,
    /// Its epoch.
    epoch: u64,
    /// To take it up again after a lost connection.
    resume_token: String,
    /// Its topics now.
    topics: Vec<String>,
    /// Where the events of the topics named are.
    positions: BTreeMap<&'static str, Place>,
}

/// The names of all topics of a session.
pub(super) fn topics(attendance: &Attendance) -> Vec<String> {
    let events = attendance.event_topics().into_iter();
    let events = events.map(|topic| topic.as_str().to_owned());
    let named = attendance.topics().into_iter();
    let named = named.map(|name| format!("topic:{name}"));
    std::iter::once("message".to_owned())
        .chain(events)
        .chain(named)
        .collect()
}

/// The topics of messages by their names, without those to the agent itself, and those of events.
fn named(topics: &[String]) -> Result<(Vec<&str>, Vec<Topic>), Violation> {
    if topics.is_empty() || topics.len() > TOPICS_MAX {
        let text = format!("must name 1 to {TOPICS_MAX}");
        return Err(Violation::new("topics", text));
    }
    let (mut names, mut events) = (Vec::new(), Vec::new());
    for topic in topics.iter().filter(|topic| *topic != "message") {
        if let Some(topic) = Topic::parse(topic) {
            if !events.contains(&topic) {
                events.push(topic);
            }
        } else if let Some(name) = topic.strip_prefix("topic:") {
            names.push(topic_name(name)?);
        } else if matches!(topic.as_str(), "task" | "workflow") {
            let text = format!("this server has no events of topic {topic}");
            return Err(Violation::new("topics", text));
        } else {
            let text = "are message, topic:NAME, presence, memory or diagnostics";
            return Err(Violation::new("topics", text));
        }
    }
    Ok((names, events))
}

/// Checks what is wanted of each topic.
fn wanted(
    topics: &[Topic],
    filters: Filters,
    namespace: &str,
) -> Result<Vec<(Topic, Wanted)>, Violation> {
    let has = |topic| topics.contains(&topic);
    if filters.presence.is_some() && !has(Topic::Presence)
        || filters.memory.is_some() && !has(Topic::Memory)
    {
        return Err(Violation::new(
            "filters",
            "are of topics that are not named",
        ));
    }
    let agent = |agent: Option<String>| match agent {
        Some(agent) => Ok(Some(
            AgentKey::new(namespace, &agent)?.agent.as_ref().into(),
        )),
        None => Ok::<_, Violation>(None),
    };
    let presence = filters.presence.unwrap_or_default();
    let memory = filters.memory.unwrap_or_default();
    let tags = memory.tags.unwrap_or_default();
    if tags.len() > TAGS_MAX {
        let text = format!("may name at most {TAGS_MAX} tags");
        return Err(Violation::new("filters", text));
    }
    let presence = Wanted {
        agent: agent(presence.agent)?,
        ..Wanted::default()
    };
    let memory = Wanted {
        agent: agent(memory.agent)?,
        id: memory.id,
        tags,
    };
    let wanted = topics.iter().map(|topic| match topic {
        Topic::Presence => (*topic, presence.clone()),
        Topic::Memory => (*topic, memory.clone()),
        Topic::Diagnostics => (*topic, Wanted::default()),
    });
    Ok(wanted.collect())
}

fn subscribe(context: &Context<'_>, arguments: Subscribe) -> Result<Pending<Subscribed>, Fault> {
    let (names, events) = named(&arguments.topics)?;
    let viewer = context.viewer();
    let filters = arguments.filters.unwrap_or_default();
    let events = wanted(&events, filters, &viewer.key.namespace)?;
    let has = |topic: Topic| events.iter().any(|(other, _)| *other == topic);
    let from = arguments.from.unwrap_or_default();
    if let Some(other) = from
        .keys()
        .find(|name| !Topic::parse(name).is_some_and(has))
    {
        let text = format!("names {other}, which is no topic of events that is subscribed here");
        return Err(Violation::new("from", text).into());
    }
    if has(Topic::Diagnostics) && !viewer.admin {
        let text = "diagnostics are for administrators";
        return Err(Fault::new(Condition::Unauthorized, text));
    }
    let services = Rc::clone(context.services);
    let attendance = context.session.attend(&services.courier).ok_or_else(|| {
        let message = "this wire takes no deliveries; read them with agent/inbox";
        Fault::new(Condition::Conflict, message)
    })?;
    if attendance.topics().len() + names.len() > TOPICS_MAX {
        let text = format!("a session has at most {TOPICS_MAX}");
        return Err(Violation::new("topics", text).into());
    }
    for name in names {
        attendance.subscribe(name);
    }
    Ok(Box::pin(async move {
        let mut positions = BTreeMap::new();
        if !events.is_empty() {
            attendance.allow_volatile().await?;
        }
        for (topic, wanted) in events {
            let from = from.get(topic.as_str()).map(|from| Position {
                epoch: from.epoch,
                offset: from.offset,
            });
            let subscribed = attendance.subscribe_events(topic, viewer.clone(), wanted, from);
            let (present, is_recovered) = subscribed.ok_or_else(|| {
                Fault::new(
                    Condition::Conflict,
                    "the session goes on on another connection",
                )
            })?;
            let place = Place {
                epoch: present.epoch,
                offset: present.offset,
                recovered: from.map(|_| is_recovered),
            };
            positions.insert(topic.as_str(), place);
        }
        Ok(Subscribed {
            session_id: attendance.session(),
            epoch: attendance.epoch(),
            resume_token: attendance.token(&services.tokens),
            topics: topics(&attendance),
            positions,
        })
    }))
}

arguments! {
    /// Of session/unsubscribe.
    Unsubscribe {
        /// message, topic:NAME, presence, memory, diagnostics
        topics: Vec<String>,
    }
}

/// Of session/unsubscribe.
#[derive(Debug, Serialize, JsonSchema)]
struct Unsubscribed {
    /// Topics that it had.
    removed: Vec<String>,
}

fn unsubscribe(context: &Context<'_>, arguments: Unsubscribe) -> Result<Unsubscribed, Fault> {
    let attendance = attendance(context)?;
    let (names, events) = named(&arguments.topics)?;
    let mut removed = Vec::new();
    for topic in events {
        if attendance.unsubscribe_events(topic) {
            removed.push(topic.as_str().to_owned());
        }
    }
    for name in names {
        if attendance.unsubscribe(name) {
            removed.push(format!("topic:{name}"));
        }
    }
    if arguments.topics.iter().any(|topic| topic == "message") {
        context.session.end_attendance();
        removed.push("message".to_owned());
    }
    Ok(Unsubscribed { removed })
}
