//! Required arguments that are not there: a client that can ask its user is asked to, the others
//! are told.

use std::collections::BTreeMap;

use sonic_rs::{JsonValueTrait, Value, json};

use super::super::caller::Request;
use super::super::input::{self, Needs};
use super::{Arguments, Get, Prompt, invalid};
use crate::delivery::Exchange;
use crate::dispatch::Dispatcher;
use crate::rpc::Fault;
use crate::rpc::mcp::Era;

/// The key of the one form.
const FORM: &str = "arguments";
const METHOD: &str = "elicitation/create";

/// What is to be done about missing arguments.
pub(super) enum Gaps {
    /// Nothing is missing.
    None,
    /// The result that asks a modern client.
    Ask(Vec<u8>),
    /// A request to a legacy client.
    Question(Question),
}

/// A form for a legacy client, to be sent while its request waits.
pub(super) struct Question {
    exchange: Exchange,
    form: String,
}

impl Question {
    /// Asks, and puts the answers among the arguments.
    pub(super) async fn put(
        &self,
        prompt: &Prompt,
        arguments: &mut Arguments,
    ) -> Result<(), Fault> {
        let gaps = missing(prompt, arguments);
        let answer = self.exchange.ask(METHOD, &self.form).await;
        let answer = answer.map_err(|error| absent(&gaps, &error.to_string()))?;
        let answer: Value = sonic_rs::from_str(&answer).unwrap_or_default();
        take(&answer, &gaps, arguments)?;
        match missing(prompt, arguments) {
            gaps if gaps.is_empty() => Ok(()),
            gaps => Err(absent(&gaps, "the form was not filled in")),
        }
    }
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

fn absent(gaps: &[&str], why: &str) -> Fault {
    let gaps = gaps.join(", ");
    invalid(format!("arguments are missing: {gaps} ({why})"))
}

/// Takes the answers of a form that was accepted.
fn take(response: &Value, gaps: &[&str], arguments: &mut Arguments) -> Result<(), Fault> {
    if response.get("action").as_str() != Some("accept") {
        return Err(absent(gaps, "the user gave none"));
    }
    for gap in gaps {
        if let Some(value) = response.get("content").and_then(|content| content.get(gap)) {
            arguments.0.insert(gap, value.clone());
        }
    }
    Ok(())
}

fn form(prompt: &Prompt, gaps: &[&str]) -> String {
    let fields = prompt.arguments.iter();
    let properties = fields
        .filter(|known| gaps.contains(&known.name))
        .map(|field| {
            let schema = json!({"type": "string", "description": field.description});
            (field.name, schema)
        });
    let properties: BTreeMap<_, _> = properties.collect();
    json!({
        "message": prompt.description,
        "requestedSchema": {"type": "object", "properties": properties, "required": gaps},
    })
    .to_string()
}

/// Finds what is missing, and fills it from what a modern client has answered already.
pub(super) fn fill(
    dispatcher: &Dispatcher,
    request: Request<'_>,
    params: &Get<'_>,
    prompt: &Prompt,
    arguments: &mut Arguments,
) -> Result<Gaps, Fault> {
    let gaps = missing(prompt, arguments);
    if gaps.is_empty() {
        return Ok(Gaps::None);
    }
    let exchange = request.exchange(&params.meta)?;
    if !exchange.capabilities.elicitation {
        return Err(absent(&gaps, "the client cannot be asked for them"));
    }
    if request.era == Era::Legacy {
        let form = form(prompt, &gaps);
        return Ok(Gaps::Question(Question { exchange, form }));
    }
    let seal = &dispatcher.services.seal;
    let given = params.arguments.raw().unwrap_or("{}");
    let binding = input::binding(request, "prompts/get", prompt.name, given);
    let (responses, state) = (&params.input_responses, &params.request_state);
    let inputs = input::read(seal, &binding, responses, state)?;
    if let Some(response) = inputs.get(FORM) {
        take(response, &gaps, arguments)?;
        if missing(prompt, arguments).is_empty() {
            return Ok(Gaps::None);
        }
    }
    let needs = Needs::default().ask(FORM, METHOD, &form(prompt, &gaps));
    Ok(Gaps::Ask(needs.write(seal, &binding)))
}
