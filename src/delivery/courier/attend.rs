//! Sessions that take deliveries, from the side of their connections.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::oneshot;
use uuid::Uuid;

use super::answers::{Said, SayError, Told};
use super::directory::Home;
use super::letters::Letter;
use super::token::ResumeTokens;
use super::{Courier, Place, text};
use crate::delivery::hub::Resumed;
use crate::delivery::queue::Missed;
use crate::domain::{AgentKey, Timestamp};
use crate::store::StoreError;

/// So long a new session waits before it is filled from the store: its client may be about to take an
/// earlier session up, and what is delivered to that one is not for this one. Messages of that time go
/// to the agent's other sessions, if it has any, and are copied from those that are absent.
const GRACE: Duration = Duration::from_millis(500);

/// That a connection takes the deliveries of a session; it ends when this is dropped.
pub struct Attendance {
    pub(super) courier: Rc<Courier>,
    place: Place,
    pub(super) agent: AgentKey,
    pub(super) session: Cell<Uuid>,
    epoch: Cell<u64>,
}

/// A session that a client wants to take up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The session.
    pub session: Uuid,
    /// The node that served it when its token was given.
    pub node: Uuid,
    /// The epoch that the client knows, and the latest place it has received in it.
    pub position: (u64, u64),
}

/// How a session was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Back {
    /// It goes on.
    Resumed {
        /// Its epoch.
        epoch: u64,
        /// The latest place of it.
        latest: u64,
        /// What it has missed for good.
        missed: Missed,
        /// Messages that were in memory only may have been lost with an earlier server, or with the
        /// session's end.
        volatile: bool,
        /// It had ended on this server.
        ended_here: bool,
    },
    /// Nothing is known of it any more. What waits for its agent comes to the new session.
    Unknown,
}

