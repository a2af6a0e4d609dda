//! MCP over a connection: which era it speaks, and what each method answers.

use std::rc::Rc;

use super::wrapping::{Wrapping, write_outcome, write_result};
use super::{Answer, Dispatcher, Reply, Run};
use crate::config::ToolProfile;
use crate::delivery::Session;
use crate::operations::{Operation, Touches};
use crate::rpc::jsonrpc::{self, Call, Message};
use crate::rpc::mcp::{self, Era, Params, ToolCall, ToolsCall};
use crate::rpc::{Condition, Fault};

/// The protocol's state on one connection.
pub struct McpConnection {
    pub(super) session: Rc<Session>,
    profile: ToolProfile,
    phase: Phase,
    /// The latest request was a `tools/call`, so the next one is read as one first.
    calls_tools: bool,
}

/// What the requests so far have fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No request has come.
    New,
    /// The legacy era, before `initialize`.
    Legacy,
    /// The legacy era at the negotiated revision.
    Initialized(&'static str),
    /// The modern era.
    Modern,
}

/// The method that most requests call.
const TOOLS_CALL: &str = "tools/call";

impl McpConnection {
    /// A connection on which nothing has been said.
    pub fn new(session: Rc<Session>, profile: ToolProfile) -> Self {
        Self {
            session,
            profile,
            phase: Phase::New,
            calls_tools: false,
        }
    }

    /// The session of this connection.
    pub fn session(&self) -> &Rc<Session> {
        &self.session
    }

    /// Handles one text message; an answer at hand is appended to `out`.
    pub fn receive(&mut self, dispatcher: &Rc<Dispatcher>, text: &str, out: &mut Vec<u8>) -> Reply {
        let received = &self.session.messages_received;
        received.set(received.get() + 1);
        if self.calls_tools {
            if let Some((id, call)) = jsonrpc::parse_request::<ToolsCall, ToolCall<'_>>(text) {
                return self.tool_call(dispatcher, &id, &call, out);
            }
            self.calls_tools = false;
        }
        match jsonrpc::parse(text) {
            Ok(Message::Request { id, call }) => self.request(dispatcher, &id, &call, out),
            Ok(Message::Notification(_) | Message::Response) => Reply::Silent,
            Ok(Message::Batch(text)) => self.batch(dispatcher, text, out),
            Err(malformed) => {
                dispatcher.metrics.protocol_violations.add(1);
                jsonrpc::write_error(out, malformed.id.as_deref(), &malformed.fault);
                Reply::Written
            }
        }
    }

    /// Answers a `tools/call` that was read in one pass.
    fn tool_call(
        &mut self,
        dispatcher: &Rc<Dispatcher>,
        id: &str,
        call: &ToolCall<'_>,
        out: &mut Vec<u8>,
    ) -> Reply {
        let admitted = match self.phase {
            Phase::Modern => mcp::check_envelope(&call.meta).map(|()| Era::Modern),
            _ if mcp::is_enveloped(&call.meta) => Err(wrong_era()),
            _ => Ok(Era::Legacy),
        };
        admitted
            .and_then(|era| dispatcher.tool(&self.session, era, id, call, out))
            .unwrap_or_else(|fault| {
                jsonrpc::write_error(out, Some(id), &fault);
                Reply::Written
            })
    }

    fn batch(&mut self, dispatcher: &Rc<Dispatcher>, text: &str, out: &mut Vec<u8>) -> Reply {
        if self.phase == Phase::Initialized(mcp::BATCHES) {
            return dispatcher.batch(&self.session, self.profile, text, out);
        }
        dispatcher.metrics.protocol_violations.add(1);
        let message = format!("arrays are batches in revision {} only", mcp::BATCHES);
        jsonrpc::write_error(out, None, &Fault::new(Condition::InvalidRequest, message));
        Reply::Written
    }

    fn request(
        &mut self,
        dispatcher: &Rc<Dispatcher>,
        id: &str,
        call: &Call<'_>,
        out: &mut Vec<u8>,
    ) -> Reply {
        let answer = self.admit(call).and_then(|era| match &*call.method {
            "initialize" if era == Era::Legacy => self
                .initialize(dispatcher, id, call, out)
                .map(|()| Reply::Written),
            method => {
                self.calls_tools = method == TOOLS_CALL;
                dispatcher.answer(&self.session, self.profile, era, id, call, out)
            }
        });
        answer.unwrap_or_else(|fault| {
            jsonrpc::write_error(out, Some(id), &fault);
            Reply::Written
        })
    }

    /// Finds the era of a request and checks that it may come now.
    fn admit(&mut self, call: &Call<'_>) -> Result<Era, Fault> {
        if self.phase == Phase::New {
            self.phase = first_phase(call)?;
        }
        let method = &*call.method;
        match self.phase {
            Phase::Modern if method == "initialize" => Err(mcp::unsupported(
                Params::parse(call.params.as_deref())?
                    .version
                    .string()
                    .as_deref()
                    .unwrap_or(""),
            )),
            Phase::Modern => {
                mcp::check_envelope(&Params::parse(call.params.as_deref())?.meta)?;
                Ok(Era::Modern)
            }
            Phase::New | Phase::Legacy if method.starts_with("tools/") => Err(Fault::new(
                Condition::InvalidRequest,
                "send initialize first (or use revision 2026-07-28, which needs none)",
            )),
            Phase::New | Phase::Legacy | Phase::Initialized(_) => {
                if is_enveloped(call) {
                    return Err(wrong_era());
                }
                Ok(Era::Legacy)
            }
        }
    }

    fn initialize(
        &mut self,
        dispatcher: &Dispatcher,
        id: &str,
        call: &Call<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        if let Phase::Initialized(version) = self.phase {
            let message = format!("already initialized at revision {version}");
            return Err(Fault::new(Condition::InvalidRequest, message));
        }
        let params = Params::parse(call.params.as_deref())?;
        let Some(requested) = params.version.string() else {
            let message = "params.protocolVersion must be a string";
            return Err(Fault::new(Condition::InvalidArguments, message));
        };
        for (name, member) in [
            ("capabilities", &params.capabilities),
            ("clientInfo", &params.client),
        ] {
            if member.is_present() && !member.is_object() {
                let message = format!("params.{name} must be an object");
                return Err(Fault::new(Condition::InvalidArguments, message));
            }
        }
        if let Some(client) = params.client.raw() {
            self.session.set_client(client);
        }
        let version = mcp::negotiate(&requested);
        self.phase = Phase::Initialized(version);
        jsonrpc::begin_result(out, id);
        out.extend_from_slice(&dispatcher.constants.initialize(version));
        jsonrpc::end_result(out);
        Ok(())
    }
}

