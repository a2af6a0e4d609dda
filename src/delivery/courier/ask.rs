//! What the hub asks of the store.

use std::rc::Rc;

use uuid::Uuid;

use super::{Courier, noted, text};
use crate::delivery::hub::Request;
use crate::domain::{AgentKey, Timestamp};

impl Courier {
    /// Asks the store, and tells the hub.
    pub(super) async fn ask(self: &Rc<Self>, session: Uuid, epoch: u64, request: Request) {
        match request {
            Request::Fill(agent) => {
                let absent = self.absent(&agent);
                let filled = self.store.fill_queue(&agent, session, absent).await;
                let filled = noted(filled, "fill a queue").ok();
                self.hub
                    .borrow_mut()
                    .filled(session, epoch, filled, Timestamp::now());
            }
            Request::CatchUp(agent) => {
                let found = self.look(&agent, session, epoch).await;
                // What was sent before what is found has its place before it.
                self.read_all();
                self.hub
                    .borrow_mut()
                    .caught_up(session, epoch, found, Timestamp::now());
            }
            Request::Count(keys) => {
                let counted = self.store.count_deliveries(keys.clone()).await;
                let done = noted(counted, "count deliveries").is_ok();
                self.hub
                    .borrow_mut()
                    .counted(session, epoch, &keys, done, Timestamp::now());
            }
            Request::Load(keys) => {
                let loaded = self.store.load_deliveries(keys.clone()).await;
                let found = noted(loaded, "load messages").ok().map(|messages| {
                    let parcels = messages.iter();
                    parcels
                        .map(|(key, message)| (*key, text::parcel(message)))
                        .collect()
                });
                self.hub.borrow_mut().loaded(
                    session,
                    epoch,
                    &keys,
                    found.as_ref(),
                    Timestamp::now(),
                );
            }
            Request::Settle(keys) => {
                let settled = self.settle(keys.clone()).await;
                let done = noted(settled, "settle deliveries").is_ok();
                self.hub
                    .borrow_mut()
                    .settled(session, epoch, &keys, done, Timestamp::now());
            }
            Request::Bury(dead) => {
                let keys: Vec<i64> = dead.iter().map(|(key, ..)| *key).collect();
                let buried = self.store.bury_deliveries(dead).await;
                let done = noted(buried, "make dead letters").is_ok();
                self.hub
                    .borrow_mut()
                    .buried(session, epoch, &keys, done, Timestamp::now());
            }
            Request::Close(agent) => {
                let closed = self.store.close_queue(&agent, session).await;
                let done = noted(closed, "close a queue").is_ok();
                self.hub
                    .borrow_mut()
                    .closed(session, epoch, done, Timestamp::now());
            }
        }
    }

    pub(super) fn absent(&self, agent: &AgentKey) -> Vec<Uuid> {
        let sessions = self.post.directory.lock().of_agent(agent);
        let absent = sessions.into_iter().filter(|listed| !listed.connected);
        absent.map(|listed| listed.session).collect()
    }
}
