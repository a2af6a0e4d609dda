//! Prompts: what an agent is asked to do, with what the memory knows put beside it (SPEC 4.1).

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use sonic_rs::{JsonContainerTrait, JsonValueTrait, Value, json};

use super::caller::Request;
use super::input::{self, Needs};
use super::resources;
use crate::delivery::Session;
use crate::dispatch::wrapping::answer_later;
use crate::dispatch::{Dispatcher, Reply};
use crate::domain::AgentKey;
use crate::rpc::json::{self, Member, Text};
use crate::rpc::mcp::{self, Era, Extras};
use crate::rpc::{Condition, Fault};

/// Memories that a prompt brings along.
const MEMORIES: u32 = 20;

/// A row of `prompts/list`.
#[derive(Debug, Serialize)]
pub(super) struct Prompt {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    pub(super) arguments: Vec<Argument>,
}

/// What a prompt asks for.
#[derive(Debug, Serialize)]
pub(super) struct Argument {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    pub(super) required: bool,
}

fn argument(name: &'static str, description: &'static str, required: bool) -> Argument {
    Argument {
        name,
        description,
        required,
    }
}

/// All prompts.
pub(super) fn rows() -> Vec<Prompt> {
    #[cfg_attr(not(feature = "conformance-fixture"), expect(unused_mut))]
    let mut rows = vec![
        Prompt {
            name: "summarize_memories",
            title: "Summarize memories",
            description: "Sum up what is remembered about a topic, or lately.",
            arguments: vec![
                argument("topic", "What to sum up (default: what is newest)", false),
                argument("tag", "Only memories with this label", false),
            ],
        },
        Prompt {
            name: "plan_task",
            title: "Plan a task",
            description: "Plan steps towards a goal with what is remembered and who is there.",
            arguments: vec![
                argument("goal", "What is to be reached", true),
                argument("constraints", "What has to be kept in mind", false),
            ],
        },
        Prompt {
            name: "handoff",
            title: "Hand work over",
            description: "Write to another agent what it needs to take work over.",
            arguments: vec![
                argument("to_agent", "The agent that takes over", true),
                argument("work", "What is handed over", true),
            ],
        },
    ];
    #[cfg(feature = "conformance-fixture")]
    rows.extend(super::fixture::prompts());
    rows
}

/// The parameters of `prompts/get`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Get<'a> {
    #[serde(borrow, default, rename = "_meta")]
    pub(super) meta: Member<'a>,
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow, default)]
    arguments: Member<'a>,
    #[serde(borrow, default, rename = "inputResponses")]
    pub(super) input_responses: Member<'a>,
    #[serde(borrow, default, rename = "requestState")]
    pub(super) request_state: Member<'a>,
}

/// The arguments of a prompt, checked against its row.
pub(super) struct Arguments(Value);

