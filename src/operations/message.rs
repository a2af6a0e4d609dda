//! Messages between agents: send, broadcast, and the inbox of those who pull.

use std::rc::Rc;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::arguments::arguments;
use super::operation::{Operation, Pending, Scope};
use super::services::Context;
use crate::delivery::courier::{SendError, Sending, Sent, Target};
use crate::domain::agent::check_name;
use crate::domain::message::{TTL_SECONDS_DEFAULT, TTL_SECONDS_MAX};
use crate::domain::{AgentKey, JsonText, Message, Priority, Timestamp, Violation, Waiting};
use crate::rpc::{Condition, Fault};

/// Messages that one call takes from the inbox unless it says otherwise.
const INBOX_DEFAULT: u32 = 20;
/// Messages that one call may take; their bodies are bounded beside this.
const INBOX_MAX: u32 = 100;
/// Agents that one message may leave out.
const EXCLUDED_MAX: usize = 1_000;
/// Ids in one call.
const IDS_MAX: usize = 1_000;

pub(super) fn rows() -> Vec<Operation> {
    vec![
        Operation::later("agent/send", send)
            .aliases(&["message/send"])
            .tool("send_message", "Send a message")
            .describe(
                "Send a message to an agent, to everyone who is here in your namespace, or to the \
                 subscribers of a topic. It is stored before this answers, waits for an agent that \
                 is away, and is delivered until it is acknowledged or its ttl ends.",
            )
            .scope(Scope::AgentSend)
            .cost(2)
            .at_once()
            .writes(false),
        Operation::later("agent/broadcast", broadcast)
            .tool("broadcast_message", "Broadcast a message")
            .describe("Send a message to every other agent that is here in your namespace.")
            .scope(Scope::AgentSend)
            .cost(5)
            .at_once()
            .writes(false),
        Operation::later("agent/inbox", inbox)
            .tool("check_inbox", "Check the inbox")
            .describe(
                "Read the messages that wait for you, the most urgent first. They stay until you \
                 acknowledge them: pass the ids that you are done with as ack.",
            )
            .scope(Scope::AgentRead)
            .writes(true)
            .keeps_result(),
        Operation::later("agent/ack", acknowledge)
            .tool("ack_messages", "Acknowledge messages")
            .describe("Say that you are done with messages; they are not delivered again.")
            .scope(Scope::AgentRead)
            .writes(true),
    ]
}

/// To whom.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct To {
    /// An agent's id, in namespace or in yours
    agent: Option<String>,
    /// Alone: everyone who is here in this namespace, which must be yours
    namespace: Option<String>,
    /// The subscribers of this topic in your namespace
    topic: Option<String>,
}

arguments! {
    /// Of agent/send.
    SendMessage {
        /// {agent}, {namespace} or {topic}
        to: To,
        /// Any JSON
        body: JsonText,
        /// What goes first (normal)
        priority: Option<Priority>,
        /// Seconds that it is delivered for
        #[schemars(range(min = 1, max = TTL_SECONDS_MAX))]
        ttl: Option<u64>,
        /// Store it before answering (true)
        durable: Option<bool>,
        /// Agents that do not get it
        exclude: Option<Vec<String>>,
        /// What you join messages by
        correlation_id: Option<String>,
    }
}

arguments! {
    /// Of agent/broadcast.
    Broadcast {
        /// Any JSON
        body: JsonText,
        /// What goes first (normal)
        priority: Option<Priority>,
        /// Seconds that it is delivered for
        #[schemars(range(min = 1, max = TTL_SECONDS_MAX))]
        ttl: Option<u64>,
        /// Store it before answering (true)
        durable: Option<bool>,
        /// Agents that do not get it
        exclude: Option<Vec<String>>,
        /// What you join messages by
        correlation_id: Option<String>,
    }
}

/// Of agent/send.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Accepted {
    /// The message's id.
    message_id: Uuid,
    /// Agents that it is for.
    recipients: usize,
}

