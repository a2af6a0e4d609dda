//! Prompts: what an agent is asked to do, with what the memory knows put beside it (SPEC 4.1).

mod messages;
mod missing;

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use sonic_rs::{JsonContainerTrait, JsonValueTrait, Value};

use missing::Gaps;

use super::caller::Request;
use crate::dispatch::wrapping::answer_later;
use crate::dispatch::{Dispatcher, Reply};
use crate::rpc::json::{self, Member, Text};
use crate::rpc::mcp::{self, Era};
use crate::rpc::{Condition, Fault};

/// A row of `prompts/list`.
#[derive(Debug, Serialize)]
pub(in crate::dispatch::mcp) struct Prompt {
    pub(in crate::dispatch::mcp) name: &'static str,
    pub(in crate::dispatch::mcp) title: &'static str,
    pub(in crate::dispatch::mcp) description: &'static str,
    pub(in crate::dispatch::mcp) arguments: Vec<Argument>,
}

/// What a prompt asks for.
#[derive(Debug, Serialize)]
pub(in crate::dispatch::mcp) struct Argument {
    pub(in crate::dispatch::mcp) name: &'static str,
    pub(in crate::dispatch::mcp) description: &'static str,
    pub(in crate::dispatch::mcp) required: bool,
}

fn argument(name: &'static str, description: &'static str, required: bool) -> Argument {
    Argument {
        name,
        description,
        required,
    }
}

/// All prompts.
pub(in crate::dispatch::mcp) fn rows() -> Vec<Prompt> {
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
pub(in crate::dispatch::mcp) struct Get<'a> {
    #[serde(borrow, default, rename = "_meta")]
    pub(in crate::dispatch::mcp) meta: Member<'a>,
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow, default)]
    arguments: Member<'a>,
    #[serde(borrow, default, rename = "inputResponses")]
    pub(in crate::dispatch::mcp) input_responses: Member<'a>,
    #[serde(borrow, default, rename = "requestState")]
    pub(in crate::dispatch::mcp) request_state: Member<'a>,
}

/// The arguments of a prompt, checked against its row.
pub(in crate::dispatch::mcp) struct Arguments(Value);

impl Arguments {
    /// The text of an argument, if it was given.
    pub(in crate::dispatch::mcp) fn get(&self, name: &str) -> Option<&str> {
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

/// Answers `prompts/get`.
pub(in crate::dispatch::mcp) fn get(
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
    let gaps = missing::fill(dispatcher, request, &params, &prompt, &mut arguments)?;
    let question = match gaps {
        Gaps::None => None,
        Gaps::Ask(result) => return Ok(answer_later(request, async { Ok(result) })),
        Gaps::Question(question) => Some(question),
    };
    #[cfg(feature = "conformance-fixture")]
    if let Some(reply) = super::fixture::prompt(dispatcher, request, &params, &prompt, &arguments)?
    {
        return Ok(reply);
    }
    let dispatcher = Rc::clone(dispatcher);
    let session = Rc::clone(&request.caller.session);
    let era = request.era;
    Ok(answer_later(request, async move {
        if let Some(question) = question {
            question.put(&prompt, &mut arguments).await?;
        }
        let messages = messages::of(&dispatcher, &session, prompt.name, &arguments).await?;
        Ok(write(era, prompt.description, &messages))
    }))
}

/// Writes the result: content blocks, each a message of the user.
pub(in crate::dispatch::mcp) fn write(era: Era, description: &str, blocks: &[Vec<u8>]) -> Vec<u8> {
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
pub(in crate::dispatch::mcp) fn text(text: &str) -> Vec<u8> {
    let mut out = b"{\"type\":\"text\",\"text\":".to_vec();
    json::write_string(&mut out, text);
    out.push(b'}');
    out
}