impl Arguments {
    /// The text of an argument, if it was given.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// The text of an argument that [`check`] has seen.
    fn required(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Fault {
    Fault::new(Condition::InvalidArguments, message)
}

/// Reads arguments; whether all that are required are there is asked later.
fn check(prompt: &Prompt, arguments: &Member<'_>) -> Result<Arguments, Fault> {
    let raw = arguments.raw().filter(|raw| *raw != "null").unwrap_or("{}");
    let value: Value = sonic_rs::from_str(raw)
        .ok()
        .filter(Value::is_object)
        .ok_or_else(|| invalid("params.arguments must be an object"))?;
    for (name, given) in value.as_object().into_iter().flatten() {
        if !prompt.arguments.iter().any(|known| known.name == name) {
            let names: Vec<_> = prompt.arguments.iter().map(|known| known.name).collect();
            let names = names.join(", ");
            return Err(invalid(format!("no argument {name}; there are: {names}")));
        }
        if !given.is_str() {
            return Err(invalid(format!("argument {name} must be a string")));
        }
    }
    Ok(Arguments(value))
}

/// The required arguments that are not there.
fn missing(prompt: &Prompt, arguments: &Arguments) -> Vec<&'static str> {
    let required = prompt.arguments.iter().filter(|known| known.required);
    let missing = required.filter(|known| {
        arguments
            .get(known.name)
            .is_none_or(|given| given.trim().is_empty())
    });
    missing.map(|known| known.name).collect()
}

/// Asks the user for arguments that are missing, where the client can; otherwise they are an error.
fn complete(
    dispatcher: &Dispatcher,
    request: Request<'_>,
    params: &Get<'_>,
    prompt: &Prompt,
    arguments: &mut Arguments,
) -> Result<Option<Vec<u8>>, Fault> {
    /// The key of the one form.
    const FORM: &str = "arguments";
    let gaps = missing(prompt, arguments);
    if gaps.is_empty() {
        return Ok(None);
    }
    let absent = || invalid(format!("arguments are missing: {}", gaps.join(", ")));
    let extras = Extras::parse(&params.meta)?;
    if request.era == Era::Legacy || !request.capabilities(&extras).elicitation {
        return Err(absent());
    }
    let seal = &dispatcher.services.seal;
    let given = params.arguments.raw().unwrap_or("{}");
    let binding = input::binding(request, "prompts/get", prompt.name, given);
    let inputs = input::read(
        seal,
        &binding,
        &params.input_responses,
        &params.request_state,
    )?;
    if let Some(response) = inputs.get(FORM) {
        if response.get("action").as_str() != Some("accept") {
            return Err(absent());
        }
        for gap in &gaps {
            if let Some(value) = response.get("content").and_then(|content| content.get(gap)) {
                arguments.0.insert(gap, value.clone());
            }
        }
        if missing(prompt, arguments).is_empty() {
            return Ok(None);
        }
    }
    let fields = prompt
        .arguments
        .iter()
        .filter(|known| gaps.contains(&known.name));
    let properties = fields.map(|field| {
        let schema = json!({"type": "string", "description": field.description});
        (field.name, schema)
    });
    let properties: std::collections::BTreeMap<_, _> = properties.collect();
    let form = json!({
        "message": prompt.description,
        "requestedSchema": {"type": "object", "properties": properties, "required": gaps},
    });
    let needs = Needs::default().ask(FORM, "elicitation/create", &form.to_string());
    Ok(Some(needs.write(seal, &binding)))
}

/// Answers `prompts/get`.
pub(super) fn get(
    dispatcher: &Rc<Dispatcher>,
    request: Request<'_>,
    params: Option<&str>,
) -> Result<Reply, Fault> {
    let params: Get<'_> = sonic_rs::from_str(params.unwrap_or("{}"))
        .map_err(|error| invalid(format!("params: {}", json::reason(&error))))?;
    let name = params.name.get().unwrap_or_default();
    let Some(prompt) = rows().into_iter().find(|prompt| prompt.name == name) else {
        return Err(invalid(format!("Unknown prompt: {name}")));
    };
    let mut arguments = check(&prompt, &params.arguments)?;
    if let Some(asked) = complete(dispatcher, request, &params, &prompt, &mut arguments)? {
        return Ok(answer_later(request, async { Ok(asked) }));
    }
    #[cfg(feature = "conformance-fixture")]
    if let Some(reply) = super::fixture::prompt(dispatcher, request, &params, &prompt, &arguments)?
    {
        return Ok(reply);
    }
    let dispatcher = Rc::clone(dispatcher);
    let session = Rc::clone(&request.caller.session);
    let era = request.era;
    Ok(answer_later(request, async move {
        let messages = messages(&dispatcher, &session, prompt.name, &arguments).await?;
        Ok(write(era, prompt.description, &messages))
    }))
}

/// Writes the result: content blocks, each a message of the user.
pub(super) fn write(era: Era, description: &str, blocks: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    mcp::begin_object(&mut out, era);
    out.extend_from_slice(b"\"description\":");
    json::write_string(&mut out, description);
    out.extend_from_slice(b",\"messages\":[");
    for (at, block) in blocks.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"role\":\"user\",\"content\":");
        out.extend_from_slice(block);
        out.push(b'}');
    }
    out.push(b']');
    mcp::end_object(&mut out, era);
    out
}

/// A block of text.
pub(super) fn text(text: &str) -> Vec<u8> {
    let mut out = b"{\"type\":\"text\",\"text\":".to_vec();
    json::write_string(&mut out, text);
    out.push(b'}');
    out
}

async fn messages(
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
    let answer = dispatcher.call(session, operation, Some(&ask)).await?;
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