impl Courier {
    /// Begins a session whose connection takes its deliveries.
    pub fn attend(self: &Rc<Self>, session: Uuid, agent: AgentKey, key: u64) -> Attendance {
        let place = Place {
            shard: self.shard,
            key,
        };
        let epoch = self.new_epoch();
        self.post
            .directory
            .lock()
            .enter(session, &agent, self.shard);
        self.hub
            .borrow_mut()
            .open(session, agent.clone(), epoch, place);
        let courier = Rc::clone(self);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(GRACE).await;
            // Whoever takes another session up begins when that has failed, or never.
            if !courier.resuming.borrow().contains(&session) {
                courier.begin(session);
            }
        });
        Attendance {
            courier: Rc::clone(self),
            place,
            agent,
            session: Cell::new(session),
            epoch: Cell::new(epoch),
        }
    }

    /// Has a session get its agent's messages, and its deliveries begin.
    fn begin(self: &Rc<Self>, session: Uuid) {
        self.post.directory.lock().list(session);
        self.hub.borrow_mut().start(session);
        self.turn();
    }

    /// Tells a client that it takes deliveries, and how to come back.
    pub fn welcome(&self, attendance: &Attendance, tokens: &ResumeTokens) {
        let token = attendance.token(tokens);
        let welcome = text::welcome(attendance, &token, self.terms);
        self.outgoing.send(attendance.place.key, welcome);
    }

    /// What a client of a session that takes no deliveries yet is told, as a JSON object: it may turn
    /// them on, and take the session up again.
    pub fn introduction(&self, session: Uuid, agent: &AgentKey, tokens: &ResumeTokens) -> Vec<u8> {
        let token = tokens.make(agent, session, self.store.node());
        text::introduction(session, &token, self.terms)
    }

    pub(super) fn resume_here(
        self: &Rc<Self>,
        session: Uuid,
        agent: &AgentKey,
        position: (u64, u64),
        place: Place,
    ) -> Option<Resumed> {
        let now = Timestamp::now();
        let resumed = self
            .hub
            .borrow_mut()
            .resume(session, agent, position, place, now)?;
        let mut directory = self.post.directory.lock();
        directory.set_connected(session, true);
        directory.list(session);
        Some(resumed)
    }

    pub(super) fn lost_here(self: &Rc<Self>, session: Uuid, place: Place, for_good: bool) {
        let now = Timestamp::now();
        let (is_gone, agent) = {
            let mut hub = self.hub.borrow_mut();
            if for_good {
                hub.abandon(session, place, now);
            } else {
                hub.disconnect(session, place, now);
            }
            let held = hub.get(session);
            (
                held.is_none_or(|held| !held.is_connected()),
                held.map(|held| held.agent().clone()),
            )
        };
        if is_gone {
            self.post.directory.lock().set_connected(session, false);
            // What it has not settled another session of its agent may deliver.
            agent.iter().for_each(|agent| self.tell_news(agent));
        }
        self.turn();
    }

    fn lose(self: &Rc<Self>, session: Uuid, place: Place, for_good: bool) {
        match self.post.directory.lock().home(session) {
            Some(Home::Shard(home)) if home != self.shard => {
                let letter = Letter::Lost {
                    session,
                    place,
                    for_good,
                };
                self.post.leave(home, letter);
                return;
            }
            Some(Home::Shard(_)) => {}
            Some(Home::Node(_)) | None => return,
        }
        self.lost_here(session, place, for_good);
    }

    /// Looks for a session on all shards, on the node that has it, and then in the store.
    async fn find(
        self: &Rc<Self>,
        agent: &AgentKey,
        claim: Claim,
        place: Place,
    ) -> Result<Back, StoreError> {
        let home = self.post.directory.lock().home(claim.session);
        match home {
            Some(Home::Shard(home)) => Ok(self.find_on(home, agent, claim, place).await),
            Some(Home::Node(_)) | None => self.take_over(agent, claim, place, home).await,
        }
    }

    async fn find_on(
        self: &Rc<Self>,
        home: usize,
        agent: &AgentKey,
        claim: Claim,
        place: Place,
    ) -> Back {
        let Claim {
            session, position, ..
        } = claim;
        let resumed = if home == self.shard {
            let resumed = self.resume_here(session, agent, position, place);
            self.turn();
            resumed
        } else {
            let (reply, resumed) = oneshot::channel();
            let letter = Letter::Resume {
                session,
                agent: agent.clone(),
                position,
                place,
                reply,
            };
            self.post.leave(home, letter);
            resumed.await.ok().flatten()
        };
        resumed.map_or(Back::Unknown, |resumed| Back::Resumed {
            epoch: resumed.epoch,
            latest: resumed.latest,
            missed: resumed.missed,
            volatile: resumed.volatile,
            ended_here: false,
        })
    }

    /// Takes a session from another node, or from what the store has of it.
    async fn take_over(
        self: &Rc<Self>,
        agent: &AgentKey,
        claim: Claim,
        place: Place,
        home: Option<Home>,
    ) -> Result<Back, StoreError> {
        let session = claim.session;
        self.begin_claim(session);
        let handed = match (&self.post.abroad, home) {
            (Some(abroad), Some(Home::Node(node))) => abroad.request(node, session, agent).await,
            _ => None,
        };
        let queue = self.store.resume_queue(agent, session, claim.node).await;
        let home = self.post.directory.lock().home(session);
        if let Some(Home::Shard(home)) = home {
            // Another connection of this process was quicker.
            self.end_claim(session, agent, handed);
            return Ok(self.find_on(home, agent, claim, place).await);
        }
        let queue = match queue {
            Ok(queue) => queue,
            Err(error) => {
                self.end_claim(session, agent, None);
                // The store may have given the queue to this server all the same.
                self.find_owner(session, agent.clone());
                return Err(error);
            }
        };
        if handed.is_none() && !queue.known && queue.volatile.is_none() {
            self.end_claim(session, agent, None);
            return Ok(Back::Unknown);
        }
        let handed = match handed {
            Some(handed) => Some(self.accepted(handed).await),
            None => None,
        };
        let (missed, volatile) = match &handed {
            Some((handed, _)) => (handed.missed, handed.volatile),
            // Of a node that nobody knows any more, nobody knows what it kept in memory.
            None => (Missed::default(), queue.volatile.unwrap_or(true)),
        };
        let epoch = self.new_epoch();
        let entered = {
            let mut directory = self.post.directory.lock();
            match directory.home(session) {
                Some(Home::Shard(home)) => Err(home),
                _ => {
                    directory.enter(session, agent, self.shard);
                    directory.list(session);
                    Ok(())
                }
            }
        };
        if let Err(home) = entered {
            self.end_claim(session, agent, handed);
            return Ok(self.find_on(home, agent, claim, place).await);
        }
        let metrics = &self.metrics.delivery;
        match &handed {
            Some(_) => metrics.taken_from_nodes.add(1),
            None => metrics.taken_from_store.add(1),
        }
        let was_handed = handed.is_some();
        let (owner, now) = (agent.clone(), Timestamp::now());
        self.hub
            .borrow_mut()
            .restore(session, owner, epoch, (queue.waiting, volatile), place, now);
        self.end_claim(session, agent, handed);
        self.turn();
        Ok(Back::Resumed {
            epoch,
            latest: 0,
            missed,
            volatile,
            ended_here: !was_handed && claim.node == self.store.node(),
        })
    }
}

