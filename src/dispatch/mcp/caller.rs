//! Who calls: a client of MCP on one connection, with what it has under way.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures_util::future::{AbortHandle, Abortable};

use super::watch::Watch;
use crate::config::ToolProfile;
use crate::delivery::{Asks, Exchange, Outlet, Session};
use crate::dispatch::Answer;
use crate::rpc::json::Member;
use crate::rpc::mcp::{ClientCapabilities, Era, Extras, LogLevel};
use crate::rpc::{Condition, Fault};

/// One client.
pub struct Caller {
    /// Whose connection it is.
    pub(super) session: Rc<Session>,
    pub(super) profile: ToolProfile,
    /// Where messages go that belong to no request.
    pub(super) outlet: Outlet,
    /// What a legacy client said that it can do.
    pub(super) capabilities: Cell<ClientCapabilities>,
    /// What a legacy client set.
    pub(super) log_level: Cell<Option<LogLevel>>,
    /// Requests of ours to a legacy client.
    pub(super) asks: Rc<Asks>,
    /// What is under way, by the JSON text of its id.
    calls: RefCell<Vec<(Box<str>, AbortHandle)>>,
    /// Listen requests; and the resources that a legacy client subscribed to, which have no id.
    pub(super) watches: RefCell<Vec<Watch>>,
}

/// One request: who, which, and how it wants its answer.
#[derive(Clone, Copy)]
pub(in crate::dispatch) struct Request<'a> {
    pub(in crate::dispatch) caller: &'a Rc<Caller>,
    pub(in crate::dispatch) era: Era,
    /// The id's JSON text.
    pub(in crate::dispatch) id: &'a str,
    /// Where messages about this request go.
    pub(in crate::dispatch) outlet: &'a Outlet,
    /// The idempotency key that stands beside the arguments.
    pub(in crate::dispatch) key: Option<&'a str>,
}

impl Caller {
    /// A client that has said nothing yet.
    pub fn new(session: Rc<Session>, profile: ToolProfile, outlet: Outlet) -> Self {
        Self {
            session,
            profile,
            outlet,
            capabilities: Cell::default(),
            log_level: Cell::default(),
            asks: Rc::default(),
            calls: RefCell::default(),
            watches: RefCell::default(),
        }
    }

    /// Makes an answer one that can be cancelled: then it is empty, which is no message.
    pub(in crate::dispatch) fn cancellable(self: &Rc<Self>, id: &str, answer: Answer) -> Answer {
        let (handle, registration) = AbortHandle::new_pair();
        self.calls.borrow_mut().push((id.into(), handle));
        let call = Call {
            caller: Rc::clone(self),
            id: id.into(),
        };
        Box::pin(async move {
            let answer = Abortable::new(answer, registration).await;
            drop(call);
            answer.unwrap_or_default()
        })
    }

    /// Takes the client's answer to a request of ours.
    pub(in crate::dispatch) fn answered(&self, id: &str, outcome: Result<&str, &str>) {
        self.asks.answered(id, outcome);
    }

    /// Ends what is under way by this id, and says nothing more of it.
    pub(super) fn cancel(&self, id: &str) {
        let calls = self.calls.borrow();
        if let Some((_, handle)) = calls.iter().find(|(known, _)| **known == *id) {
            handle.abort();
        }
        drop(calls);
        self.watches
            .borrow_mut()
            .retain(|watch| watch.id() != Some(id));
    }

    fn end(&self, id: &str) {
        let mut calls = self.calls.borrow_mut();
        if let Some(at) = calls.iter().position(|(known, _)| **known == *id) {
            calls.swap_remove(at);
        }
    }
}

/// A call under way; it is forgotten when this is dropped, however that comes.
struct Call {
    caller: Rc<Caller>,
    id: Box<str>,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.caller.end(&self.id);
    }
}

impl Request<'_> {
    /// Whose connection it came by.
    pub(in crate::dispatch) fn session(&self) -> &Rc<Session> {
        &self.caller.session
    }

    /// The same with the key of its `_meta`, which must be that of its wire if that has one too.
    pub(super) fn with_key<'k>(self, key: &'k str) -> Result<Request<'k>, Fault>
    where
        Self: 'k,
    {
        if self.key.is_some_and(|known| known != key) {
            let message = "the header Idempotency-Key and _meta name different keys";
            return Err(Fault::new(Condition::InvalidArguments, message));
        }
        Ok(Request {
            key: Some(key),
            ..self
        })
    }

    /// What the client can do, as this request or its `initialize` says.
    pub(super) fn capabilities(&self, extras: &Extras<'_>) -> ClientCapabilities {
        match self.era {
            Era::Legacy => self.caller.capabilities.get(),
            Era::Modern => extras
                .capabilities
                .raw()
                .map(ClientCapabilities::parse)
                .unwrap_or_default(),
        }
    }

    /// The exchange of this request.
    pub(super) fn exchange(&self, meta: &Member<'_>) -> Result<Exchange, Fault> {
        let extras = Extras::parse(meta)?;
        let mut exchange = Exchange::new(self.outlet.clone(), self.capabilities(&extras));
        exchange.progress_token = extras
            .progress_token
            .raw()
            .filter(|raw| *raw != "null")
            .map(Box::from);
        match self.era {
            Era::Legacy => {
                exchange.log_level = self.caller.log_level.get();
                exchange.asks = Some(Rc::clone(&self.caller.asks));
            }
            Era::Modern => exchange.log_level = extras.log_level()?,
        }
        Ok(exchange)
    }
}
