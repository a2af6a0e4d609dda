//! `tools/call`: an operation by one of its names, or a tool of the fixture.

use std::rc::Rc;

use super::caller::Request;
use super::tasks;
use crate::dispatch::wrapping::{Wrapping, write_outcome, write_result};
use crate::dispatch::{Answer, Dispatcher, Reply, Run};
use crate::operations::{Operation, Touches};
use crate::rpc::jsonrpc;
use crate::rpc::mcp::ToolCall;
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
        let session = &request.caller.session;
        match self.run(session, index, operation, arguments, &mut scratch) {
            Run::Ready(result) => {
                if let (Some(age), Ok(())) = (reuse, &result) {
                    let mut answer = Vec::new();
                    write_result(&mut answer, wrapping, &scratch);
                    self.recent
                        .borrow_mut()
                        .keep(index, wrapping, self.clock.get(), age, &answer);
                }
                write_outcome(out, id, wrapping, result.map(|()| scratch.as_slice()));
                Ok(Reply::Written)
            }
            Run::Later(later) => {
                let own_id = Box::<str>::from(id);
                let answer: Answer = Box::pin(async move {
                    let result = later.await;
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
