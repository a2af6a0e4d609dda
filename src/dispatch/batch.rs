//! Batches: independent entries side by side, entries on the same resource in order, answers in
//! the order of the entries.

use std::collections::HashMap;
use std::rc::Rc;

use bumpalo::collections::Vec as ArenaVec;
use futures_util::future::join_all;
use serde::Deserialize;

use super::mcp::{Caller, Request, notified};
use super::{Answer, Dispatcher, Reply};
use crate::delivery::Outlet;
use crate::operations::Touches;
use crate::rpc::json::Member;
use crate::rpc::jsonrpc::{self, Call, Message};
use crate::rpc::mcp::{Era, ToolCall};
use crate::rpc::{Condition, Fault};

/// What names a resource in arguments.
#[derive(Deserialize)]
struct Names<'a> {
    #[serde(borrow, default)]
    id: Member<'a>,
    #[serde(borrow, default)]
    memory_id: Member<'a>,
    #[serde(borrow, default)]
    agent_id: Member<'a>,
}

/// Entries that run one after the other, each with its position in the batch.
type Chain = Vec<(usize, String)>;

/// The order that an entry needs.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Order {
    /// None.
    Free,
    /// After earlier entries of the same key.
    After(String),
    /// After all, and before all that follow.
    Alone,
}

impl Dispatcher {
    /// Answers a batch of the revision that has them.
    pub(super) fn batch(
        self: &Rc<Self>,
        caller: &Rc<Caller>,
        outlet: &Outlet,
        text: &str,
        out: &mut Vec<u8>,
    ) -> Reply {
        let (chains, alone) = match self.plan(text) {
            Ok(plan) => plan,
            Err(fault) => {
                self.metrics.protocol_violations.add(1);
                jsonrpc::write_error(out, None, &fault);
                return Reply::Written;
            }
        };
        let (dispatcher, caller) = (Rc::clone(self), Rc::clone(caller));
        let outlet = outlet.clone();
        let answer: Answer = Box::pin(async move {
            let answers = chains
                .into_iter()
                .map(|chain| dispatcher.follow(&caller, &outlet, chain));
            let mut answers: Vec<(usize, Vec<u8>)> =
                join_all(answers).await.into_iter().flatten().collect();
            answers.sort_unstable_by_key(|(position, _)| *position);
            join(&answers)
        });
        if alone {
            Reply::Alone(answer)
        } else {
            Reply::Later(answer)
        }
    }

    /// Splits the entries into chains: each runs in order, side by side with the others. The
    /// second value says that the batch changes who acts.
    fn plan(&self, text: &str) -> Result<(Vec<Chain>, bool), Fault> {
        // The iterator below stops at the closing bracket, so what follows it is checked first.
        sonic_rs::from_str::<serde::de::IgnoredAny>(text).map_err(|error| {
            let reason = crate::rpc::json::reason(&error);
            Fault::new(Condition::InvalidJson, format!("not JSON: {reason}"))
        })?;
        let entries_max = self.services.batch_max.get();
        let mut arena = self.arena.borrow_mut();
        arena.reset();
        let mut entries: ArenaVec<'_, (&str, Order)> = ArenaVec::new_in(&arena);
        for entry in sonic_rs::to_array_iter(text) {
            let entry = entry.map_err(|error| {
                Fault::new(
                    Condition::InvalidJson,
                    format!("not JSON: {}", crate::rpc::json::reason(&error)),
                )
            })?;
            if entries.len() == entries_max {
                let message = format!("a batch has at most {entries_max} entries");
                return Err(Fault::new(Condition::MessageTooLarge, message));
            }
            // Entries lie in the message, so the arena holds slices and keys only.
            let raw = entry.as_raw_cow();
            let raw: &str = arena.alloc_str(&raw);
            entries.push((raw, self.order(raw)));
        }
        if entries.is_empty() {
            return Err(Fault::new(
                Condition::InvalidRequest,
                "a batch has at least one entry",
            ));
        }
        if entries.iter().any(|(_, order)| *order == Order::Alone) {
            let all = entries
                .iter()
                .enumerate()
                .map(|(at, (raw, _))| (at, (*raw).to_owned()));
            return Ok((vec![all.collect()], true));
        }
        let mut chains: Vec<Chain> = Vec::new();
        let mut by_key: HashMap<&str, usize> = HashMap::new();
        for (position, (raw, order)) in entries.iter().enumerate() {
            let chain = match order {
                Order::After(key) => *by_key.entry(key).or_insert(chains.len()),
                Order::Free | Order::Alone => chains.len(),
            };
            if chain == chains.len() {
                chains.push(Vec::new());
            }
            chains[chain].push((position, (*raw).to_owned()));
        }
        Ok((chains, false))
    }

