//! A row of the table.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use schemars::{JsonSchema, Schema};
use serde::Serialize;

use super::arguments::Arguments;
use super::idempotency::{Repeats, Rule, claimed, encoded, kept_in_session};
use super::services::Context;
use super::{arguments, idempotency, schema};
use crate::rpc::{Condition, Fault, json};

/// What a caller must be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Open to everyone who is connected.
    None,
    /// Read memories.
    MemoryRead,
    /// Write memories.
    MemoryWrite,
    /// Read agents.
    AgentRead,
    /// Change one's own registration or identity.
    AgentSend,
    /// Read the server's state.
    SystemRead,
    /// Change the server itself.
    Admin,
}

impl Scope {
    /// The scope's name in tokens.
    pub fn as_str(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::MemoryRead => Some("memory:read"),
            Self::MemoryWrite => Some("memory:write"),
            Self::AgentRead => Some("agent:read"),
            Self::AgentSend => Some("agent:send"),
            Self::SystemRead => Some("system:read"),
            Self::Admin => Some("admin"),
        }
    }
}

/// How MCP shows an operation.
#[derive(Debug, Clone, Copy)]
pub struct Tool {
    /// The tool's name.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// In the core profile too.
    pub core: bool,
}

/// What an operation touches. Entries of a batch that touch the same keep their order; the others
/// run side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touches {
    /// The thing that its arguments name by `id`, `memory_id` or `agent_id`; nothing without one.
    Named,
    /// The caller's session, on which every other entry depends.
    Session,
}

/// What a call leads to.
pub enum Outcome {
    /// The result's JSON was appended, or nothing was.
    Ready(Result<(), Fault>),
    /// The result's JSON, once the store has answered.
    Later(Later),
}

/// A call under way on its shard.
pub type Later = Pin<Box<dyn Future<Output = Result<Vec<u8>, Fault>>>>;

/// A typed result under way.
pub(super) type Pending<R> = Pin<Box<dyn Future<Output = Result<R, Fault>>>>;

