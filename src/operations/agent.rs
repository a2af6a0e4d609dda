//! Agents: register, switch, info, capabilities, list.

use std::rc::Rc;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::arguments::arguments;
use super::operation::{Operation, Pending, Scope, Touches};
use super::services::Context;
use crate::delivery::Change;
use crate::domain::agent::NAME_BYTES_MAX;
use crate::domain::memory::{PAGE_DEFAULT, PAGE_MAX};
use crate::domain::{Agent, AgentKey, Availability, JsonObject, NewAgent, Violation};
use crate::rpc::Fault;
use crate::store::StoreError;

pub(super) fn rows() -> Vec<Operation> {
    vec![
        Operation::later("agent/register", register)
            .core_tool("register_agent", "Register an agent")
            .describe(
                "Register an agent with its capabilities, or update its registration. Does not \
                 change who you act as; use switch_agent for that.",
            )
            .scope(Scope::AgentSend)
            .cost(5)
            .writes(true),
        Operation::later("agent/switch", switch)
            .core_tool("switch_agent", "Act as another agent")
            .describe("Act as another registered agent on this connection from now on.")
            .scope(Scope::AgentSend)
            .touches(Touches::Session)
            .writes(true)
            .changes_session(),
        Operation::later("agent/info", info)
            .aliases(&["get_agent_info"])
            .core_tool("get_current_agent", "Show the current agent")
            .describe(
                "Show which agent you act as, in which namespace and session, and its registration; \
                 with agent_id, another agent of your namespace.",
            )
            .scope(Scope::AgentRead),
        Operation::later("agent/capabilities", capabilities)
            .tool("agent_capabilities", "Show an agent's capabilities")
            .describe("List what an agent of your namespace can do; without agent_id, what you can.")
            .scope(Scope::AgentRead),
        Operation::later("agent/list", list)
            .tool("list_agents", "List agents")
            .describe(
                "List the registered agents of your namespace and whether they are online, in pages, \
                 by capability if given.",
            )
            .scope(Scope::AgentRead)
            .cost(2),
    ]
}

arguments! {
    /// Of agent/register.
    RegisterAgent {
        /// Id of the agent, unique in the namespace
        #[schemars(length(min = 1, max = NAME_BYTES_MAX))]
        agent_id: String,
        /// Namespace (default: yours)
        namespace: Option<String>,
        /// Name for people
        name: Option<String>,
        /// What the agent is for
        description: Option<String>,
        /// What the agent can do
        capabilities: Option<Vec<String>>,
        /// Any JSON object to keep with the registration
        metadata: Option<JsonObject>,
    }
}

fn register(context: &Context<'_>, arguments: RegisterAgent) -> Result<Pending<Agent>, Fault> {
    let agent = NewAgent {
        key: key(context, arguments.namespace.as_deref(), &arguments.agent_id)?,
        name: arguments.name,
        description: arguments.description,
        capabilities: arguments.capabilities,
        metadata: arguments.metadata,
    };
    agent.check()?;
    let services = Rc::clone(context.services);
    let key = agent.key.clone();
    let registered = context.store().register_agent(agent);
    Ok(Box::pin(async move {
        let agent = registered.await?;
        services.changes.publish(&Change::Agent(key));
        Ok(agent)
    }))
}

arguments! {
    /// Of agent/switch.
    SwitchAgent {
        /// Id of the agent to act as
        #[schemars(length(min = 1, max = NAME_BYTES_MAX))]
        agent_id: String,
        /// Its namespace (default: yours)
        namespace: Option<String>,
    }
}

/// Of agent/switch.
#[derive(Debug, Serialize, JsonSchema)]
struct Switched {
    /// Who acts now.
    agent_id: Arc<str>,
    /// Its namespace.
    namespace: Arc<str>,
    /// Who acted before.
    previous_agent_id: Arc<str>,
    /// The namespace before.
    previous_namespace: Arc<str>,
}

fn switch(context: &Context<'_>, arguments: SwitchAgent) -> Result<Pending<Switched>, Fault> {
    let key = key(context, arguments.namespace.as_deref(), &arguments.agent_id)?;
    let registration = context.services.store.get_agent(&key);
    let session = Rc::clone(context.session);
    let services = Rc::clone(context.services);
    Ok(Box::pin(async move {
        registration.await?;
        // Deliveries belong to an agent: what the old one has not settled waits for it.
        let attended = session.end_attendance();
        let before = session.switch(key.clone());
        if attended && let Some(attendance) = session.attend(&services.courier) {
            services.courier.welcome(&attendance, &services.tokens);
        }
        Ok(Switched {
            agent_id: key.agent,
            namespace: key.namespace,
            previous_agent_id: before.agent,
            previous_namespace: before.namespace,
        })
    }))
}

