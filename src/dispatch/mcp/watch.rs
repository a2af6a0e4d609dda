//! Watching resources and lists: what changed anywhere becomes a notification for those who may
//! see it.
//!
//! A change names a thing; a watch reads the thing again as its own agent and tells its client
//! only if what it reads differs from before. So nobody learns of what they may not read, not
//! even that it changed.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use uuid::Uuid;

use super::resources::{self, Resource};
use crate::delivery::{Change, Inbox, News, Outlet, Session};
use crate::operations::{Services, viewer};
use crate::rpc::mcp;

/// Pause between two looks of one watch: a burst of changes is one notification.
const PAUSE: Duration = Duration::from_millis(50);

/// What a client wants to hear of.
#[derive(Debug, Default)]
pub(super) struct Interest {
    pub(super) tools: bool,
    pub(super) prompts: bool,
    /// The list of resources.
    pub(super) resources: bool,
    /// Resources by the URIs that the client used for them.
    pub(super) uris: RefCell<HashMap<String, Resource>>,
    /// Tasks of its own.
    pub(super) tasks: Vec<Uuid>,
}

impl Interest {
    /// Resources and tasks, of which a connection may watch only so many.
    pub(super) fn count(&self) -> usize {
        self.uris.borrow().len() + self.tasks.len()
    }
}

/// A watch; it ends when this is dropped.
pub(super) struct Watch {
    state: Rc<State>,
    follower: AbortHandle,
}

struct State {
    /// The JSON text of the listen request's id; none for a legacy subscription.
    id: Option<Box<str>>,
    session: Rc<Session>,
    outlet: Outlet,
    interest: Interest,
    /// What there may be to tell.
    pending: RefCell<Pending>,
    wake: Notify,
    /// What was read last, by URI; the list of resources has none.
    seen: RefCell<HashMap<String, u64>>,
    hasher: RandomState,
    ended: Cell<bool>,
}

#[derive(Default)]
struct Pending {
    tools: bool,
    prompts: bool,
    resources: bool,
    uris: Vec<String>,
    tasks: Vec<Uuid>,
}

/// Key of the list of resources among what was seen; no URI is empty.
const LIST: &str = "";

impl Watch {
    /// The JSON text of the listen request's id.
    pub(super) fn id(&self) -> Option<&str> {
        self.state.id.as_deref()
    }

    /// What a legacy client subscribed to.
    pub(super) fn interest(&self) -> &Interest {
        &self.state.interest
    }

    /// Notes how everything is now, where that is not known.
    pub(super) fn note(&self, services: &Rc<Services>) -> impl Future<Output = ()> + use<> {
        let (services, state) = (Rc::clone(services), Rc::clone(&self.state));
        async move { state.note(&services).await }
    }

    /// Watches a resource no longer.
    pub(super) fn forget(&self, uri: &str) {
        self.state.interest.uris.borrow_mut().remove(uri);
        self.state.seen.borrow_mut().remove(uri);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.state.ended.set(true);
        self.follower.abort();
    }
}

/// The watches of one shard.
pub(in crate::dispatch) struct Watches {
    inbox: Arc<Inbox>,
    watches: RefCell<Vec<Weak<State>>>,
    router: Cell<bool>,
}

impl Watches {
    pub(in crate::dispatch) fn new(inbox: Arc<Inbox>) -> Rc<Self> {
        Rc::new(Self {
            inbox,
            watches: RefCell::default(),
            router: Cell::new(false),
        })
    }

    /// Begins a watch; `opening` is the JSON text of the listen request's id and the message that
    /// acknowledges it.
    pub(super) fn begin(
        self: &Rc<Self>,
        services: &Rc<Services>,
        session: &Rc<Session>,
        outlet: &Outlet,
        opening: Option<(Box<str>, Vec<u8>)>,
        interest: Interest,
    ) -> Watch {
        let (id, first) = opening.unzip();
        let state = Rc::new(State {
            id,
            session: Rc::clone(session),
            outlet: outlet.clone(),
            interest,
            pending: RefCell::default(),
            wake: Notify::new(),
            seen: RefCell::default(),
            hasher: RandomState::new(),
            ended: Cell::new(false),
        });
        self.inbox.watch(true);
        self.watches.borrow_mut().push(Rc::downgrade(&state));
        if !self.router.replace(true) {
            tokio::task::spawn_local(Rc::clone(self).route());
        }
        let following = follow(Rc::clone(services), Rc::clone(&state), first);
        let follower = tokio::task::spawn_local(following).abort_handle();
        Watch { state, follower }
    }