fn wrong_era() -> Fault {
    let message = "this connection speaks a revision before 2026-07-28 already";
    Fault::new(Condition::InvalidRequest, message)
}

/// The era that the first request fixes. A method that only the modern era has, without its
/// envelope, is refused and fixes nothing: the client may still fall back to `initialize`.
fn first_phase(call: &Call<'_>) -> Result<Phase, Fault> {
    if is_enveloped(call) {
        return Ok(Phase::Modern);
    }
    match &*call.method {
        "server/discover"
        | "subscriptions/listen"
        | "tasks/get"
        | "tasks/update"
        | "tasks/cancel" => mcp::check_envelope(&Params::parse(call.params.as_deref())?.meta)
            .map(|()| Phase::Modern),
        _ => Ok(Phase::Legacy),
    }
}

fn is_enveloped(call: &Call<'_>) -> bool {
    // A look at the text spares most requests the parse.
    call.params
        .as_deref()
        .filter(|params| params.contains("_meta") || params.contains('\\'))
        .and_then(|params| Params::parse(Some(params)).ok())
        .is_some_and(|params| mcp::is_enveloped(&params.meta))
}

impl Dispatcher {
    /// Answers a request whose era is known.
    pub(super) fn answer(
        self: &Rc<Self>,
        session: &Rc<Session>,
        profile: ToolProfile,
        era: Era,
        id: &str,
        call: &Call<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Reply, Fault> {
        let constant = match (&*call.method, era) {
            (TOOLS_CALL, _) => {
                let call = ToolCall::parse(call.params.as_deref())?;
                return self.tool(session, era, id, &call, out);
            }
            ("tools/list", _) => {
                refuse_cursor(call)?;
                self.constants.tools(era, profile)
            }
            ("ping", Era::Legacy) => self.constants.empty(era),
            ("server/discover", Era::Modern) => self.constants.discover(),
            (method, _) => {
                let Some((index, operation)) = self.table.find(method) else {
                    let message = format!("there is no method {method}");
                    return Err(Fault::new(Condition::MethodNotFound, message));
                };
                let arguments = call.params.as_deref();
                let target = (index, operation, arguments);
                return self.operate(session, Wrapping::Direct(era), id, target, out);
            }
        };
        jsonrpc::begin_result(out, id);
        out.extend_from_slice(constant);
        jsonrpc::end_result(out);
        Ok(Reply::Written)
    }

    pub(super) fn tool(
        self: &Rc<Self>,
        session: &Rc<Session>,
        era: Era,
        id: &str,
        call: &ToolCall<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Reply, Fault> {
        let (name, arguments) = call.target()?;
        let Some((index, operation)) = self.find_tool(name) else {
            return Err(Fault::new(
                Condition::InvalidArguments,
                format!("Unknown tool: {name}"),
            ));
        };
        self.operate(
            session,
            Wrapping::Tool(era),
            id,
            (index, operation, arguments),
            out,
        )
    }

    fn operate(
        self: &Rc<Self>,
        session: &Rc<Session>,
        wrapping: Wrapping,
        id: &str,
        (index, operation, arguments): (usize, &Operation, Option<&str>),
        out: &mut Vec<u8>,
    ) -> Result<Reply, Fault> {
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
                let id = Box::<str>::from(id);
                let answer: Answer = Box::pin(async move {
                    let result = later.await;
                    let mut out = Vec::new();
                    write_outcome(
                        &mut out,
                        &id,
                        wrapping,
                        result.as_deref().map_err(Clone::clone),
                    );
                    out
                });
                Ok(match operation.touches {
                    Touches::Named => Reply::Later(answer),
                    Touches::Session => Reply::Alone(answer),
                })
            }
        }
    }
}

fn refuse_cursor(call: &Call<'_>) -> Result<(), Fault> {
    // The list has one page, so no cursor was ever given out.
    if Params::parse(call.params.as_deref())?.cursor.is_present() {
        return Err(Fault::new(
            Condition::InvalidArguments,
            "params.cursor is not one of this list",
        ));
    }
    Ok(())
}