arguments! {
    /// Of operations on one agent.
    OneAgent {
        /// Id of the agent (default: you)
        agent_id: Option<String>,
    }
}

/// Of agent/info.
#[derive(Debug, Serialize, JsonSchema)]
struct AgentInfo {
    /// Id of the agent.
    agent_id: Arc<str>,
    /// Its namespace.
    namespace: Arc<str>,
    /// True if it is who you act as.
    current: bool,
    /// Your session, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<Uuid>,
    /// What it can do.
    capabilities: Vec<String>,
    /// Whether it is registered.
    registered: bool,
    /// Its registration.
    #[serde(skip_serializing_if = "Option::is_none")]
    registration: Option<Agent>,
}

fn info(context: &Context<'_>, arguments: OneAgent) -> Result<Pending<AgentInfo>, Fault> {
    let own = context.session.agent();
    let key = match &arguments.agent_id {
        Some(agent) => AgentKey::new(&own.namespace, agent)?,
        None => own.clone(),
    };
    let registration = context.services.store.get_agent(&key);
    let session = Rc::clone(context.session);
    Ok(Box::pin(async move {
        let current = key == own;
        let registration = match registration.await {
            Ok(agent) => Some(agent),
            // Whoever connects is an agent, registered or not.
            Err(StoreError::NotFound { .. }) if current => None,
            Err(error) => return Err(error.into()),
        };
        let capabilities = match &registration {
            Some(agent) => agent.capabilities.clone(),
            None => session.capabilities().to_vec(),
        };
        Ok(AgentInfo {
            agent_id: key.agent,
            namespace: key.namespace,
            current,
            session_id: current.then_some(session.id.get()),
            capabilities,
            registered: registration.is_some(),
            registration,
        })
    }))
}

/// Of agent/capabilities.
#[derive(Debug, Serialize, JsonSchema)]
struct Capabilities {
    /// Id of the agent.
    agent_id: Arc<str>,
    /// What it can do.
    capabilities: Vec<String>,
}

fn capabilities(
    context: &Context<'_>,
    arguments: OneAgent,
) -> Result<Pending<Capabilities>, Fault> {
    let info = info(context, arguments)?;
    Ok(Box::pin(async move {
        let info = info.await?;
        Ok(Capabilities {
            agent_id: info.agent_id,
            capabilities: info.capabilities,
        })
    }))
}

arguments! {
    /// Of agent/list.
    ListAgents {
        /// Only agents that can do this
        capability: Option<String>,
        /// Most results, 1 to 100 (default 10)
        #[schemars(range(min = 1, max = PAGE_MAX))]
        limit: Option<u32>,
        /// next_cursor of an earlier page
        cursor: Option<String>,
    }
}

/// A registered agent, and whether it is here.
#[derive(Debug, Serialize, JsonSchema)]
struct ListedAgent {
    #[serde(flatten)]
    agent: Agent,
    /// It has a session, on whatever node.
    online: bool,
    /// What it is up to, if it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Availability>,
    /// What it says beside that.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_text: Option<Box<str>>,
}

/// Of agent/list.
#[derive(Debug, Serialize, JsonSchema)]
struct Agents {
    /// A page of agents, by id.
    agents: Vec<ListedAgent>,
    /// Start of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

fn list(context: &Context<'_>, arguments: ListAgents) -> Result<Pending<Agents>, Fault> {
    let limit = arguments.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        let problem = format!("must lie between 1 and {PAGE_MAX}, is {limit}");
        return Err(Violation::new("limit", problem).into());
    }
    let namespace = context.session.agent().namespace;
    let page = context.services.store.list_agents(
        &namespace,
        arguments.capability,
        limit,
        arguments.cursor,
    );
    let services = Rc::clone(context.services);
    let listed = move |agent: Agent| {
        let key = AgentKey {
            namespace: Arc::clone(&agent.namespace),
            agent: Arc::clone(&agent.agent_id),
        };
        let status = services.registry.status_of(&key);
        ListedAgent {
            agent,
            online: status.is_some(),
            status: status.as_ref().map(|status| status.availability),
            status_text: status.and_then(|status| status.text),
        }
    };
    Ok(Box::pin(async move {
        let page = page.await?;
        Ok(Agents {
            agents: page.items.into_iter().map(listed).collect(),
            next_cursor: page.next_cursor,
        })
    }))
}

fn key(context: &Context<'_>, namespace: Option<&str>, agent: &str) -> Result<AgentKey, Violation> {
    match namespace {
        Some(namespace) => AgentKey::new(namespace, agent),
        None => AgentKey::new(&context.session.agent().namespace, agent),
    }
}
