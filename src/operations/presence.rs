//! Who is here: the status that an agent gives itself, and the agents of a namespace that are online.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use super::arguments::arguments;
use super::operation::{Operation, Scope, Touches};
use super::services::Context;
use crate::delivery::Seen;
use crate::domain::memory::{PAGE_DEFAULT, PAGE_MAX};
use crate::domain::presence::STATUS_TEXT_BYTES_MAX;
use crate::domain::{Availability, Status, Timestamp, Violation};
use crate::rpc::{Condition, Fault};

pub(super) fn rows() -> Vec<Operation> {
    vec![
        Operation::ready("agent/status", status)
            .tool("agent_status", "Set your status")
            .describe(
                "Say whether you are online, busy, away or idle, with a short text, to the agents of \
                 your namespace. Gone when your last session ends.",
            )
            .scope(Scope::AgentSend)
            .touches(Touches::Session)
            .writes(true)
            .changes_session(),
        Operation::ready("agent/online", online)
            .tool("online_agents", "List who is online")
            .describe(
                "List the agents of your namespace that are online, registered or not, with their \
                 status, by id, in pages.",
            )
            .scope(Scope::AgentRead)
            .cost(2),
    ]
}

arguments! {
    /// Of agent/status.
    SetStatus {
        /// online, busy, away or idle
        status: Availability,
        /// A line for others
        #[schemars(length(min = 1, max = STATUS_TEXT_BYTES_MAX))]
        text: Option<String>,
    }
}

/// An agent that is online.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Shown {
    /// Id of the agent.
    agent_id: Arc<str>,
    /// Its namespace.
    namespace: Arc<str>,
    /// What it is up to.
    status: Availability,
    /// What it says beside that.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Box<str>>,
}

impl From<Seen> for Shown {
    fn from(seen: Seen) -> Self {
        Self {
            agent_id: seen.agent.agent,
            namespace: seen.agent.namespace,
            status: seen.status.availability,
            text: seen.status.text,
        }
    }
}

fn status(context: &Context<'_>, arguments: SetStatus) -> Result<Shown, Fault> {
    let agent = context.session.agent();
    let status = Status {
        availability: arguments.status,
        text: arguments.text.map(String::into_boxed_str),
        since: Timestamp::now(),
    };
    status.check()?;
    let registry = &context.services.registry;
    if !registry.set_status(&agent, status.clone()) {
        let text = "you have no session that could have a status; connect by WebSocket";
        return Err(Fault::new(Condition::Conflict, text));
    }
    Ok(Seen { agent, status }.into())
}

arguments! {
    /// Of agent/online.
    ListOnline {
        /// Most results, 1 to 100 (default 10)
        #[schemars(range(min = 1, max = PAGE_MAX))]
        limit: Option<u32>,
        /// next_cursor of an earlier page
        cursor: Option<String>,
    }
}

/// Of agent/online.
#[derive(Debug, Serialize, JsonSchema)]
struct Online {
    /// A page of agents, by id.
    agents: Vec<Shown>,
    /// Start of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

fn online(context: &Context<'_>, arguments: ListOnline) -> Result<Online, Fault> {
    let limit = arguments.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        let problem = format!("must lie between 1 and {PAGE_MAX}, is {limit}");
        return Err(Violation::new("limit", problem).into());
    }
    let namespace = context.session.agent().namespace;
    let registry = &context.services.registry;
    let (seen, more) = registry.seen(&namespace, arguments.cursor.as_deref(), limit as usize);
    // The last id of a page is where the next one begins: agents come and go between pages.
    let last = seen.last().filter(|_| more);
    let next_cursor = last.map(|last| last.agent.agent.as_ref().to_owned());
    Ok(Online {
        agents: seen.into_iter().map(Shown::from).collect(),
        next_cursor,
    })
}
