//! What each prompt says, and the memories that it brings along.

use std::rc::Rc;

use serde::Serialize;
use sonic_rs::{JsonContainerTrait, JsonValueTrait, Value};

use super::super::resources;
use super::{Arguments, text};
use crate::delivery::Session;
use crate::dispatch::Dispatcher;
use crate::domain::AgentKey;
use crate::rpc::{Condition, Fault};

/// Memories that a prompt brings along.
const MEMORIES: u32 = 20;

/// The messages of a prompt, each a content block of the user.
pub(super) async fn of(
    dispatcher: &Dispatcher,
    session: &Rc<Session>,
    name: &str,
    arguments: &Arguments,
) -> Result<Vec<Vec<u8>>, Fault> {
    let mut blocks = Vec::new();
    match name {
        "summarize_memories" => {
            let topic = arguments
                .get("topic")
                .filter(|topic| !topic.trim().is_empty());
            let about =
                topic.map_or_else(|| "lately".to_owned(), |topic| format!("about: {topic}"));
            blocks.push(text(&format!(
                "Sum up what the following memories say {about}\nKeep to what they say, name \
                 what contradicts, and end with what is still open."
            )));
            blocks.extend(memories(dispatcher, session, topic, arguments.get("tag")).await?);
        }
        "plan_task" => {
            let goal = arguments.required("goal");
            let constraints = arguments.get("constraints").unwrap_or("none named");
            let agents = agents(dispatcher, session).await?;
            blocks.push(text(&format!(
                "Plan the steps to this goal: {goal}\nConstraints: {constraints}\nAgents that \
                 could take steps:\n{agents}\nFor each step say what is done, by whom, what it \
                 needs first, and how one sees that it is done. The memories that follow may help; \
                 store what you decide with store_memory."
            )));
            blocks.extend(memories(dispatcher, session, Some(goal), None).await?);
        }
        // `rows` has no other.
        _ => {
            let (to, work) = (arguments.required("to_agent"), arguments.required("work"));
            let taker = taker(dispatcher, session, to).await?;
            blocks.push(text(&format!(
                "Write a handoff for {taker}.\nThe work: {work}\nSay what is done, what is left, \
                 what was decided and why, and what to beware of. The memories that follow belong \
                 to it: share those that {to} needs with share_memory, and name them by their URIs."
            )));
            blocks.extend(memories(dispatcher, session, Some(work), None).await?);
        }
    }
    Ok(blocks)
}

/// Memories as embedded resources, by what they say or the newest.
async fn memories(
    dispatcher: &Dispatcher,
    session: &Rc<Session>,
    query: Option<&str>,
    tag: Option<&str>,
) -> Result<Vec<Vec<u8>>, Fault> {
    #[derive(Serialize)]
    struct Ask<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        query: Option<&'a str>,
        limit: u32,
        tags: Vec<&'a str>,
    }
    let ask = Ask {
        query,
        limit: MEMORIES,
        tags: tag.into_iter().filter(|tag| !tag.is_empty()).collect(),
    };
    let ask = sonic_rs::to_string(&ask)
        .map_err(|_| Fault::new(Condition::Internal, "the search could not be written"))?;
    let (operation, list) = match query {
        Some(_) => ("memory/search", "hits"),
        None => ("memory/recall", "memories"),
    };
    let answer = dispatcher
        .call(session, operation, Some(&ask), None)
        .await?;
    let answer: Value = sonic_rs::from_slice(&answer).unwrap_or_default();
    let found = answer.get(list).and_then(|list| list.as_array());
    let block = |memory: &Value| {
        let member = |name| {
            memory
                .get(name)
                .and_then(|value| value.as_str())
                .unwrap_or_default()
        };
        let uri = format!("memory://{}/{}", member("namespace"), member("id"));
        let mut out = b"{\"type\":\"resource\",\"resource\":".to_vec();
        resources::write_contents(&mut out, &uri, &memory.to_string());
        out.push(b'}');
        out
    };
    let blocks: Vec<_> = found.into_iter().flatten().map(block).collect();
    if blocks.is_empty() {
        return Ok(vec![text("(There are no memories about it yet.)")]);
    }
    Ok(blocks)
}

async fn agents(dispatcher: &Dispatcher, session: &Session) -> Result<String, Fault> {
    let namespace = session.agent().namespace;
    let page = dispatcher
        .services
        .store
        .list_agents(&namespace, None, 50, None);
    let lines = page.await?.items.into_iter().map(|agent| {
        let can = agent.capabilities.join(", ");
        format!("- {}: {can}", agent.agent_id)
    });
    let lines: Vec<_> = lines.collect();
    Ok(match lines.is_empty() {
        true => "- none has registered".to_owned(),
        false => lines.join("\n"),
    })
}

/// The agent that takes over, with what is known of it.
async fn taker(dispatcher: &Dispatcher, session: &Session, to: &str) -> Result<String, Fault> {
    let key = AgentKey::new(&session.agent().namespace, to)?;
    let known = dispatcher.services.store.get_agent(&key).await.ok();
    let about = known.and_then(|agent| {
        let can = (!agent.capabilities.is_empty()).then(|| agent.capabilities.join(", "));
        agent.description.or(can)
    });
    Ok(match about {
        Some(about) => format!("the agent {to} ({about})"),
        None => format!("the agent {to}, which has not registered"),
    })
}
