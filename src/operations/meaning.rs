//! From texts to stored vectors, and from questions to vectors.
//!
//! A memory is acknowledged when it is stored, not when its vector is: the text waits in the store
//! and the vector follows, a moment later as a rule. Two things keep that unseen: whoever searches
//! waits a moment for the vectors of its own memories, and what is missed (a full queue, a server
//! that stopped) is found and made up for by the backfill.
//!
//! Invariant: nothing here can fail a write; at worst a memory is found by its words for a while.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::timeout;
use uuid::Uuid;

use crate::config;
use crate::domain::{AgentKey, Embedded, Model, NewVector, Vector};
use crate::embed::{EmbedError, Embedder, Embedding};
use crate::store::Store;

/// Longest wait of a search for the vectors of what the caller has just stored: some hundred texts
/// per core. Beyond it they are found by their words.
const OWN_VECTORS_WAIT: Duration = Duration::from_millis(250);
/// Longest wait of a create for its vector after the commit, if the caller wants to know what says
/// the same: some hundred texts per core.
const VECTOR_WAIT: Duration = Duration::from_millis(250);

/// The embedder in use and the vectors on their way; shared by all shards.
pub struct Meaning {
    embedder: RwLock<Embedder>,
    /// Vectors on their way, by owner; an owner without any has no entry.
    pending: Mutex<HashMap<AgentKey, watch::Sender<usize>, foldhash::fast::RandomState>>,
    /// Rung when a memory was left without a vector.
    missed: Notify,
    switches: mpsc::UnboundedSender<Switch>,
    /// The model of the switch under way.
    target: RwLock<Option<Model>>,
}

/// A change to another model that somebody asked for.
pub struct Switch {
    /// The model to change to.
    pub to: config::Embedding,
    /// Told the model when the switch has begun, or why it has not.
    pub reply: oneshot::Sender<Result<Model, String>>,
}

impl Meaning {
    /// Starts with `embedder`; switches are carried out by whoever receives them.
    pub fn new(embedder: Embedder) -> (Self, mpsc::UnboundedReceiver<Switch>) {
        let (switches, receiver) = mpsc::unbounded_channel();
        let meaning = Self {
            embedder: RwLock::new(embedder),
            pending: Mutex::default(),
            missed: Notify::new(),
            switches,
            target: RwLock::default(),
        };
        (meaning, receiver)
    }

    /// The embedder of the active model.
    pub fn embedder(&self) -> Embedder {
        self.embedder.read().clone()
    }

    /// Puts another embedder in its place and returns the old one; a switch to it is over.
    pub fn replace(&self, embedder: Embedder) -> Embedder {
        let old = std::mem::replace(&mut *self.embedder.write(), embedder);
        *self.target.write() = None;
        old
    }

    /// Notes the model that a switch leads to.
    pub fn head_for(&self, model: &Model) {
        *self.target.write() = Some(model.clone());
    }

    /// True while a switch to this model is under way.
    pub(super) fn heads_for(&self, model: &Model) -> bool {
        self.target.read().as_ref() == Some(model)
    }

    /// Waits until a memory was left without a vector.
    pub async fn missed(&self) {
        self.missed.notified().await;
    }

    /// Tells that memories were stored without vectors.
    pub(super) fn note_missed(&self) {
        self.missed.notify_one();
    }

    /// Asks for a change to another model.
    pub(super) fn switch(&self, to: config::Embedding) -> oneshot::Receiver<Result<Model, String>> {
        let (reply, answer) = oneshot::channel();
        // Nobody receives when the server is stopping; then nobody answers either.
        let _ = self.switches.send(Switch { to, reply });
        answer
    }

    /// The vector of a question of `asker`, once the vectors of what it stored before are in the
    /// store; or why there is none.
    pub(super) async fn question(
        &self,
        asker: &AgentKey,
        query: &str,
    ) -> Result<Embedded, EmbedError> {
        let embedder = self.embedder();
        let embedding = embedder.embed_query(query);
        self.settle(asker).await;
        Ok(Embedded {
            vector: embedding.await?,
            model: embedder.model().clone(),
        })
    }

    async fn settle(&self, owner: &AgentKey) {
        let pending = self.pending.lock().get(owner).map(watch::Sender::subscribe);
        if let Some(mut pending) = pending {
            // The last one takes the sender away, which is an error and the end as well.
            let settled = pending.wait_for(|count| *count == 0);
            let _ = timeout(OWN_VECTORS_WAIT, settled).await;
        }
    }

