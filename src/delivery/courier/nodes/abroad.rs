//! Letters to other nodes, and what is waited for from them, as the shards see it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam::queue::SegQueue;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use super::wire::{Handed, Saying};
use crate::config::limits::{LETTERS_ABROAD_MAX, PEER_SILENT_SECONDS, RELEASE_MS_MAX};
use crate::delivery::queue::Parcel;
use crate::domain::AgentKey;

/// A letter to a node.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) node: Uuid,
    pub(super) saying: Saying,
    /// The texts that go along.
    pub(super) texts: Vec<Arc<Parcel>>,
    /// Who waits until it is said.
    pub(super) waits: Option<oneshot::Sender<()>>,
}

/// That a letter is said: it comes with the answer of the bus, or ends if that cannot be had. What is
/// said to anybody after that is heard after it.
pub(in crate::delivery::courier) type IsSaid = oneshot::Receiver<()>;

/// A session as it was handed over, with the texts of what was in memory only.
pub(in crate::delivery::courier) type HandedOver = (Handed, Vec<Arc<Parcel>>);

/// What goes to other nodes. Without the bus nothing is kept: when it is back, everybody looks into
/// the store for what it has missed.
#[derive(Debug)]
pub(in crate::delivery::courier) struct Abroad {
    pub(super) node: Uuid,
    letters: SegQueue<Letter>,
    count: AtomicUsize,
    wake: Arc<Notify>,
    is_up: AtomicBool,
    /// A letter was dropped since the bus was last there.
    dropped: AtomicBool,
    /// The nodes that are heard, and whether the store knows that messages are in their memory only.
    peers: Mutex<HashMap<Uuid, bool>>,
    /// Agents for whom messages were stored while they were not connected, and when: a session of theirs
    /// that turns up on another node may have looked before.
    absent: Mutex<HashMap<AgentKey, Instant>>,
    /// Every session of the fleet is to look into the store.
    rings_all: AtomicBool,
    /// Who waits until everything is heard that was said before.
    echoes: Mutex<Vec<oneshot::Sender<()>>>,
    /// When the bus came back after it had been away.
    back: Mutex<Option<Instant>>,
    /// Sessions that were asked for.
    releases: Mutex<HashMap<Uuid, oneshot::Sender<Option<HandedOver>>>>,
}

impl Abroad {
    pub(in crate::delivery::courier) fn new(node: Uuid) -> Self {
        Self {
            node,
            letters: SegQueue::new(),
            count: AtomicUsize::new(0),
            wake: Arc::default(),
            is_up: AtomicBool::new(false),
            dropped: AtomicBool::new(false),
            peers: Mutex::default(),
            absent: Mutex::default(),
            rings_all: AtomicBool::new(false),
            echoes: Mutex::default(),
            back: Mutex::default(),
            releases: Mutex::default(),
        }
    }

    /// What tells the link that there is something to be said.
    pub(in crate::delivery::courier) fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    /// Can a node be reached, as far as is known?
    pub(in crate::delivery::courier) fn reaches(&self, node: Uuid) -> bool {
        self.is_up() && self.peers.lock().contains_key(&node)
    }

    /// Does the store know that messages are in the memory of this node only? Of one that is not heard
    /// nobody asks: what is for its sessions is stored.
    pub(in crate::delivery::courier) fn is_marked(&self, node: Uuid) -> bool {
        self.peers.lock().get(&node).copied().unwrap_or(true)
    }

    /// It does from now on.
    pub(in crate::delivery::courier) fn set_marked(&self, node: Uuid) {
        if let Some(is_marked) = self.peers.lock().get_mut(&node) {
            *is_marked = true;
        }
    }

    fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Acquire)
    }

    /// The bus is there; `was_away` if it was missed.
    pub(super) fn up(&self, was_away: bool) {
        if was_away {
            *self.back.lock() = Some(Instant::now());
        }
        self.is_up.store(true, Ordering::Release);
    }

    /// The bus is away: nobody waits for it.
    pub(super) fn down(&self) {
        self.is_up.store(false, Ordering::SeqCst);
        self.clear();
    }

    fn clear(&self) {
        while self.take().is_some() {}
        self.echoes.lock().clear();
    }

    /// Was a letter dropped since this was last asked?
    pub(super) fn take_dropped(&self) -> bool {
        self.dropped.swap(false, Ordering::AcqRel)
    }

    pub(super) fn set_heard(&self, node: Uuid, is_heard: bool) {
        let mut peers = self.peers.lock();
        if is_heard {
            peers.entry(node).or_insert(false);
        } else {
            peers.remove(&node);
        }
    }

    /// A message was stored for an agent that is not connected.
    pub(in crate::delivery::courier) fn note_absent(&self, agent: &AgentKey) {
        self.absent.lock().insert(agent.clone(), Instant::now());
    }

    /// Was one not long ago?
    pub(super) fn has_noted(&self, agent: &AgentKey) -> bool {
        self.absent.lock().contains_key(agent)
    }

    /// Forgets what every node has heard of sessions since.
    pub(super) fn forget_absent(&self) {
        let age = Duration::from_secs(PEER_SILENT_SECONDS);
        self.absent.lock().retain(|_, at| at.elapsed() < age);
    }

    /// Has every session of the fleet look into the store.
    pub(in crate::delivery::courier) fn ring_all(&self) {
        self.rings_all.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    pub(super) fn take_ring(&self) -> bool {
        self.rings_all.swap(false, Ordering::AcqRel)
    }

    /// Does the bus have more to do than it should?
    pub(in crate::delivery::courier) fn is_full(&self) -> bool {
        self.count.load(Ordering::Relaxed) > LETTERS_ABROAD_MAX
    }

    pub(in crate::delivery::courier) fn leave(
        &self,
        node: Uuid,
        saying: Saying,
        texts: Vec<Arc<Parcel>>,
    ) {
        self.leave_letter(Letter {
            node,
            saying,
            texts,
            waits: None,
        });
    }

    /// The same for whoever wants to know when it is said.
    pub(in crate::delivery::courier) fn leave_to_be_said(
        &self,
        node: Uuid,
        saying: Saying,
        texts: Vec<Arc<Parcel>>,
    ) -> IsSaid {
        let (waits, is_said) = oneshot::channel();
        self.leave_letter(Letter {
            node,
            saying,
            texts,
            waits: Some(waits),
        });
        is_said
    }

    fn leave_letter(&self, letter: Letter) {
        if !self.is_up() {
            self.dropped.store(true, Ordering::Release);
            return;
        }
        // Before it is there to be taken, as the count is then lowered.
        self.count.fetch_add(1, Ordering::Relaxed);
        self.letters.push(letter);
        if !self.is_up.load(Ordering::SeqCst) {
            // It went away meanwhile, and nobody is there to take the letter.
            self.dropped.store(true, Ordering::Release);
            self.clear();
        }
        self.wake.notify_one();
    }

    /// Waits until everything is heard that other nodes had said before: the bus has one order for all.
    /// False if that cannot be known, since the bus is away, or was away not long ago and is not yet
    /// there for all.
    pub(in crate::delivery::courier) async fn hear_all(&self) -> bool {
        let (waits, heard) = oneshot::channel();
        self.echoes.lock().push(waits);
        if !self.is_up.load(Ordering::SeqCst) {
            self.clear();
            return false;
        }
        self.wake.notify_one();
        let patience = Duration::from_secs(PEER_SILENT_SECONDS);
        let is_back = |at: Instant| at.elapsed() < patience;
        heard.await.is_ok() && !self.back.lock().is_some_and(is_back)
    }

    /// Who waits for an echo since this was last asked.
    pub(super) fn take_echoes(&self) -> Vec<oneshot::Sender<()>> {
        std::mem::take(&mut self.echoes.lock())
    }

    pub(super) fn take(&self) -> Option<Letter> {
        let letter = self.letters.pop()?;
        self.count.fetch_sub(1, Ordering::Relaxed);
        Some(letter)
    }

    /// Asks a node for a session. `None` if it does not have it, or is not there to be asked.
    pub(in crate::delivery::courier) async fn request(
        &self,
        node: Uuid,
        session: Uuid,
        agent: &AgentKey,
    ) -> Option<HandedOver> {
        if !self.reaches(node) {
            return None;
        }
        let request = Uuid::new_v4();
        let (reply, handed) = oneshot::channel();
        self.releases.lock().insert(request, reply);
        let saying = Saying::Release {
            request,
            session,
            agent: agent.into(),
        };
        self.leave(node, saying, Vec::new());
        let handed = tokio::time::timeout(Duration::from_millis(RELEASE_MS_MAX), handed).await;
        self.releases.lock().remove(&request);
        handed.ok()?.ok()?
    }

    /// Passes an answer on to whoever asked; false if nobody waits for it any more.
    pub(super) fn answer(&self, request: Uuid, handed: Option<HandedOver>) -> bool {
        let reply = self.releases.lock().remove(&request);
        reply.is_some_and(|reply| reply.send(handed).is_ok())
    }
}
