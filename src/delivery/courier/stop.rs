//! The stop: what is in memory only goes into the store, so that the next server delivers it.
//!
//! Invariants
//! - The mark that this run sends what is in memory only is taken back by whoever runs the shards,
//!   and only if every shard [says](Post::has_kept_everything) that nothing of it is lost.
//! - A shard that is sealed sends nothing more that is in memory only; when all are, no letter with
//!   such a message is on its way but those that lie in a pile already.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use uuid::Uuid;

use super::letters::Post;
use super::{Courier, noted, text};
use crate::config::limits::{KEPT_AT_ONCE_MAX, KEPT_BYTES_AT_ONCE_MAX};
use crate::delivery::hub::{Among, Volatile};
use crate::domain::Unsettled;
use crate::domain::message::BODY_BYTES_MAX;
use crate::store::StoreError;

/// Pause between two looks at sessions whose connections have been closed.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Pause before a look whether other shards are sealed, and before a store that failed is asked again.
const PAUSE: Duration = Duration::from_millis(10);
/// A store is asked so often before what is in memory is given up.
const TRIES: u32 = 20;

/// What the store has refused for good, by session and message.
type Refused = HashSet<(Uuid, Uuid)>;

impl Courier {
    /// Stores what sessions have in memory only as soon as their connections are closed, until the
    /// shard is sealed.
    pub async fn keep_absent(self: Rc<Self>) {
        let mut refused = Refused::new();
        while !self.is_sealed() {
            // A failure is made up for later.
            let _ = self.keep_some(Among::Absent, &mut refused).await;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until no shard sends anything more, and stores what is left in memory. To be called when
    /// the shard has no connections any more, while its courier still runs.
    pub async fn seal(self: &Rc<Self>) {
        self.sealed.set(true);
        self.post.sealed.fetch_add(1, Ordering::AcqRel);
        while !self.post.is_sealed() {
            tokio::time::sleep(PAUSE).await;
        }
        while let Some(letter) = self.post.take(self.shard) {
            self.read(letter);
        }
        let mut refused = Refused::new();
        let mut tries = 0;
        while let Err(_failure) = self.keep_some(Among::All, &mut refused).await {
            tries += 1;
            if tries == TRIES {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        if refused.is_empty() && !self.hub.borrow().has_lost_volatile() {
            self.post.kept.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Stores what is in memory only until nothing of it is left but what the store has refused.
    async fn keep_some(self: &Rc<Self>, among: Among, refused: &mut Refused) -> Result<(), ()> {
        let _keeping = self.keeping.lock().await;
        loop {
            let mut bytes = 0;
            let fits = |one: &Volatile| {
                bytes += one.parcel.text.len();
                bytes <= KEPT_BYTES_AT_ONCE_MAX
            };
            let some: Vec<Volatile> = {
                let hub = self.hub.borrow();
                let left = hub
                    .volatile(among)
                    .filter(|one| !refused.contains(&name(one)));
                // One message is far smaller than what fits at once.
                left.take(KEPT_AT_ONCE_MAX).take_while(fits).collect()
            };
            if some.is_empty() {
                return Ok(());
            }
            self.keep(some, refused).await?;
        }
    }

    async fn keep(self: &Rc<Self>, some: Vec<Volatile>, refused: &mut Refused) -> Result<(), ()> {
        let mut unsettled = Vec::with_capacity(some.len());
        let mut kept = Vec::with_capacity(some.len());
        for one in some {
            let Some(message) = text::message(&one.parcel) else {
                // Every parcel was written from a message.
                tracing::error!(id = %one.parcel.id, "a message could not be read again");
                refused.insert(name(&one));
                continue;
            };
            unsettled.push(Unsettled {
                message: Arc::new(message),
                agent: one.agent.clone(),
                session: one.session,
                deliveries: one.deliveries,
            });
            kept.push(one);
        }
        let answers = self.store.keep_messages(unsettled).await;
        let answers = noted(answers, "take what was in memory only")?;
        let (mut over, mut failed) = (Vec::new(), false);
        for (one, answer) in kept.into_iter().zip(answers) {
            let key = match answer {
                Ok(key) => key,
                Err(StoreError::Unavailable(_) | StoreError::Busy) => {
                    failed = true;
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%error, "a message that was in memory only is lost");
                    refused.insert(name(&one));
                    continue;
                }
            };
            let found = self.hub.borrow_mut().kept(&one, key);
            match found {
                Some(true) => {}
                // It was settled or given up while it was stored.
                Some(false) => over.push(key),
                None => self.tell_owner(one.session, &one.agent).await,
            }
        }
        if !over.is_empty() {
            noted(
                self.store.settle_deliveries(over).await,
                "settle deliveries",
            )?;
        }
        self.turn();
        if failed { Err(()) } else { Ok(()) }
    }

    /// Has this run said that it sends messages which are in memory only? Whoever comes while others
    /// wait for that goes on after them, or a sender's messages would overtake each other.
    /// `nodes` are those that such messages are sent to: one may end before it has them.
    pub(super) async fn note_volatile(&self, nodes: &[Uuid]) -> Result<(), StoreError> {
        // Those who wait get it in their order, and go on before anybody else runs.
        let _turn = self.noting.lock().await;
        if !self.post.volatile.load(Ordering::Acquire) {
            self.store.note_volatile().await?;
            self.post.volatile.store(true, Ordering::Release);
        }
        if let Some(abroad) = &self.post.abroad {
            for node in nodes.iter().filter(|node| !abroad.is_marked(**node)) {
                self.store.note_volatile_of(*node).await?;
                abroad.set_marked(*node);
            }
        }
        if self.is_sealed() {
            return Err(StoreError::Unavailable("the server is stopping".into()));
        }
        Ok(())
    }

    /// True if the store knows, and nobody waits for that any more.
    pub(super) fn has_noted_volatile(&self) -> bool {
        self.post.volatile.load(Ordering::Acquire) && self.noting.try_lock().is_ok()
    }

    /// True if this shard sends nothing more that is in memory only.
    pub(super) fn is_sealed(&self) -> bool {
        self.sealed.get()
    }
}

/// One message always fits.
const _: () = assert!(BODY_BYTES_MAX < KEPT_BYTES_AT_ONCE_MAX / 2);

fn name(one: &Volatile) -> (Uuid, Uuid) {
    (one.session, one.parcel.id)
}

impl Post {
    /// A shard has ended without being sealed: nobody waits for it, and what it had is lost.
    pub fn shard_failed(&self) {
        self.sealed.fetch_add(1, Ordering::AcqRel);
    }

    /// Is everything settled or stored that was in memory only? Before all shards have ended it is not.
    pub fn has_kept_everything(&self) -> bool {
        self.kept.load(Ordering::Acquire) == self.shards()
    }

    /// Has this run said that it sends what is in memory only?
    pub fn has_sent_volatile(&self) -> bool {
        self.volatile.load(Ordering::Acquire)
    }

    fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire) >= self.shards()
    }
}