    fn begin(self: &Arc<Self>, owner: &AgentKey) -> Pending {
        let mut pending = self.pending.lock();
        let count = pending.entry(owner.clone()).or_default();
        count.send_modify(|count| *count += 1);
        Pending {
            meaning: Arc::clone(self),
            owner: owner.clone(),
        }
    }
}

/// One vector on its way.
struct Pending {
    meaning: Arc<Meaning>,
    owner: AgentKey,
}

impl Drop for Pending {
    fn drop(&mut self) {
        let mut pending = self.meaning.pending.lock();
        if let Entry::Occupied(entry) = pending.entry(self.owner.clone()) {
            entry.get().send_modify(|count| *count -= 1);
            if *entry.get().borrow() == 0 {
                entry.remove();
            }
        }
    }
}

/// The vector of a text that is being stored.
pub(super) enum TextVector {
    /// It is known before the text is stored.
    Known(Embedded),
    /// It is being computed.
    Coming(Coming),
    /// There is none, and the backfill is to see to it.
    Missing,
}

/// A vector that is being computed.
pub(super) struct Coming {
    embedding: Embedding,
    embedder: Embedder,
    pending: Pending,
}

impl TextVector {
    /// Begins to compute the vector of a text that `owner` stores.
    pub(super) fn of(meaning: &Arc<Meaning>, owner: &AgentKey, text: &str) -> Self {
        let embedder = meaning.embedder();
        match embedder.embed_text(text.into()).now() {
            Ok(Ok(vector)) => Self::Known(Embedded {
                model: embedder.model().clone(),
                vector,
            }),
            Ok(Err(EmbedError::Busy)) => {
                meaning.missed.notify_one();
                Self::Missing
            }
            Ok(Err(_)) => Self::Missing,
            Err(embedding) => Self::Coming(Coming {
                embedding,
                embedder,
                pending: meaning.begin(owner),
            }),
        }
    }

    /// The vector that can be stored with the text.
    pub(super) fn known(&self) -> Option<Embedded> {
        match self {
            Self::Known(embedded) => Some(embedded.clone()),
            Self::Coming(_) | Self::Missing => None,
        }
    }

    /// Has the vector of the text that is now stored as `id` attached to it when it is there;
    /// returns it if it is there already, or with `wait` within a moment.
    pub(super) async fn attach(
        self,
        store: Rc<dyn Store>,
        id: Uuid,
        text_version: u64,
        wait: bool,
    ) -> Option<Embedded> {
        match self {
            Self::Missing => None,
            Self::Known(embedded) => Some(embedded),
            Self::Coming(coming) => {
                let model = coming.embedder.model().clone();
                let (reply, mut known) = oneshot::channel();
                tokio::task::spawn_local(coming.deliver(store, id, text_version, reply));
                let vector = if wait {
                    timeout(VECTOR_WAIT, known).await.ok()?.ok()?
                } else {
                    tokio::task::yield_now().await;
                    known.try_recv().ok()?
                };
                Some(Embedded { model, vector })
            }
        }
    }
}

impl TextVector {
    /// The same for a text that was stored without its vector, even if that was known.
    pub(super) async fn store(self, store: Rc<dyn Store>, id: Uuid, text_version: u64) {
        if let Self::Known(Embedded { model, vector }) = self {
            let new = NewVector {
                id,
                text_version,
                vector,
            };
            // The backfill makes up for a failure.
            let _ = store.attach_vectors(&model, vec![new]).await;
        } else {
            self.attach(store, id, text_version, false).await;
        }
    }
}

impl Coming {
    /// Waits for the vector, tells it, and stores it.
    async fn deliver(
        self,
        store: Rc<dyn Store>,
        id: Uuid,
        text_version: u64,
        known: oneshot::Sender<Vector>,
    ) {
        let Self {
            embedding,
            embedder,
            pending,
        } = self;
        let stored = match embedding.await {
            Ok(vector) => {
                // Nobody waits any more if it took too long.
                let _ = known.send(Arc::clone(&vector));
                let new = NewVector {
                    id,
                    text_version,
                    vector,
                };
                store
                    .attach_vectors(embedder.model(), vec![new])
                    .await
                    .is_ok()
            }
            Err(_) => false,
        };
        if !stored {
            pending.meaning.missed.notify_one();
        }
    }
}