impl Attendance {
    /// The session.
    pub fn session(&self) -> Uuid {
        self.session.get()
    }

    /// Its epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch.get()
    }

    /// What its client shows to take it up again.
    pub fn token(&self, tokens: &ResumeTokens) -> String {
        let node = self.courier.store.node();
        tokens.make(&self.agent, self.session.get(), node)
    }

    /// Takes up an earlier session instead of this one, which ends.
    pub async fn resume(&self, claim: Claim) -> Result<Back, StoreError> {
        let own = self.session.get();
        let courier = &self.courier;
        courier.resuming.borrow_mut().insert(own);
        let back = courier.find(&self.agent, claim, self.place).await;
        courier.resuming.borrow_mut().remove(&own);
        if !matches!(back, Ok(Back::Resumed { .. })) {
            courier.begin(own);
        }
        let back = back?;
        if let Back::Resumed { epoch, .. } = back {
            self.session.set(claim.session);
            let own_epoch = self.epoch.replace(epoch);
            if own != claim.session {
                courier.lose(own, self.place, true);
                // Once the client is told of the other epoch, nothing of its own may come any more.
                courier.outgoing.take_back(self.place.key, own_epoch);
            }
        }
        Ok(back)
    }

    /// Takes what the client says of deliveries.
    pub fn say(&self, said: Said) -> impl Future<Output = Result<Told, SayError>> + use<> {
        let courier = Rc::clone(&self.courier);
        courier.say(self.session.get(), self.place, said)
    }

    /// Has messages to a topic of the agent's namespace delivered.
    pub fn subscribe(&self, topic: &str) -> bool {
        let mut directory = self.courier.post.directory.lock();
        directory.subscribe(self.session.get(), topic)
    }

    /// Ends that.
    pub fn unsubscribe(&self, topic: &str) -> bool {
        let mut directory = self.courier.post.directory.lock();
        directory.unsubscribe(self.session.get(), topic)
    }

    /// The topics of the session.
    pub fn topics(&self) -> Vec<Box<str>> {
        let directory = self.courier.post.directory.lock();
        directory.topics_of(self.session.get())
    }

    /// Ends the session for good: its client will not come back for it.
    pub fn abandon(&self) {
        self.courier.lose(self.session.get(), self.place, true);
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        self.courier.lose(self.session.get(), self.place, false);
    }
}

impl std::fmt::Debug for Attendance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attendance")
            .field("session", &self.session)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}