    fn order(&self, raw: &str) -> Order {
        let Ok(Message::Request { call, .. } | Message::Notification(call)) = jsonrpc::parse(raw)
        else {
            return Order::Free;
        };
        let params = call.params.as_deref();
        let Ok(tool) = ToolCall::parse(params) else {
            return Order::Free;
        };
        let target = if call.method == "tools/call" {
            tool.target().ok()
        } else {
            Some((&*call.method, params))
        };
        let Some((name, arguments)) = target else {
            return Order::Free;
        };
        let Some((_, operation)) = self.table.find(name) else {
            return Order::Free;
        };
        if operation.touches == Touches::Session {
            return Order::Alone;
        }
        let names = arguments.and_then(|arguments| sonic_rs::from_str::<Names<'_>>(arguments).ok());
        let key = names.and_then(|names| {
            names
                .id
                .into_raw()
                .or(names.memory_id.into_raw())
                .or(names.agent_id.into_raw())
                .map(String::from)
        });
        key.map_or(Order::Free, Order::After)
    }

    async fn follow(
        self: &Rc<Self>,
        caller: &Rc<Caller>,
        outlet: &Outlet,
        chain: Chain,
    ) -> Vec<(usize, Vec<u8>)> {
        let mut answers = Vec::with_capacity(chain.len());
        for (position, text) in chain {
            let mut out = Vec::new();
            match self.entry(caller, outlet, &text, &mut out) {
                Reply::Written => answers.push((position, out)),
                Reply::Silent | Reply::Stream => {}
                Reply::Later(answer) | Reply::Alone(answer) => {
                    answers.push((position, answer.await));
                }
            }
        }
        answers
    }

    fn entry(
        self: &Rc<Self>,
        caller: &Rc<Caller>,
        outlet: &Outlet,
        text: &str,
        out: &mut Vec<u8>,
    ) -> Reply {
        let (id, fault) = match jsonrpc::parse(text) {
            Ok(Message::Request { id, call }) => {
                match self.batched(caller, outlet, &id, &call, out) {
                    Ok(reply) => return reply,
                    Err(fault) => (Some(id.into_owned()), fault),
                }
            }
            Ok(Message::Notification(call)) => {
                notified(caller, &call);
                return Reply::Silent;
            }
            Ok(Message::Response { id, outcome }) => {
                caller.answered(&id, outcome.as_deref().map_err(AsRef::as_ref));
                return Reply::Silent;
            }
            Ok(Message::Batch(_)) => (
                None,
                Fault::new(Condition::InvalidRequest, "a batch inside a batch"),
            ),
            Err(malformed) => (malformed.id, malformed.fault),
        };
        jsonrpc::write_error(out, id.as_deref(), &fault);
        Reply::Written
    }

    fn batched(
        self: &Rc<Self>,
        caller: &Rc<Caller>,
        outlet: &Outlet,
        id: &str,
        call: &Call<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Reply, Fault> {
        if call.method == "initialize" {
            return Err(Fault::new(
                Condition::InvalidRequest,
                "initialize stands outside of batches",
            ));
        }
        let request = Request {
            caller,
            era: Era::Legacy,
            id,
            outlet,
            key: None,
        };
        self.answer(request, call, out)
    }
}

/// The answers as one array; nothing if there are none (JSON-RPC 2.0, 6).
fn join(answers: &[(usize, Vec<u8>)]) -> Vec<u8> {
    if answers.is_empty() {
        return Vec::new();
    }
    let mut out = vec![b'['];
    for (_, answer) in answers {
        if out.len() > 1 {
            out.push(b',');
        }
        out.extend_from_slice(answer);
    }
    out.push(b']');
    out
}