    /// Takes changes to the watches that they may concern, for as long as the shard lives.
    async fn route(self: Rc<Self>) {
        loop {
            let news = self.inbox.next().await;
            self.watches.borrow_mut().retain(|watch| {
                let live = watch.upgrade().filter(|state| !state.ended.get());
                match &live {
                    Some(state) => state.hear(&news),
                    None => self.inbox.watch(false),
                }
                live.is_some()
            });
        }
    }
}

impl State {
    fn hear(&self, news: &News) {
        let mut pending = self.pending.borrow_mut();
        let interest = &self.interest;
        let uris = interest.uris.borrow();
        let mut add = |concerned: &dyn Fn(&Resource) -> bool| {
            for (uri, resource) in &*uris {
                if concerned(resource) && !pending.uris.contains(uri) {
                    pending.uris.push(uri.clone());
                }
            }
        };
        let reader = self.session.agent();
        match news {
            News::Lost => {
                add(&|_| true);
                pending.tools |= interest.tools;
                pending.prompts |= interest.prompts;
                pending.resources |= interest.resources;
                pending.tasks.extend(&interest.tasks);
            }
            News::Change(Change::Memory { namespace, id, .. }) => {
                add(&|resource| match resource {
                    Resource::Memory { id: watched, .. } => watched == id,
                    Resource::Recent { namespace: watched } => namespace
                        .as_ref()
                        .is_none_or(|namespace| namespace == watched),
                    _ => false,
                });
                pending.resources |= interest.resources;
            }
            News::Change(Change::Memories) => {
                add(&|resource| !matches!(resource, Resource::Agent { .. }));
                pending.resources |= interest.resources;
            }
            News::Change(Change::Agent(key)) if key.namespace == reader.namespace => {
                add(&|resource| matches!(resource, Resource::Agent { id } if *id == key.agent));
                pending.resources |= interest.resources;
            }
            News::Change(Change::Agent(_)) => {}
            News::Change(Change::McpTask { owner, id }) => {
                if *owner == reader && interest.tasks.contains(id) {
                    pending.tasks.push(*id);
                }
            }
            News::Change(Change::Tools) => pending.tools |= interest.tools,
            News::Change(Change::Prompts) => pending.prompts |= interest.prompts,
        }
        drop(pending);
        self.wake.notify_one();
    }

    async fn note(&self, services: &Services) {
        let watched = self.interest.uris.borrow().clone();
        for (uri, resource) in watched {
            if !self.seen.borrow().contains_key(&uri) {
                self.look(services, &uri, Some(&resource)).await;
            }
        }
        if self.interest.resources {
            self.look(services, LIST, None).await;
        }
    }

    /// Reads a resource, or with none the list; true if it is not what it was.
    async fn look(&self, services: &Services, uri: &str, resource: Option<&Resource>) -> bool {
        let viewer = viewer(&self.session);
        let text = match resource {
            Some(resource) => resources::text_of(services, &viewer, resource, false).await,
            None => resources::outline(services, &viewer).await.map(Some),
        };
        // What cannot be read now is looked at with the next change.
        let Ok(text) = text else { return false };
        let digest = self.hasher.hash_one(text);
        let before = self.seen.borrow_mut().insert(uri.to_owned(), digest);
        before.is_some_and(|before| before != digest)
    }

    fn tell(&self, write: impl FnOnce(&mut Vec<u8>, Option<&str>)) {
        let mut out = Vec::new();
        write(&mut out, self.id.as_deref());
        self.outlet.send(out);
    }
}

/// Looks at what may have changed, and tells what did.
async fn follow(services: Rc<Services>, state: Rc<State>, first: Option<Vec<u8>>) {
    // A client is told that it watches only after this, so it hears of whatever it does next.
    state.note(&services).await;
    if let Some(first) = first {
        state.outlet.send(first);
    }
    loop {
        state.wake.notified().await;
        let pending = state.pending.take();
        for (changed, method) in [
            (pending.tools, "notifications/tools/list_changed"),
            (pending.prompts, "notifications/prompts/list_changed"),
        ] {
            if changed {
                state.tell(|out, id| mcp::write_changed(out, method, id));
            }
        }
        for uri in pending.uris {
            let resource = state.interest.uris.borrow().get(&uri).cloned();
            let Some(resource) = resource else { continue };
            if state.look(&services, &uri, Some(&resource)).await {
                state.tell(|out, id| mcp::write_updated(out, &uri, id));
            }
        }
        if pending.resources && state.look(&services, LIST, None).await {
            let method = "notifications/resources/list_changed";
            state.tell(|out, id| mcp::write_changed(out, method, id));
        }
        for task in pending.tasks {
            super::tasks::tell(
                &services,
                &state.session,
                task,
                state.id.as_deref(),
                &state.outlet,
            )
            .await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
