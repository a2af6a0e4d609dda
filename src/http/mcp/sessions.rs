//! Legacy sessions of all shards: a session's id names its shard, and requests travel there.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, interval};
use uuid::Uuid;

use super::super::answer::{self, Payload};
use super::events;
use super::headers::SESSION;
use super::session::LegacySession;
use super::stream::Reader;
use crate::config::limits::{HTTP_ORDERS_WAITING_MAX, HTTP_SESSIONS_MAX};
use crate::config::{Config, ToolProfile};
use crate::delivery::{Outgoing, Session, Transport};
use crate::dispatch::{Dispatcher, McpConnection};
use crate::domain::AgentKey;
use crate::rpc::{Condition, Fault};

/// How often sessions are looked through for those that nobody uses.
const SWEEP: Duration = Duration::from_secs(10);

/// A message by POST, and who sends it.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) agent: AgentKey,
    pub(super) profile: ToolProfile,
    pub(super) text: String,
    /// The idempotency key of its header.
    pub(super) key: Option<String>,
    /// The client reads a stream as well.
    pub(super) streams: bool,
}

/// What became of a request.
#[derive(Debug)]
pub(super) enum Answered {
    /// A message.
    Message(Vec<u8>),
    /// Nothing is to be said.
    Accepted,
    /// Messages as they come.
    Stream(Reader),
    /// The general stream has a reader already.
    Taken,
    /// No event of this id is known.
    UnknownEvent,
    /// No such session.
    Unknown,
    /// There are too many.
    Full,
}

/// What a shard is asked to do with a session.
#[derive(Debug)]
enum Order {
    Begin(Uuid, Post),
    Post(Uuid, Post),
    Read(Uuid, Option<String>),
    End(Uuid),
}

type Letter = (Order, oneshot::Sender<Answered>);

/// The way to the sessions of every shard, for one of them.
#[derive(Debug, Clone)]
pub struct Sessions {
    shards: Arc<[mpsc::Sender<Letter>]>,
    own: usize,
}

/// Where the letters of one shard arrive.
#[derive(Debug)]
pub struct Letters(mpsc::Receiver<Letter>);

impl Sessions {
    /// One for each shard, with what it is to [`serve`].
    pub fn for_shards(shards: usize) -> Vec<(Self, Letters)> {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..shards)
            .map(|_| mpsc::channel(HTTP_ORDERS_WAITING_MAX))
            .unzip();
        let shards: Arc<[_]> = senders.into();
        let each = receivers.into_iter().enumerate().map(|(own, receiver)| {
            let sessions = Self {
                shards: Arc::clone(&shards),
                own,
            };
            (sessions, Letters(receiver))
        });
        each.collect()
    }

    async fn ask(&self, shard: usize, order: Order) -> Result<Answered, Fault> {
        let busy = || Fault::new(Condition::Unavailable, "the server is busy or stopping");
        let (sender, answered) = oneshot::channel();
        let shard = self.shards.get(shard).ok_or_else(unknown)?;
        shard.try_send((order, sender)).map_err(|_| busy())?;
        answered.await.map_err(|_| busy())
    }

    /// Begins a session with its `initialize`.
    pub(super) async fn begin(&self, post: Post) -> Result<Response<Payload>, Fault> {
        let id = Uuid::new_v4();
        let answered = self.ask(self.own, Order::Begin(id, post)).await?;
        let begun = matches!(&answered, Answered::Message(message) if is_result(message));
        let mut response = respond(answered)?;
        if begun {
            let value = format!("{id}-{}", self.own);
            if let Ok(value) = HeaderValue::try_from(value) {
                let name = HeaderName::from_static(SESSION);
                response.headers_mut().insert(name, value);
            }
        }
        Ok(response)
    }

    /// Takes a message to its session.
    pub(super) async fn post(&self, id: &str, post: Post) -> Result<Response<Payload>, Fault> {
        let (id, shard) = parse(id).ok_or_else(unknown)?;
        respond(self.ask(shard, Order::Post(id, post)).await?)
    }

    /// Opens a stream of a session, or reads on in one.
    pub(super) async fn stream(
        &self,
        id: &str,
        last_event: Option<String>,
    ) -> Result<Response<Payload>, Fault> {
        let (id, shard) = parse(id).ok_or_else(unknown)?;
        respond(self.ask(shard, Order::Read(id, last_event)).await?)
    }

    /// Ends a session.
    pub(super) async fn end(&self, id: &str) -> Result<Response<Payload>, Fault> {
        let (id, shard) = parse(id).ok_or_else(unknown)?;
        respond(self.ask(shard, Order::End(id)).await?)
    }
}

