//! MCP over a connection: which era it speaks, and what may come when.

use std::rc::Rc;

use super::caller::{Caller, Request};
use super::methods::{self, TOOLS_CALL};
use super::phase::{Phase, first_phase, is_enveloped};
use crate::config::ToolProfile;
use crate::delivery::{Outlet, Session};
use crate::dispatch::{Dispatcher, Reply};
use crate::rpc::jsonrpc::{self, Call, Message};
use crate::rpc::mcp::{self, ClientCapabilities, Era, Known, Params, Target, ToolCall, ToolsCall};
use crate::rpc::{Condition, Fault};

/// The protocol's state on one connection, or in one session of HTTP.
pub struct McpConnection {
    caller: Rc<Caller>,
    phase: Phase,
    /// The latest request was a `tools/call`, so the next one is read as one first.
    calls_tools: bool,
}

/// How a message came, besides its text.
#[derive(Clone, Copy)]
pub struct Way<'a> {
    /// Where messages go that belong to the request.
    pub outlet: &'a Outlet,
    /// The idempotency key that the wire carries beside the message.
    pub key: Option<&'a str>,
}

impl<'a> Way<'a> {
    /// By a connection that carries nothing else.
    fn of(outlet: &'a Outlet) -> Self {
        Self { outlet, key: None }
    }
}

impl McpConnection {
    /// A connection on which nothing has been said.
    pub fn new(session: Rc<Session>, profile: ToolProfile, outlet: Outlet) -> Self {
        Self::at(Phase::New, session, profile, outlet)
    }

    /// One modern request, whose wire says so.
    pub fn modern(session: Rc<Session>, profile: ToolProfile, outlet: Outlet) -> Self {
        Self::at(Phase::ModernAlone, session, profile, outlet)
    }

    /// A session of the legacy era, whose wire says so.
    pub fn legacy(session: Rc<Session>, profile: ToolProfile, outlet: Outlet) -> Self {
        Self::at(Phase::Legacy, session, profile, outlet)
    }

    fn at(phase: Phase, session: Rc<Session>, profile: ToolProfile, outlet: Outlet) -> Self {
        Self {
            caller: Rc::new(Caller::new(session, profile, outlet)),
            phase,
            calls_tools: false,
        }
    }

    /// The session of this connection.
    pub fn session(&self) -> &Rc<Session> {
        &self.caller.session
    }

