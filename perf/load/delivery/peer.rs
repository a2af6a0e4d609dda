//! Clients that take deliveries: their welcome, what they are sent, what they say of it.

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::connection::Event;
use crate::fleet::Fleet;
use crate::jsonrpc::{self, FIRST_ID};
use crate::target::Target;

/// Others who load the server at the same time are elsewhere: a broadcast is for these alone.
const NAMESPACE: &str = "load";
const WELCOME_SECONDS_MAX: u64 = 30;

/// What a client needs to take its session up again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Welcome {
    pub(crate) session_id: String,
    pub(crate) epoch: u64,
    pub(crate) resume_token: String,
}

/// A delivery as it came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Delivery<'a> {
    pub(crate) seq: u64,
    pub(crate) delivery: u64,
    pub(crate) body: &'a [u8],
}

/// Opens connections up to `count` in all, as the agents that `agent` names, and reads their welcomes.
pub(crate) fn open(
    fleet: &mut Fleet,
    target: &Target,
    count: usize,
    agent: impl Fn(usize) -> String,
) -> anyhow::Result<Vec<Welcome>> {
    let mut heard: Vec<Option<Welcome>> = vec![None; count];
    let mut missing = count - fleet.alive();
    let first = fleet.alive();
    let mut hear = |index: usize, text: &[u8]| {
        if let Some(welcome) = welcome(text) {
            heard[index] = Some(welcome);
            missing -= 1;
        }
        missing == 0
    };
    let headers = |index| {
        let agent = agent(index);
        format!("X-Agent-ID: {agent}\r\nX-Agent-Namespace: {NAMESPACE}\r\n")
    };
    let mut all = false;
    fleet.open_and_hear(target, count, headers, |index, text| {
        all = hear(index, text)
    })?;
    if !all {
        fleet.run_until(WELCOME_SECONDS_MAX, |index, event, _, _| match event {
            Event::Text(text) => hear(index, text),
            Event::Open | Event::Accepted | Event::Closed(_) => false,
        })?;
    }
    let welcomes: Vec<Welcome> = heard.into_iter().skip(first).flatten().collect();
    if welcomes.len() < count - first {
        bail!(
            "{} sessions were not welcomed",
            count - first - welcomes.len()
        );
    }
    Ok(welcomes)
}

fn welcome(text: &[u8]) -> Option<Welcome> {
    let mut message: Value = serde_json::from_slice(text).ok()?;
    if message["method"] != "notifications/session/welcome" {
        return None;
    }
    serde_json::from_value(message["params"].take()).ok()
}

/// The delivery in a message, if it is one, as our server lays it out: the body comes last.
pub(crate) fn delivery(text: &[u8]) -> Option<Delivery<'_>> {
    let head = br#"{"jsonrpc":"2.0","method":"notifications/delivery","params":{"epoch":"#;
    let rest = text.strip_prefix(head)?;
    let (_, rest) = number(rest)?;
    let (seq, rest) = number(rest.strip_prefix(br#","seq":"#)?)?;
    let (delivery, rest) = number(rest.strip_prefix(br#","delivery":"#)?)?;
    let name = br#""body":"#;
    let at = rest.windows(name.len()).position(|window| window == name)?;
    let body = rest[at + name.len()..].strip_suffix(b"}}")?;
    Some(Delivery {
        seq,
        delivery,
        body,
    })
}

fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit())?;
    let number = std::str::from_utf8(&text[..end]).ok()?.parse().ok()?;
    Some((number, &text[end..]))
}

/// The body of message `n`, of about so many bytes.
pub(crate) fn body(n: u64, bytes: usize) -> String {
    let rest = bytes.saturating_sub(br#"{"n":1000000000,"text":""}"#.len());
    format!(r#"{{"n":{},"text":"{}"}}"#, FIRST_ID + n, "x".repeat(rest))
}

/// Settles everything up to a place.
pub(crate) fn ack(n: u64, up_to: u64) -> Vec<u8> {
    let id = FIRST_ID + n;
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"session/ack","params":{{"up_to":{up_to}}}}}"#)
        .into_bytes()
}

#[derive(Deserialize)]
struct Settled {
    accepted: u64,
}

/// How many deliveries the answer to an acknowledgement says were settled.
pub(crate) fn accepted(answer: &[u8]) -> anyhow::Result<u64> {
    let (_, settled): (u64, Settled) =
        jsonrpc::result(answer).with_context(|| String::from_utf8_lossy(answer).into_owned())?;
    Ok(settled.accepted)
}

/// A broadcast to the sender's namespace.
pub(crate) fn broadcast(n: u64, durable: bool, body: &str) -> Vec<u8> {
    let id = FIRST_ID + n;
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"agent/broadcast","params":{{"durable":{durable},"body":{body}}}}}"#
    )
    .into_bytes()
}

/// Is this the answer to a send to so many agents?
pub(crate) fn is_sent(answer: &[u8], recipients: usize) -> bool {
    let end = format!(r#""recipients":{recipients}}}}}"#);
    jsonrpc::id_of_result(answer).is_some() && answer.ends_with(end.as_bytes())
}