/// True if a message that we wrote is a result and no error.
fn is_result(message: &[u8]) -> bool {
    sonic_rs::get(message, ["result"]).is_ok()
}

fn parse(id: &str) -> Option<(Uuid, usize)> {
    let (id, shard) = id.rsplit_once('-')?;
    Some((Uuid::try_parse(id).ok()?, shard.parse().ok()?))
}

fn unknown() -> Fault {
    let message = "there is no such session; send initialize without Mcp-Session-Id";
    Fault::new(Condition::NotFound, message)
}

fn respond(answered: Answered) -> Result<Response<Payload>, Fault> {
    Ok(match answered {
        Answered::Message(message) => answer::json(StatusCode::OK, message).map(Payload::Whole),
        Answered::Accepted => answer::empty(StatusCode::ACCEPTED),
        Answered::Stream(reader) => events::response(stream::unfold(reader, async |mut reader| {
            let bytes = reader.recv().await?;
            Some((bytes, reader))
        })),
        Answered::Taken => {
            let message = "another connection reads the stream of this session";
            return Err(Fault::new(Condition::Conflict, message));
        }
        Answered::UnknownEvent => {
            let message = "no stream of this session has such an event";
            return Err(Fault::new(Condition::InvalidArguments, message));
        }
        Answered::Unknown => return Err(unknown()),
        Answered::Full => {
            let message = "there are too many sessions";
            return Err(Fault::new(Condition::ConnectionLimit, message));
        }
    })
}

/// The sessions of one shard.
struct Local {
    dispatcher: Rc<Dispatcher>,
    sessions: HashMap<Uuid, Rc<LegacySession>>,
}

/// Serves the sessions of a shard until the server stops; calls under way are finished.
pub async fn serve(
    mut letters: Letters,
    dispatcher: Rc<Dispatcher>,
    config: Arc<Config>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut local = Local {
        dispatcher,
        sessions: HashMap::new(),
    };
    let mut sweep = interval(SWEEP);
    loop {
        tokio::select! {
            letter = letters.0.recv() => match letter {
                Some((order, answered)) => local.obey(order, answered),
                None => return,
            },
            now = sweep.tick() => local.sweep(now, config.idle_timeout),
            _ = stopping.wait_for(|stopping| *stopping) => break,
        }
    }
    for session in local.sessions.values() {
        session.end();
    }
    letters.0.close();
}

impl Local {
    fn obey(&mut self, order: Order, answered: oneshot::Sender<Answered>) {
        let (id, order) = match order {
            Order::Begin(id, post) => return self.begin(id, post, answered),
            Order::Post(id, post) => (id, Order::Post(id, post)),
            Order::Read(id, last) => (id, Order::Read(id, last)),
            Order::End(id) => (id, Order::End(id)),
        };
        let Some(session) = self.sessions.get(&id) else {
            // Whoever asked may be gone, here and below.
            let _ = answered.send(Answered::Unknown);
            return;
        };
        match order {
            Order::Post(_, post) => {
                session.post(&self.dispatcher, &post, answered);
            }
            Order::Read(_, last) => {
                let _ = answered.send(session.read(last.as_deref()));
            }
            Order::End(_) | Order::Begin(..) => {
                session.end();
                self.sessions.remove(&id);
                let _ = answered.send(Answered::Message(b"{}".to_vec()));
            }
        }
    }

    fn begin(&mut self, id: Uuid, post: Post, answered: oneshot::Sender<Answered>) {
        if self.sessions.len() >= HTTP_SESSIONS_MAX {
            let _ = answered.send(Answered::Full);
            return;
        }
        let registry = &self.dispatcher.services().registry;
        let session = Session::open(registry, Transport::Http, post.agent.clone(), Vec::new());
        let queue = Outgoing::of_stream();
        let outlet = queue.outlet(0);
        let connection = McpConnection::legacy(Rc::new(session), post.profile, outlet);
        let session = LegacySession::new(connection, queue);
        session.post(&self.dispatcher, &post, answered);
        // A refused `initialize` leaves nothing behind.
        if session.is_initialized() {
            self.sessions.insert(id, session);
        } else {
            session.end();
        }
    }

    fn sweep(&mut self, now: Instant, idle: Duration) {
        let Some(then) = now.checked_sub(idle) else {
            return;
        };
        self.sessions.retain(|_, session| {
            let stays = !session.is_idle_since(then);
            if !stays {
                session.end();
            }
            stays
        });
    }
}
