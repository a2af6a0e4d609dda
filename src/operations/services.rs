//! What operations work with.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use super::meaning::Meaning;
use super::turns::Turns;
use super::upkeep::Upkeep;
use crate::config;
use uuid::Uuid;

use crate::auth::Seal;
use crate::delivery::courier::{Courier, ResumeTokens};
use crate::delivery::events::{Done, Last};
use crate::delivery::{Change, Changes, Happened, Inbox, Registry, Running, Session};
use crate::domain::{Keyed, Memory};
use crate::store::{Store, Viewer};
use crate::telemetry::performance::History;
use crate::telemetry::{Metrics, Process};

/// The server's parts as one shard holds them.
pub struct Services {
    /// The store.
    pub store: Rc<dyn Store>,
    /// The settings that a change of the embedding model starts from.
    pub embedding: Arc<config::Embedding>,
    /// What the store's upkeep has done.
    pub upkeep: Arc<Upkeep>,
    /// Vectors of texts and questions.
    pub meaning: Arc<Meaning>,
    /// Looks for near duplicates that are under way on this shard.
    pub looks: Cell<usize>,
    /// Who is here.
    pub registry: Arc<Registry>,
    /// Where every shard hears of what changed.
    pub changes: Arc<Changes>,
    /// Where this one does.
    pub inbox: Arc<Inbox>,
    /// Calls that go on as tasks in this process.
    pub running: Arc<Running>,
    /// Messages on their way.
    pub courier: Rc<Courier>,
    /// Calls under a key that wait for each other.
    pub turns: Arc<Turns>,
    /// What clients show to take up a session.
    pub tokens: Arc<ResumeTokens>,
    /// What clients carry for the server.
    pub seal: Arc<Seal>,
    /// Counts of all shards.
    pub metrics: Arc<Metrics>,
    /// Samples of the server's figures.
    pub history: Arc<History>,
    /// The state of the process.
    pub process: Arc<Process>,
    /// Characters of one memory; a reload may change it.
    pub content_chars_max: Cell<usize>,
    /// Entries of one batch; a reload may change it.
    pub batch_max: Cell<usize>,
}

/// One call: the server's parts and who asks.
pub struct Context<'a> {
    /// The server's parts.
    pub services: &'a Rc<Services>,
    /// Whose call it is.
    pub session: &'a Rc<Session>,
    /// The idempotency key that the wire carries beside the arguments.
    pub(super) key: Option<&'a str>,
    /// The key under which it happens once.
    pub(super) keyed: Option<&'a Keyed>,
}

impl<'a> Context<'a> {
    /// A call; `key` is the idempotency key that its wire carries beside its arguments.
    pub fn new(services: &'a Rc<Services>, session: &'a Rc<Session>, key: Option<&'a str>) -> Self {
        Self {
            services,
            session,
            key,
            keyed: None,
        }
    }
}

impl Context<'_> {
    /// The store, for what changes it: under a key each of its writes happens once.
    pub(super) fn store(&self) -> Rc<dyn Store> {
        match self.keyed {
            Some(key) => self.services.store.keyed(key),
            None => Rc::clone(&self.services.store),
        }
    }

    /// The caller as the store knows it.
    pub(super) fn viewer(&self) -> Viewer {
        viewer(self.session)
    }
}

impl Services {
    /// Tells whoever watches that a memory was written, and subscribers what was done.
    pub(super) fn memory_changed(&self, memory: &Memory, done: Done) {
        self.memory_told(memory.id, &memory.namespace, None, done);
    }

    /// The same of a memory that agents of another namespace as well may hear of.
    pub(super) fn memory_told(
        &self,
        id: Uuid,
        namespace: &Arc<str>,
        other: Option<Arc<str>>,
        done: Done,
    ) {
        let other = other.filter(|other| other != namespace);
        let happened = Happened {
            done,
            namespaces: std::iter::once(Arc::clone(namespace))
                .chain(other)
                .collect(),
            last: None,
        };
        self.changes.publish(&Change::Memory {
            namespace: Some(Arc::clone(namespace)),
            id,
            happened: Some(Arc::new(happened)),
        });
    }

    /// Tells that a memory is gone, of which it is known what it was like.
    pub(super) fn memory_deleted(&self, id: Uuid, last: Option<Last>) {
        let happened = last.map(|last| Happened {
            done: Done::Deleted,
            namespaces: vec![Arc::clone(&last.owner.namespace)],
            last: Some(Arc::new(last)),
        });
        self.changes.publish(&Change::Memory {
            namespace: None,
            id,
            happened: happened.map(Arc::new),
        });
    }

    /// Tells whoever watches that a memory was superseded; subscribers hear of the one that did.
    pub(super) fn memory_superseded(&self, id: Uuid) {
        self.memory_deleted(id, None);
    }
}

/// Whose session it is, as the store knows it. Without authentication whoever reaches the server
/// may do what its operator may, so it writes memories of level `system`.
pub fn viewer(session: &Session) -> Viewer {
    Viewer {
        key: session.agent(),
        admin: true,
    }
}
