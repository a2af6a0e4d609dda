//! Every method and notification of MCP, and where each is answered.

use std::rc::Rc;

use super::caller::{Caller, Request};
use super::{completion, listen, prompts, resources, tasks};
use crate::dispatch::wrapping::Wrapping;
use crate::dispatch::{Dispatcher, Reply};
use crate::rpc::jsonrpc::{self, Call};
use crate::rpc::mcp::{Era, LogLevel, Params, ToolCall};
use crate::rpc::{Condition, Fault};

/// The method that most requests call.
pub(super) const TOOLS_CALL: &str = "tools/call";

/// True for methods that a legacy client may call only once it has sent `initialize`; operations
/// called directly and `ping` need none (SPEC 16).
pub(super) fn needs_initialize(method: &str) -> bool {
    let family = method.split('/').next().unwrap_or_default();
    matches!(
        family,
        "tools" | "resources" | "prompts" | "completion" | "logging"
    )
}

/// Handles a notification; one that is unknown or makes no sense is ignored (JSON-RPC 2.0, 4.1).
pub(in crate::dispatch) fn notified(caller: &Rc<Caller>, call: &Call<'_>) {
    if call.method == "notifications/cancelled"
        && let Ok(params) = Params::parse(call.params.as_deref())
        && let Some(id) = params.request_id.raw()
    {
        caller.cancel(id);
    }
}

impl Dispatcher {
    /// Answers a request whose era is known.
    pub(in crate::dispatch) fn answer(
        self: &Rc<Self>,
        request: Request<'_>,
        call: &Call<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Reply, Fault> {
        let params = call.params.as_deref();
        match (&*call.method, request.era) {
            (TOOLS_CALL, _) => return self.tool(request, &ToolCall::parse(params)?, out),
            ("tools/list", era) => {
                let page = self
                    .constants
                    .tools(era, request.caller.profile, &cursor(params)?);
                return constant(request, page?, out);
            }
            ("ping", Era::Legacy) => {
                return constant(request, self.constants.empty(Era::Legacy), out);
            }
            ("server/discover", Era::Modern) => {
                return constant(request, self.constants.discover(), out);
            }
            ("prompts/list", era) => {
                no_cursor(params)?;
                return constant(request, self.constants.prompts(era), out);
            }
            ("resources/templates/list", era) => {
                no_cursor(params)?;
                return constant(request, self.constants.templates(era), out);
            }
            ("prompts/get", _) => return prompts::get(self, request, params),
            ("resources/list", _) => return resources::list(self, request, params),
            ("resources/read", _) => return resources::read(self, request, params),
            ("completion/complete", _) => return completion::complete(self, request, params),
            ("resources/subscribe", Era::Legacy) => {
                return listen::subscribe(self, request, params);
            }
            ("resources/unsubscribe", Era::Legacy) => {
                listen::unsubscribe(request, params)?;
            }
            ("logging/setLevel", Era::Legacy) => {
                let level = Params::parse(params)?
                    .level
                    .string()
                    .map(|level| LogLevel::parse(&level));
                let level = level
                    .flatten()
                    .ok_or_else(|| LogLevel::unknown("params.level"))?;
                request.caller.log_level.set(Some(level));
            }
            ("subscriptions/listen", Era::Modern) => {
                return listen::listen(self, request, params);
            }
            ("tasks/get", Era::Modern) => return tasks::get(self, request, params),
            ("tasks/update", Era::Modern) => return tasks::update(self, request, params),
            ("tasks/cancel", Era::Modern) => return tasks::cancel(self, request, params),
            (method, era) => {
                let Some((index, operation)) = self.table.find(method) else {
                    let message = format!("there is no method {method}");
                    return Err(Fault::new(Condition::MethodNotFound, message));
                };
                let target = (index, operation, params);
                return self.operate(request, Wrapping::Direct(era), target, out);
            }
        }
        constant(request, self.constants.empty(request.era), out)
    }
}

/// Answers with a result that was written before.
fn constant(request: Request<'_>, result: &[u8], out: &mut Vec<u8>) -> Result<Reply, Fault> {
    jsonrpc::begin_result(out, request.id);
    out.extend_from_slice(result);
    jsonrpc::end_result(out);
    Ok(Reply::Written)
}

/// The cursor of a list request; empty for its first page.
pub(super) fn cursor(params: Option<&str>) -> Result<String, Fault> {
    let params = Params::parse(params)?;
    if !params.cursor.is_present() {
        return Ok(String::new());
    }
    let cursor = params.cursor.string().filter(|cursor| !cursor.is_empty());
    cursor.map(String::from).ok_or_else(foreign_cursor)
}

/// The fault of a cursor that no page of this list gave.
pub(super) fn foreign_cursor() -> Fault {
    Fault::new(
        Condition::InvalidArguments,
        "params.cursor is not one of this list",
    )
}

/// Refuses the cursor of a list that has one page, so that none was ever given out.
fn no_cursor(params: Option<&str>) -> Result<(), Fault> {
    match cursor(params)?.is_empty() {
        true => Ok(()),
        false => Err(foreign_cursor()),
    }
}
