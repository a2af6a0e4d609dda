//! How an operation's result becomes an answer.

use super::mcp::Request;
use super::{Answer, Reply};
use crate::rpc::mcp::{self, Era};
use crate::rpc::{Condition, Fault, jsonrpc};

/// How an operation was called, which decides how its result is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrapping {
    /// `tools/call`.
    Tool(Era),
    /// The operation's own method.
    Direct(Era),
}

impl Wrapping {
    /// Wrappings that there are.
    pub(super) const COUNT: usize = 4;

    /// The wrapping's place below [`Wrapping::COUNT`].
    pub(super) fn index(self) -> usize {
        match self {
            Self::Tool(era) => era as usize,
            Self::Direct(era) => 2 + era as usize,
        }
    }
}

/// Appends the answer to a call of an operation.
pub(super) fn write_outcome(
    out: &mut Vec<u8>,
    id: &str,
    wrapping: Wrapping,
    result: Result<&[u8], Fault>,
) {
    match (wrapping, result) {
        (_, Ok(object)) => {
            out.reserve(2 * object.len() + 128);
            jsonrpc::begin_result(out, id);
            write_result(out, wrapping, object);
            jsonrpc::end_result(out);
        }
        (Wrapping::Tool(era), Err(fault)) if is_mendable(fault.condition) => {
            jsonrpc::begin_result(out, id);
            mcp::write_tool_error(out, era, &fault);
            jsonrpc::end_result(out);
        }
        (_, Err(fault)) => jsonrpc::write_error(out, Some(id), &fault),
    }
}

/// Appends an operation's result as its caller wants it.
pub(super) fn write_result(out: &mut Vec<u8>, wrapping: Wrapping, object: &[u8]) {
    let object = std::str::from_utf8(object).expect("the JSON writer writes UTF-8");
    match wrapping {
        Wrapping::Tool(era) => mcp::write_tool_result(out, era, object, false),
        Wrapping::Direct(era) => mcp::write_direct_result(out, era, object),
    }
}

/// What a model can mend by another call is a tool's result; the rest is an error of the protocol
/// (SPEC 16).
pub(super) fn is_mendable(condition: Condition) -> bool {
    condition != Condition::Internal
}

/// Answers later with a result that is whole, or with a fault of the protocol.
pub(super) fn answer_later(
    request: Request<'_>,
    result: impl Future<Output = Result<Vec<u8>, Fault>> + 'static,
) -> Reply {
    let id = Box::<str>::from(request.id);
    let answer: Answer = Box::pin(async move {
        let mut out = Vec::new();
        match result.await {
            Ok(object) => {
                jsonrpc::begin_result(&mut out, &id);
                out.extend_from_slice(&object);
                jsonrpc::end_result(&mut out);
            }
            Err(fault) => jsonrpc::write_error(&mut out, Some(&id), &fault),
        }
        out
    });
    Reply::Later(request.caller.cancellable(request.id, answer))
}
