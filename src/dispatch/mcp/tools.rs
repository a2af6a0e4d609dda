//! `tools/call`: an operation by one of its names, or a tool of the fixture.

use std::rc::Rc;

use super::caller::Request;
use super::tasks;
use crate::delivery::Outlet;
use crate::dispatch::wrapping::{Wrapping, write_outcome, write_result};
use crate::dispatch::{Answer, Dispatcher, Reply, Run};
use crate::operations::{Operation, Touches};
use crate::rpc::jsonrpc;
use crate::rpc::mcp::{self, LogLevel, ToolCall};
use crate::rpc::{Condition, Fault};

impl Dispatcher {
    pub(in crate::dispatch) fn tool(
        self: &Rc<Self>,
        request: Request<'_>,
        call: &ToolCall<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Reply, Fault> {
        let (name, arguments) = call.target()?;
        let Some((index, operation)) = self.find_tool(name) else {
            #[cfg(feature = "conformance-fixture")]
            if let Some(reply) = super::fixture::call(self, request, call)? {
                return Ok(reply);
            }
            return Err(Fault::new(
                Condition::InvalidArguments,
                format!("Unknown tool: {name}"),
            ));
        };
        let meta_key = match operation.read_only {
            true => None,
            false => mcp::idempotency_key(&call.meta)?,
        };
        let request = match &meta_key {
            Some(key) => request.with_key(key)?,
            None => request,
        };
        let target = (index, operation, arguments);
        if let Some(reply) =
            tasks::begin_operation(self, request, &call.meta, (operation, arguments))?
        {
            return Ok(reply);
        }
        self.operate(request, Wrapping::Tool(request.era), target, out)
    }

    /// Runs an operation for a request.
    pub(super) fn operate(
        self: &Rc<Self>,
        request: Request<'_>,
        wrapping: Wrapping,
        (index, operation, arguments): (usize, &Operation, Option<&str>),
        out: &mut Vec<u8>,
    ) -> Result<Reply, Fault> {
        let id = request.id;
        let reuse = operation
            .reuse
            .filter(|_| arguments.is_none_or(|text| text == "{}"));
        if reuse.is_some()
            && let Some(result) = self.recent.borrow().get(index, wrapping, self.clock.get())
        {
            jsonrpc::begin_result(out, id);
            out.extend_from_slice(result);
            jsonrpc::end_result(out);
            self.reused(index);
            return Ok(Reply::Written);
        }
        let mut scratch = self.scratch.borrow_mut();
        match self.run(request, index, operation, arguments, &mut scratch) {
            Run::Ready(result) => {
                if let (Some(age), Ok(())) = (reuse, &result) {
                    let mut answer = Vec::new();
                    write_result(&mut answer, wrapping, &scratch);
                    self.recent
                        .borrow_mut()
                        .keep(index, wrapping, self.clock.get(), age, &answer);
                }
                narrate(narrator(request), operation.method, result.as_ref().err());
                write_outcome(out, id, wrapping, result.map(|()| scratch.as_slice()));
                Ok(Reply::Written)
            }
            Run::Later(later) => {
                let own_id = Box::<str>::from(id);
                let (narrator, method) = (narrator(request), operation.method);
                let answer: Answer = Box::pin(async move {
                    let result = later.await;
                    narrate(narrator, method, result.as_ref().err());
                    let mut out = Vec::new();
                    let result = result.as_deref().map_err(Clone::clone);
                    write_outcome(&mut out, &own_id, wrapping, result);
                    out
                });
                Ok(match operation.touches {
                    Touches::Named => Reply::Later(request.caller.cancellable(id, answer)),
                    // What changes who acts is not left half done.
                    Touches::Session => Reply::Alone(answer),
                })
            }
        }
    }
}

/// Who hears of calls: a legacy client that has set a level, and the level.
type Narrator = Option<(Outlet, LogLevel)>;

fn narrator(request: Request<'_>) -> Narrator {
    let level = request.caller.log_level.get()?;
    Some((request.outlet.clone(), level))
}

/// Tells a client that wants to hear it how a call went: what failed is a warning, what did not is
/// for developers.
fn narrate(narrator: Narrator, method: &str, fault: Option<&Fault>) {
    let Some((outlet, lowest)) = narrator else {
        return;
    };
    let level = match fault {
        Some(_) => LogLevel::Warning,
        None => LogLevel::Debug,
    };
    if level < lowest {
        return;
    }
    let mut data = Vec::new();
    match fault {
        Some(fault) => jsonrpc::write_error_object(&mut data, fault),
        None => data.extend_from_slice(b"\"done\""),
    }
    let mut out = Vec::new();
    mcp::write_log(&mut out, level, method, &String::from_utf8_lossy(&data));
    outlet.send(out);
}
