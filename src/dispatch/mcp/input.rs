//! Requests that need more input (MCP 2026-07-28, multi round-trip requests): the server answers
//! with what it wants to know, and the client makes the same request again with the answers.

use sonic_rs::{JsonContainerTrait, JsonValueTrait, Object, Value};

use super::caller::Request;
use crate::auth::Seal;
use crate::domain::Timestamp;
use crate::rpc::json::{self, Member};
use crate::rpc::mcp::{self, ClientCapabilities, Era};
use crate::rpc::{Condition, Fault};

/// What a client was asked for and gave.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    responses: Object,
    /// What the server let it carry.
    pub(super) state: Option<Vec<u8>>,
}

impl Inputs {
    /// The response to the request of this key, if it is there.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.responses.get(&key)
    }
}

/// What a request is about, which its state is bound to: who, which method, and everything of its
/// parameters that stays the same when it is made again.
pub(super) fn binding(request: Request<'_>, method: &str, name: &str, arguments: &str) -> String {
    let key = request.caller.session.agent();
    let mut binding = format!("{}\n{}\n{method}\n{name}\n", key.namespace, key.agent);
    match sonic_rs::from_str::<Value>(arguments) {
        Ok(value) => write_sorted(&mut binding, &value),
        Err(_) => binding.push_str(arguments),
    }
    binding
}

/// JSON with the members of objects in order: a client need not keep theirs.
fn write_sorted(out: &mut String, value: &Value) {
    if let Some(object) = value.as_object() {
        let mut members: Vec<_> = object.iter().collect();
        members.sort_unstable_by_key(|(name, _)| *name);
        out.push('{');
        for (name, value) in members {
            out.push_str(&format!("{name:?}:"));
            write_sorted(out, value);
            out.push(',');
        }
        out.push('}');
    } else if let Some(array) = value.as_array() {
        out.push('[');
        for value in array.iter() {
            write_sorted(out, value);
            out.push(',');
        }
        out.push(']');
    } else {
        out.push_str(&value.to_string());
    }
}

fn seconds() -> u64 {
    u64::try_from(Timestamp::now().as_micros() / 1_000_000).unwrap_or(0)
}

/// Reads what a client gave with a request that it makes again.
pub(super) fn read(
    seal: &Seal,
    binding: &str,
    responses: &Member<'_>,
    state: &Member<'_>,
) -> Result<Inputs, Fault> {
    let invalid = |message: String| Fault::new(Condition::InvalidArguments, message);
    let mut inputs = Inputs::default();
    if responses.is_present() {
        let value: Option<Value> = responses.raw().and_then(|raw| sonic_rs::from_str(raw).ok());
        let object = value.and_then(|value| value.into_object());
        let object = object.filter(|object| object.iter().all(|(_, value)| value.is_object()));
        inputs.responses = object.ok_or_else(|| {
            invalid("params.inputResponses must be an object of result objects".into())
        })?;
    }
    if state.is_present() {
        let text = state.string().unwrap_or_default();
        let opened = seal.open(&text, binding, seconds());
        let opened = opened.map_err(|error| invalid(format!("params.requestState {error}")))?;
        inputs.state = Some(opened);
    }
    Ok(inputs)
}

/// What is asked of the client: JSON-RPC requests by key, and a state to carry.
#[derive(Debug, Default)]
pub(super) struct Needs {
    requests: Vec<(&'static str, &'static str, String)>,
    pub(super) state: Option<Vec<u8>>,
}

impl Needs {
    /// Asks for one thing more; `params` is the text of a JSON object.
    pub(super) fn ask(mut self, key: &'static str, method: &'static str, params: &str) -> Self {
        self.requests.push((key, method, params.to_owned()));
        self
    }

    /// Lets the client carry a state.
    #[cfg_attr(
        not(feature = "conformance-fixture"),
        expect(dead_code, reason = "workflows will use it")
    )]
    pub(super) fn carry(mut self, state: &[u8]) -> Self {
        self.state = Some(state.to_vec());
        self
    }

    /// Refuses to ask for what the client did not say it can answer.
    #[cfg_attr(
        not(feature = "conformance-fixture"),
        expect(dead_code, reason = "workflows will use it")
    )]
    pub(super) fn check(&self, can: ClientCapabilities) -> Result<(), Fault> {
        for (_, method, _) in &self.requests {
            let (declared, required) = match *method {
                "elicitation/create" => (can.elicitation, "{\"elicitation\":{}}"),
                "sampling/createMessage" => (can.sampling, "{\"sampling\":{}}"),
                _ => (can.roots, "{\"roots\":{}}"),
            };
            if !declared {
                return Err(ClientCapabilities::missing(required));
            }
        }
        Ok(())
    }

    /// The requests as the text of a JSON object.
    pub(super) fn requests(&self) -> String {
        let mut out = b"{".to_vec();
        for (key, method, params) in &self.requests {
            if out.len() > 1 {
                out.push(b',');
            }
            json::write_string(&mut out, key);
            out.extend_from_slice(b":{\"method\":");
            json::write_string(&mut out, method);
            out.extend_from_slice(b",\"params\":");
            out.extend_from_slice(params.as_bytes());
            out.push(b'}');
        }
        out.push(b'}');
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    /// The result that asks.
    pub(super) fn write(&self, seal: &Seal, binding: &str) -> Vec<u8> {
        let mut out = b"{\"resultType\":\"input_required\"".to_vec();
        if !self.requests.is_empty() {
            out.extend_from_slice(b",\"inputRequests\":");
            out.extend_from_slice(self.requests().as_bytes());
        }
        if let Some(state) = &self.state {
            out.extend_from_slice(b",\"requestState\":");
            json::write_string(&mut out, &seal.close(state, binding, seconds()));
        }
        mcp::end_object(&mut out, Era::Modern);
        out
    }
}
