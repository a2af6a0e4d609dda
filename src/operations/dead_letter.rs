//! Dead letters: messages that were given up, to look at and to send again.

use std::rc::Rc;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::arguments::arguments;
use super::operation::{Operation, Pending, Scope};
use super::services::Context;
use crate::domain::memory::{PAGE_DEFAULT, PAGE_MAX};
use crate::domain::message::DEAD_LETTERS_AT_ONCE;
use crate::domain::{
    AgentKey, DeadLetter, DeathCause, JsonText, Letters, Priority, Timestamp, Violation,
};
use crate::rpc::{Condition, Fault};

pub(super) fn rows() -> Vec<Operation> {
    vec![
        Operation::later("dlq/list", list)
            .tool("list_dead_letters", "List dead letters")
            .describe(
                "List messages to you that were given up: delivered five times without an \
                 acknowledgement, expired, or terminated. The latest first, in pages.",
            )
            .scope(Scope::AgentRead)
            .cost(2),
        Operation::later("dlq/get", get)
            .describe("Show one dead letter.")
            .scope(Scope::AgentRead),
        Operation::later("dlq/retry", retry)
            .tool("retry_dead_letter", "Send dead letters again")
            .describe("Put dead letters back into your inbox, as new: by id, by ids, or all.")
            .scope(Scope::AgentSend)
            .cost(2)
            .writes(false),
        Operation::later("dlq/purge", purge)
            .tool("purge_dead_letters", "Remove dead letters")
            .describe("Remove dead letters for good: by id, by ids, or all.")
            .scope(Scope::AgentSend)
            .cost(2)
            .destroys(),
    ]
}

/// A dead letter.
#[derive(Debug, Serialize, JsonSchema)]
struct Letter {
    /// Its id.
    id: Uuid,
    /// The message's.
    message_id: Uuid,
    /// Whom it did not reach.
    agent_id: Arc<str>,
    /// In which namespace.
    namespace: Arc<str>,
    /// Why: undeliverable, expired or terminated.
    cause: DeathCause,
    /// What the receiver said when it terminated it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Box<str>>,
    /// Deliveries counted.
    deliveries: u32,
    /// When it was given up.
    died_at: Timestamp,
    /// Who sent it.
    from_agent_id: Arc<str>,
    /// In which namespace.
    from_namespace: Arc<str>,
    /// What it is about.
    topic: Arc<str>,
    /// What goes first.
    priority: Priority,
    /// When it was sent.
    sent_at: Timestamp,
    /// What it says.
    body: JsonText,
}

fn letter(dead: DeadLetter) -> Letter {
    let message = dead.message;
    Letter {
        id: dead.id,
        message_id: message.id,
        agent_id: dead.agent.agent,
        namespace: dead.agent.namespace,
        cause: dead.cause,
        reason: dead.reason,
        deliveries: dead.deliveries,
        died_at: dead.died_at,
        from_agent_id: message.sender.agent,
        from_namespace: message.sender.namespace,
        topic: message.topic,
        priority: message.priority,
        sent_at: message.sent_at,
        body: message.body,
    }
}

/// Whose letters are meant: the caller's, or everybody's, which only an administrator sees.
fn owner(context: &Context<'_>, all_agents: Option<bool>) -> Result<Option<AgentKey>, Fault> {
    let viewer = context.viewer();
    match all_agents {
        Some(true) if viewer.admin => Ok(None),
        Some(true) => {
            let message = "dead letters of all agents need the scope admin";
            Err(Fault::new(Condition::Unauthorized, message))
        }
        Some(false) | None => Ok(Some(viewer.key)),
    }
}

arguments! {
    /// Of dlq/list.
    ListLetters {
        /// Letters at most
        #[schemars(range(min = 1, max = PAGE_MAX))]
        limit: Option<u32>,
        /// Of the page before
        cursor: Option<String>,
        /// Those of all agents, for administrators (false)
        all_agents: Option<bool>,
    }
}

/// Of dlq/list.
#[derive(Debug, Serialize, JsonSchema)]
struct LetterPage {
    /// The latest first.
    dead_letters: Vec<Letter>,
    /// For the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

fn list(context: &Context<'_>, arguments: ListLetters) -> Result<Pending<LetterPage>, Fault> {
    let limit = arguments.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Violation::new("limit", format!("must be 1 to {PAGE_MAX}")).into());
    }
    let owner = owner(context, arguments.all_agents)?;
    let store = &context.services.store;
    let page = store.list_dead_letters(owner.as_ref(), limit, arguments.cursor);
    Ok(Box::pin(async move {
        let page = page.await?;
        Ok(LetterPage {
            dead_letters: page.items.into_iter().map(letter).collect(),
            next_cursor: page.next_cursor,
        })
    }))
}

arguments! {
    /// Of dlq/get.
    OneLetter {
        /// The letter's id
        id: Uuid,
        /// It may be another agent's, for administrators (false)
        all_agents: Option<bool>,
    }
}

fn get(context: &Context<'_>, arguments: OneLetter) -> Result<Pending<Letter>, Fault> {
    let owner = owner(context, arguments.all_agents)?;
    let store = &context.services.store;
    let found = store.get_dead_letter(owner.as_ref(), arguments.id);
    Ok(Box::pin(async move { Ok(letter(found.await?)) }))
}

arguments! {
    /// Of dlq/retry and dlq/purge: one of the three.
    WhichLetters {
        /// One
        id: Option<Uuid>,
        /// Several
        ids: Option<Vec<Uuid>>,
        /// All of yours
        all: Option<bool>,
        /// They may be other agents', for administrators (false)
        all_agents: Option<bool>,
    }
}

fn which(arguments: WhichLetters) -> Result<Letters, Violation> {
    match (arguments.id, arguments.ids, arguments.all) {
        (Some(id), None, None) => Ok(Letters::Ids(vec![id])),
        (None, Some(ids), None) if ids.len() <= DEAD_LETTERS_AT_ONCE => Ok(Letters::Ids(ids)),
        (None, Some(_), None) => {
            let text = format!("may name at most {DEAD_LETTERS_AT_ONCE} letters");
            Err(Violation::new("ids", text))
        }
        (None, None, Some(true)) => Ok(Letters::All),
        _ => Err(Violation::new("id", "name id, ids or all: true")),
    }
}

/// Of dlq/retry.
#[derive(Debug, Serialize, JsonSchema)]
struct Retried {
    /// Letters that are in the inbox again; call once more if it is a thousand.
    retried: u64,
}

fn retry(context: &Context<'_>, arguments: WhichLetters) -> Result<Pending<Retried>, Fault> {
    let owner = owner(context, arguments.all_agents)?;
    let letters = which(arguments)?;
    let services = Rc::clone(context.services);
    let retried = context.store().retry_dead_letters(owner.as_ref(), letters);
    Ok(Box::pin(async move {
        let retried = retried.await?;
        let count = retried.iter().map(|(_, count)| count).sum();
        services
            .courier
            .news_for(retried.into_iter().map(|(agent, _)| agent));
        Ok(Retried { retried: count })
    }))
}

/// Of dlq/purge.
#[derive(Debug, Serialize, JsonSchema)]
struct Purged {
    /// Letters that are gone; call once more if it is a thousand.
    purged: u64,
}

fn purge(context: &Context<'_>, arguments: WhichLetters) -> Result<Pending<Purged>, Fault> {
    let owner = owner(context, arguments.all_agents)?;
    let letters = which(arguments)?;
    let purged = context.store().purge_dead_letters(owner.as_ref(), letters);
    Ok(Box::pin(async move {
        Ok(Purged {
            purged: purged.await?,
        })
    }))
}