    /// The revision that `initialize` has fixed.
    pub fn revision(&self) -> Option<&'static str> {
        match self.phase {
            Phase::Initialized(version) => Some(version),
            Phase::New | Phase::Legacy | Phase::Modern | Phase::ModernAlone => None,
        }
    }

    /// True if the client waits for changes.
    pub fn is_subscribed(&self) -> bool {
        !self.caller.watches.borrow().is_empty()
    }

    /// Ends every subscription; the last message of each is for the client, as the server stops.
    pub fn end_subscriptions(&self) -> Vec<Vec<u8>> {
        let watches = self.caller.watches.take();
        let ids = watches.iter().filter_map(|watch| watch.id());
        ids.map(super::listen::end).collect()
    }

    /// Handles one text message; an answer at hand is appended to `out`.
    pub fn receive(&mut self, dispatcher: &Rc<Dispatcher>, text: &str, out: &mut Vec<u8>) -> Reply {
        let caller = Rc::clone(&self.caller);
        self.receive_on(dispatcher, text, out, Way::of(&caller.outlet))
    }

    /// The same, for a wire with a way of its own for each message.
    pub fn receive_on(
        &mut self,
        dispatcher: &Rc<Dispatcher>,
        text: &str,
        out: &mut Vec<u8>,
        way: Way<'_>,
    ) -> Reply {
        let received = &self.session().messages_received;
        received.set(received.get() + 1);
        let known = dispatcher.parses.borrow_mut().find(text);
        if let Some(known) = known.filter(|known| self.phase.admits(known.era)) {
            return self.known(dispatcher, &known, out, way);
        }
        if self.calls_tools {
            if let Some((id, call)) = jsonrpc::parse_request::<ToolsCall, ToolCall<'_>>(text) {
                return self.tool_call(dispatcher, (text, &id), &call, out, way);
            }
            self.calls_tools = false;
        }
        match jsonrpc::parse(text) {
            Ok(Message::Request { id, call }) => {
                self.request(dispatcher, (text, &id), &call, out, way)
            }
            Ok(Message::Notification(call)) => {
                methods::notified(&self.caller, &call);
                Reply::Silent
            }
            Ok(Message::Response { id, outcome }) => {
                let outcome = outcome.as_deref().map_err(AsRef::as_ref);
                self.caller.answered(&id, outcome);
                Reply::Silent
            }
            Ok(Message::Batch(text)) => self.batch(dispatcher, text, out, way),
            Err(malformed) => {
                dispatcher.metrics.protocol_violations.add(1);
                jsonrpc::write_error(out, malformed.id.as_deref(), &malformed.fault);
                Reply::Written
            }
        }
    }

    /// Answers a request whose text was read before.
    fn known(
        &mut self,
        dispatcher: &Rc<Dispatcher>,
        known: &Known<'_>,
        out: &mut Vec<u8>,
        way: Way<'_>,
    ) -> Reply {
        let request = Request {
            caller: &self.caller,
            era: known.era,
            id: known.id,
            outlet: way.outlet,
            key: way.key,
        };
        let answer = match &known.target {
            Target::Tool(call) => dispatcher.tool(request, call, out),
            Target::Method(call) => dispatcher.answer(request, call, out),
        };
        self.calls_tools = matches!(known.target, Target::Tool(_));
        answer.unwrap_or_else(|fault| {
            jsonrpc::write_error(out, Some(known.id), &fault);
            Reply::Written
        })
    }

    /// Answers a `tools/call` that was read in one pass.
    fn tool_call(
        &mut self,
        dispatcher: &Rc<Dispatcher>,
        (text, id): (&str, &str),
        call: &ToolCall<'_>,
        out: &mut Vec<u8>,
        way: Way<'_>,
    ) -> Reply {
        let admitted = match self.phase {
            Phase::Modern | Phase::ModernAlone => {
                mcp::check_envelope(&call.meta).map(|()| Era::Modern)
            }
            _ if mcp::is_enveloped(&call.meta) => Err(wrong_era()),
            _ => Ok(Era::Legacy),
        };
        let caller = &self.caller;
        admitted
            .and_then(|era| {
                let mut parses = dispatcher.parses.borrow_mut();
                parses.keep_tool(text, id, era, call);
                drop(parses);
                let request = Request {
                    caller,
                    era,
                    id,
                    outlet: way.outlet,
                    key: way.key,
                };
                dispatcher.tool(request, call, out)
            })
            .unwrap_or_else(|fault| {
                jsonrpc::write_error(out, Some(id), &fault);
                Reply::Written
            })
    }

    fn batch(
        &mut self,
        dispatcher: &Rc<Dispatcher>,
        text: &str,
        out: &mut Vec<u8>,
        way: Way<'_>,
    ) -> Reply {
        if self.phase == Phase::Initialized(mcp::BATCHES) {
            if way.key.is_some() {
                let message =
                    "the header Idempotency-Key is of one call; a batch has keys in its entries";
                jsonrpc::write_error(out, None, &Fault::new(Condition::InvalidRequest, message));
                return Reply::Written;
            }
            return dispatcher.batch(&self.caller, way.outlet, text, out);
        }
        dispatcher.metrics.protocol_violations.add(1);
        let message = format!("arrays are batches in revision {} only", mcp::BATCHES);
        jsonrpc::write_error(out, None, &Fault::new(Condition::InvalidRequest, message));
        Reply::Written
    }

    fn request(
        &mut self,
        dispatcher: &Rc<Dispatcher>,
        (text, id): (&str, &str),
        call: &Call<'_>,
        out: &mut Vec<u8>,
        way: Way<'_>,
    ) -> Reply {
        let answer = self.admit(call).and_then(|era| match &*call.method {
            "initialize" if era == Era::Legacy => self
                .initialize(dispatcher, id, call, out)
                .map(|()| Reply::Written),
            method => {
                self.calls_tools = method == TOOLS_CALL;
                if !self.calls_tools && method != "initialize" {
                    let mut parses = dispatcher.parses.borrow_mut();
                    parses.keep_method(text, id, era, call);
                }
                let request = Request {
                    caller: &self.caller,
                    era,
                    id,
                    outlet: way.outlet,
                    key: way.key,
                };
                dispatcher.answer(request, call, out)
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
            Phase::Modern | Phase::ModernAlone => {
                mcp::check_envelope(&Params::parse(call.params.as_deref())?.meta)?;
                Ok(Era::Modern)
            }
            Phase::New | Phase::Legacy if methods::needs_initialize(method) => Err(Fault::new(
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
            self.session().set_client(client);
        }
        if let Some(capabilities) = params.capabilities.raw() {
            let capabilities = ClientCapabilities::parse(capabilities);
            self.caller.capabilities.set(capabilities);
        }
        let version = mcp::negotiate(&requested);
        self.phase = Phase::Initialized(version);
        jsonrpc::begin_result(out, id);
        out.extend_from_slice(&dispatcher.constants.initialize(version));
        self.introduce(dispatcher, out);
        jsonrpc::end_result(out);
        Ok(())
    }

    /// Adds to the result, an object, how the session can be taken up again. Who takes deliveries was
    /// told already, and a session that no message reaches has nothing to take up.
    fn introduce(&self, dispatcher: &Dispatcher, out: &mut Vec<u8>) {
        let session = self.session();
        if !session.has_connection() || session.attendance().is_some() {
            return;
        }
        let services = dispatcher.services();
        let (id, agent) = (session.id.get(), session.agent());
        let introduction = services.courier.introduction(id, &agent, &services.tokens);
        if out.pop().is_some() {
            out.extend_from_slice(br#","_meta":{"tmws/session":"#);
            out.extend_from_slice(&introduction);
            out.extend_from_slice(b"}}");
        }
    }
}

fn wrong_era() -> Fault {
    let message = "this connection speaks a revision before 2026-07-28 already";
    Fault::new(Condition::InvalidRequest, message)
}