type Run = Box<dyn Fn(&Context<'_>, Rule, Option<&str>, &mut Vec<u8>) -> Outcome + Send + Sync>;

/// As [`Run`]; `None` if it runs no further than that.
type Whole = Box<dyn Fn(&Context<'_>, Option<&str>) -> Option<Outcome> + Send + Sync>;

/// One operation.
pub struct Operation {
    /// Its method name, `noun/verb`.
    pub method: &'static str,
    /// Other names, as methods and as tools.
    pub aliases: &'static [&'static str],
    /// As a tool; some operations have none.
    pub tool: Option<Tool>,
    /// For models: what it does and when to use it.
    pub description: &'static str,
    /// What the caller must be allowed to do.
    pub scope: Scope,
    /// Units of the rate limit.
    pub cost: u32,
    /// Changes nothing.
    pub read_only: bool,
    /// May remove something.
    pub destructive: bool,
    /// The same call again changes nothing more.
    pub idempotent: bool,
    /// What it touches, which keeps the order of a batch.
    pub touches: Touches,
    /// Often waits for nothing, so it is tried where it was read. What always waits is not: its client may cancel it
    /// in the same breath.
    pub at_once: bool,
    /// How old an answer without arguments may be: it is the same for every caller, and thousands
    /// of agents poll it.
    pub reuse: Option<Duration>,
    /// Makes the schema of the arguments: a server starts without.
    pub arguments: fn() -> Schema,
    /// Makes the schema of the result.
    pub result: fn() -> Schema,
    run: Run,
    /// Runs it to its end, where it answers before.
    whole: Option<Whole>,
    /// How a call is answered that is repeated under its key.
    pub(super) repeats: Repeats,
}

impl Operation {
    /// Runs the operation with the JSON text of its arguments.
    pub fn run(
        &self,
        context: &Context<'_>,
        arguments: Option<&str>,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let rule = Rule {
            method: self.method,
            repeats: self.repeats,
        };
        (self.run)(context, rule, arguments, out)
    }

    /// True if it answers before its end, so that a task tells more.
    pub fn has_whole(&self) -> bool {
        self.whole.is_some()
    }

    /// Runs the operation to its end instead of answering once it is under way; `None` if the two
    /// are the same, or if the call has an idempotency key: its result, and no task, is kept. A client
    /// that follows tasks gets one of this.
    pub fn run_whole(&self, context: &Context<'_>, arguments: Option<&str>) -> Option<Outcome> {
        let whole = self.whole.as_ref()?;
        whole(context, arguments)
    }

    /// An operation whose answer is at hand.
    pub(super) fn ready<A, R>(
        method: &'static str,
        handler: fn(&Context<'_>, A) -> Result<R, Fault>,
    ) -> Self
    where
        A: Arguments + JsonSchema + 'static,
        R: Serialize + JsonSchema + 'static,
    {
        let run: Run = Box::new(move |context, rule, text, out| {
            Outcome::Ready(answered(context, rule, text, out, handler))
        });
        Self::row::<A, R>(method, run)
    }

    /// An operation that waits, for the store as a rule.
    pub(super) fn later<A, R>(
        method: &'static str,
        handler: fn(&Context<'_>, A) -> Result<Pending<R>, Fault>,
    ) -> Self
    where
        A: Arguments + JsonSchema + 'static,
        R: Serialize + JsonSchema + 'static,
    {
        Self::row::<A, R>(method, waiting(handler))
    }

    fn row<A: JsonSchema, R: JsonSchema>(method: &'static str, run: Run) -> Self {
        Self {
            method,
            aliases: &[],
            tool: None,
            description: "",
            scope: Scope::None,
            cost: 1,
            read_only: true,
            destructive: false,
            idempotent: true,
            touches: Touches::Named,
            at_once: false,
            reuse: None,
            whole: None,
            repeats: Repeats::Again,
            arguments: schema::of_arguments::<A>,
            result: schema::of_result::<R>,
            run,
        }
    }

    pub(super) fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    pub(super) fn tool(mut self, name: &'static str, title: &'static str) -> Self {
        self.tool = Some(Tool {
            name,
            title,
            core: false,
        });
        self
    }

    pub(super) fn core_tool(mut self, name: &'static str, title: &'static str) -> Self {
        self.tool = Some(Tool {
            name,
            title,
            core: true,
        });
        self
    }

    pub(super) fn describe(mut self, description: &'static str) -> Self {
        self.description = description;
        self
    }

    pub(super) fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    pub(super) fn reuse(mut self, age: Duration) -> Self {
        self.reuse = Some(age);
        self
    }

    /// Marks an operation that often waits for nothing.
    pub(super) fn at_once(mut self) -> Self {
        self.at_once = true;
        self
    }

    pub(super) fn touches(mut self, touches: Touches) -> Self {
        self.touches = touches;
        self
    }

    /// Says how it runs to its end, for clients that follow tasks.
    pub(super) fn whole<A, R>(
        mut self,
        handler: fn(&Context<'_>, A) -> Result<Pending<R>, Fault>,
    ) -> Self
    where
        A: Arguments + 'static,
        R: Serialize + 'static,
    {
        self.whole = Some(Box::new(move |context, text| {
            let begun = arguments::parse::<A>(text).and_then(|typed| {
                let keys = typed.keys();
                let has_key = [context.key, keys.meta, keys.argument]
                    .iter()
                    .any(Option::is_some);
                (!has_key).then(|| handler(context, typed)).transpose()
            });
            Some(match begun.transpose()? {
                Err(fault) => Outcome::Ready(Err(fault)),
                Ok(pending) => Outcome::Later(Box::pin(async move { encoded(&pending.await?) })),
            })
        }));
        self
    }

    pub(super) fn cost(mut self, cost: u32) -> Self {
        self.cost = cost;
        self
    }

    /// Marks an operation that changes something by one write of the store, of which it makes its
    /// result.
    pub(super) fn writes(mut self, idempotent: bool) -> Self {
        self.read_only = false;
        self.idempotent = idempotent;
        self.repeats = Repeats::Replay;
        self
    }

    /// Says that a repetition of what changes something must be given the result that is kept.
    pub(super) fn keeps_result(mut self) -> Self {
        self.repeats = Repeats::Result { of_session: false };
        self
    }

    /// The same, where the caller's session says what the arguments mean.
    pub(super) fn keeps_result_of_session(mut self) -> Self {
        self.repeats = Repeats::Result { of_session: true };
        self
    }

    /// Says that it changes the caller's session only, and that its result is kept there.
    pub(super) fn changes_session(mut self) -> Self {
        self.repeats = Repeats::InSession;
        self
    }

    pub(super) fn destroys(mut self) -> Self {
        self.destructive = true;
        self.writes(true)
    }
}

/// Answers a call at once.
fn answered<A: Arguments, R: Serialize>(
    context: &Context<'_>,
    rule: Rule,
    text: Option<&str>,
    out: &mut Vec<u8>,
    handler: fn(&Context<'_>, A) -> Result<R, Fault>,
) -> Result<(), Fault> {
    let typed: A = arguments::parse(text)?;
    let Some(keyed) = claimed(context, rule, typed.keys(), text)? else {
        return write(out, &handler(context, typed)?);
    };
    // What is at hand without the store changes the session at most.
    if let Some(result) = kept_in_session(context, &keyed)? {
        out.extend_from_slice(&result);
        return Ok(());
    }
    let result = encoded(&handler(context, typed)?)?;
    context.session.keep(&keyed, &result);
    out.extend_from_slice(&result);
    Ok(())
}

fn waiting<A, R>(handler: fn(&Context<'_>, A) -> Result<Pending<R>, Fault>) -> Run
where
    A: Arguments + 'static,
    R: Serialize + 'static,
{
    Box::new(move |context, rule, text, _| {
        let begun = arguments::parse::<A>(text).and_then(|typed| {
            if let Some(keyed) = claimed(context, rule, typed.keys(), text)? {
                return idempotency::run(context, rule.repeats, keyed, typed, handler);
            }
            let pending = handler(context, typed)?;
            let later: Later = Box::pin(async move { encoded(&pending.await?) });
            Ok(later)
        });
        match begun {
            Err(fault) => Outcome::Ready(Err(fault)),
            Ok(later) => Outcome::Later(later),
        }
    })
}

/// Appends a result's JSON.
pub(super) fn write<R: Serialize>(out: &mut Vec<u8>, result: &R) -> Result<(), Fault> {
    json::write(out, result).map_err(|error| {
        tracing::error!(%error, "a result could not be written as JSON");
        Fault::new(Condition::Internal, "the result could not be written")
    })
}