fn send(context: &Context<'_>, arguments: SendMessage) -> Result<Pending<Accepted>, Fault> {
    let own = context.session.agent();
    let to = target(&own, &arguments.to)?;
    let rest = Broadcast {
        body: arguments.body,
        priority: arguments.priority,
        ttl: arguments.ttl,
        durable: arguments.durable,
        exclude: arguments.exclude,
        correlation_id: arguments.correlation_id,
        _meta: None,
        idempotency_key: None,
    };
    send_to(context, to, rest)
}

fn broadcast(context: &Context<'_>, arguments: Broadcast) -> Result<Pending<Accepted>, Fault> {
    let namespace = context.session.agent().namespace;
    send_to(context, Target::Namespace(namespace), arguments)
}

fn target(own: &AgentKey, to: &To) -> Result<Target, Fault> {
    match (&to.agent, &to.namespace, &to.topic) {
        (Some(agent), namespace, None) => {
            let namespace = namespace.as_deref().unwrap_or(&own.namespace);
            Ok(Target::Agent(AgentKey::new(namespace, agent)?))
        }
        (None, Some(namespace), None) if **namespace == *own.namespace => {
            Ok(Target::Namespace(Arc::clone(&own.namespace)))
        }
        (None, Some(_), None) => {
            let message = "to.namespace alone must be your own; name an agent of the other one";
            Err(Fault::new(Condition::Unauthorized, message))
        }
        (None, None, Some(topic)) => {
            let name = topic_name(topic)?;
            Ok(Target::Topic(Arc::clone(&own.namespace), name.into()))
        }
        _ => {
            let message = "must have agent (and namespace, if not yours), namespace or topic";
            Err(Violation::new("to", message).into())
        }
    }
}

/// The name of a topic, with or without `topic:` before it.
pub(super) fn topic_name(topic: &str) -> Result<&str, Violation> {
    let name = topic.strip_prefix("topic:").unwrap_or(topic);
    check_name("topic", name)?;
    Ok(name)
}

fn send_to(
    context: &Context<'_>,
    to: Target,
    arguments: Broadcast,
) -> Result<Pending<Accepted>, Fault> {
    let sender = context.session.agent();
    let sent_at = Timestamp::now();
    let ttl = arguments.ttl.unwrap_or(TTL_SECONDS_DEFAULT);
    if !(1..=TTL_SECONDS_MAX).contains(&ttl) {
        let text = format!("must be 1 to {TTL_SECONDS_MAX} seconds");
        return Err(Violation::new("ttl", text).into());
    }
    let excluded = arguments.exclude.unwrap_or_default();
    if excluded.len() > EXCLUDED_MAX {
        let text = format!("may name at most {EXCLUDED_MAX} agents");
        return Err(Violation::new("exclude", text).into());
    }
    let exclude = excluded
        .iter()
        .map(|agent| AgentKey::new(&sender.namespace, agent))
        .collect::<Result<Vec<_>, _>>()?;
    let topic = match &to {
        Target::Topic(_, name) => format!("topic:{name}").into(),
        Target::Agent(_) | Target::Namespace(_) => "message".into(),
    };
    let message = Message {
        id: Uuid::now_v7(),
        topic,
        priority: arguments.priority.unwrap_or_default(),
        sent_at,
        expires_at: sent_at.plus_seconds(ttl).unwrap_or(sent_at),
        correlation_id: arguments.correlation_id.map(Into::into),
        body: arguments.body,
        sender,
    };
    message.check()?;
    let services = Rc::clone(context.services);
    let present = match &to {
        Target::Namespace(namespace) => services.registry.agents_of(namespace),
        Target::Agent(_) | Target::Topic(..) => Vec::new(),
    };
    let sending = Sending {
        message: Arc::new(message),
        to,
        exclude,
        durable: arguments.durable.unwrap_or(true),
        key: context.keyed.cloned(),
        arrival: context.session.arrival(),
    };
    Ok(Box::pin(async move {
        let Sent { id, recipients } = services.courier.send(sending, present).await?;
        Ok(Accepted {
            message_id: id,
            recipients,
        })
    }))
}

impl From<SendError> for Fault {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Full => Self::new(Condition::Unavailable, error.to_string()),
            SendError::Store(error) => error.into(),
        }
    }
}

arguments! {
    /// Of agent/inbox.
    CheckInbox {
        /// Messages at most
        #[schemars(range(min = 1, max = INBOX_MAX))]
        limit: Option<u32>,
        /// Ids of messages that you are done with
        ack: Option<Vec<Uuid>>,
    }
}

arguments! {
    /// Of agent/ack.
    AckMessages {
        /// Ids of messages that you are done with
        ids: Vec<Uuid>,
    }
}

/// Of agent/inbox.
#[derive(Debug, Serialize, JsonSchema)]
struct Inbox {
    /// Messages that wait, the most urgent first.
    messages: Vec<Waits>,
    /// Deliveries that ack has ended.
    acknowledged: usize,
}

/// A message that waits.
#[derive(Debug, Serialize, JsonSchema)]
struct Waits {
    /// Its id, by which it is acknowledged.
    id: Uuid,
    /// What it is about: message, or topic:NAME.
    topic: Arc<str>,
    /// What goes first.
    priority: Priority,
    /// Who sent it.
    from: Sender,
    /// When.
    sent_at: Timestamp,
    /// Until when it waits.
    expires_at: Timestamp,
    /// What the sender joins messages by.
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<Box<str>>,
    /// Deliveries to sessions so far.
    deliveries: u32,
    /// What it says.
    body: JsonText,
}

/// An agent.
#[derive(Debug, Serialize, JsonSchema)]
struct Sender {
    /// Its id.
    agent_id: Arc<str>,
    /// Its namespace.
    namespace: Arc<str>,
}

/// Of agent/ack.
#[derive(Debug, Serialize, JsonSchema)]
struct Acknowledged {
    /// Deliveries that were ended.
    acknowledged: usize,
}

fn check_ids(field: &'static str, ids: &[Uuid]) -> Result<(), Violation> {
    if ids.len() > IDS_MAX {
        return Err(Violation::new(
            field,
            format!("may name at most {IDS_MAX} messages"),
        ));
    }
    Ok(())
}

fn inbox(context: &Context<'_>, arguments: CheckInbox) -> Result<Pending<Inbox>, Fault> {
    let limit = arguments.limit.unwrap_or(INBOX_DEFAULT);
    if !(1..=INBOX_MAX).contains(&limit) {
        return Err(Violation::new("limit", format!("must be 1 to {INBOX_MAX}")).into());
    }
    let ids = arguments.ack.unwrap_or_default();
    check_ids("ack", &ids)?;
    let services = Rc::clone(context.services);
    let store = context.store();
    let agent = context.session.agent();
    Ok(Box::pin(async move {
        let acknowledged = if ids.is_empty() {
            0
        } else {
            services
                .courier
                .settle_for_agent(&*store, &agent, ids)
                .await?
        };
        let waiting = services.store.waiting_messages(&agent, limit).await?;
        Ok(Inbox {
            messages: waiting.into_iter().map(waits).collect(),
            acknowledged,
        })
    }))
}

fn waits(waiting: Waiting) -> Waits {
    let message = waiting.message;
    Waits {
        id: message.id,
        topic: message.topic,
        priority: message.priority,
        from: Sender {
            agent_id: message.sender.agent,
            namespace: message.sender.namespace,
        },
        sent_at: message.sent_at,
        expires_at: message.expires_at,
        correlation_id: message.correlation_id,
        deliveries: waiting.deliveries,
        body: message.body,
    }
}

fn acknowledge(
    context: &Context<'_>,
    arguments: AckMessages,
) -> Result<Pending<Acknowledged>, Fault> {
    check_ids("ids", &arguments.ids)?;
    let services = Rc::clone(context.services);
    let store = context.store();
    let agent = context.session.agent();
    Ok(Box::pin(async move {
        let courier = &services.courier;
        let settled = courier.settle_for_agent(&*store, &agent, arguments.ids);
        let acknowledged = settled.await?;
        Ok(Acknowledged { acknowledged })
    }))
}
