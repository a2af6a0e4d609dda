//! Messages that answer no request, on their way to their connection: progress, log lines,
//! changes, requests of ours.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Notify;

use super::queue::Parcel;
use crate::config::limits::{OUTGOING_BYTES_MAX, QUEUED_BYTES_MAX};

/// Where tasks leave messages, and what wakes whoever sends them. A shard has one for all its
/// WebSockets; an HTTP response that streams has one of its own.
#[derive(Debug)]
pub struct Outgoing {
    messages: RefCell<Vec<(u64, Vec<u8>)>>,
    orders: RefCell<VecDeque<(u64, Order)>>,
    bytes: Cell<usize>,
    bytes_max: usize,
    dropped: Cell<u64>,
    wake: Arc<Notify>,
}

/// What is done for a WebSocket besides sending it messages that may be dropped.
#[derive(Debug, PartialEq, Eq)]
pub enum Order {
    /// A message is sent.
    Send(Vec<u8>),
    /// A delivery is sent.
    Deliver(Delivery),
    /// It is closed with this code and reason.
    Close(u16, &'static str),
}

/// A message on its way to one session. It is written where it is sent, for the text is the same for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The epoch of its session.
    pub epoch: u64,
    /// Its place in the epoch.
    pub seq: u64,
    /// Which delivery of the message it is, from 1.
    pub number: u32,
    /// Messages in memory only that found no room in this epoch so far.
    pub dropped: u32,
    /// The message.
    pub parcel: Arc<Parcel>,
}

impl Delivery {
    /// Appends it as `notifications/delivery`.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let Self {
            epoch,
            seq,
            number,
            dropped,
            ..
        } = self;
        let text = &self.parcel.text;
        out.reserve(text.len() + 160);
        // Writing into memory cannot fail.
        let _ = write!(
            out,
            r#"{{"jsonrpc":"2.0","method":"notifications/delivery","params":{{"epoch":{epoch},"seq":{seq},"delivery":{number},"#
        );
        if *dropped > 0 {
            let _ = write!(out, r#""dropped":{dropped},"#);
        }
        // The members without the brace that opens them.
        out.extend_from_slice(text.get(1..).unwrap_or(b"}"));
        out.push(b'}');
    }
}

impl Outgoing {
    /// A queue for all WebSockets of a shard, which `wake` wakes.
    pub fn of_shard(wake: Arc<Notify>) -> Rc<Self> {
        Self::new(wake, OUTGOING_BYTES_MAX)
    }

    /// A queue for one stream.
    pub fn of_stream() -> Rc<Self> {
        Self::new(Arc::default(), QUEUED_BYTES_MAX)
    }

    fn new(wake: Arc<Notify>, bytes_max: usize) -> Rc<Self> {
        Rc::new(Self {
            messages: RefCell::default(),
            orders: RefCell::default(),
            bytes: Cell::new(0),
            bytes_max,
            dropped: Cell::new(0),
            wake,
        })
    }

    /// The way to the connection that `key` names.
    pub fn outlet(self: &Rc<Self>, key: u64) -> Outlet {
        Outlet {
            queue: Rc::clone(self),
            key,
        }
    }

    /// Takes what waits, oldest first, into an empty vector.
    pub fn take(&self, into: &mut Vec<(u64, Vec<u8>)>) {
        std::mem::swap(&mut *self.messages.borrow_mut(), into);
        self.bytes.set(0);
    }

    /// Leaves a message that is not to be dropped.
    pub fn send(&self, key: u64, message: Vec<u8>) {
        self.order(key, Order::Send(message));
    }

    /// Leaves a delivery. It is not bounded here: a session's window bounds it.
    pub fn deliver(&self, key: u64, delivery: Delivery) {
        self.order(key, Order::Deliver(delivery));
    }

    /// Has a connection closed, after what was left for it before.
    pub fn close(&self, key: u64, code: u16, reason: &'static str) {
        self.order(key, Order::Close(code, reason));
    }

    fn order(&self, key: u64, order: Order) {
        self.orders.borrow_mut().push_back((key, order));
        self.wake.notify_one();
    }

    /// Takes back the deliveries of an epoch that a connection has not been sent: its session has ended
    /// and returns them to its agent.
    pub fn take_back(&self, key: u64, epoch: u64) {
        let is_of = |order: &Order| matches!(order, Order::Deliver(of) if of.epoch == epoch);
        let mut orders = self.orders.borrow_mut();
        orders.retain(|(to, order)| *to != key || !is_of(order));
    }

    /// Takes a delivery or a close, the oldest first.
    pub fn take_order(&self) -> Option<(u64, Order)> {
        self.orders.borrow_mut().pop_front()
    }

    /// Messages that found no room since the last time this was asked.
    pub fn take_dropped(&self) -> u64 {
        self.dropped.take()
    }

    /// Waits until something may be there to take.
    pub async fn filled(&self) {
        self.wake.notified().await;
    }
}

/// The key of what is no message: the stream that carries it is to be broken off.
pub const INTERRUPT: u64 = u64::MAX;

/// The way of such messages to one connection.
#[derive(Debug, Clone)]
pub struct Outlet {
    queue: Rc<Outgoing>,
    key: u64,
}

impl Outlet {
    /// Leaves a message; false if there is no room for it. What is sent this way tells of
    /// something that can be asked for, so a peer that does not read loses nothing else.
    pub fn send(&self, message: Vec<u8>) -> bool {
        let queue = &self.queue;
        let bytes = queue.bytes.get() + message.len();
        if bytes > queue.bytes_max {
            queue.dropped.set(queue.dropped.get() + 1);
            return false;
        }
        queue.bytes.set(bytes);
        queue.messages.borrow_mut().push((self.key, message));
        queue.wake.notify_one();
        true
    }
}

#[cfg(feature = "conformance-fixture")]
impl Outlet {
    /// Breaks the stream off that carries this; its client has to come back for the rest.
    pub fn interrupt(&self) {
        self.queue
            .messages
            .borrow_mut()
            .push((INTERRUPT, Vec::new()));
        self.queue.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::queue::Parcel;
    use super::{Delivery, Order, Outgoing};
    use crate::config::limits::QUEUED_BYTES_MAX;

    #[test]
    fn what_an_ended_session_had_on_its_way_is_taken_back() {
        let parcel = Arc::new(Parcel {
            id: uuid::Uuid::nil(),
            text: b"{}"[..].into(),
        });
        let delivery = |epoch| Delivery {
            epoch,
            seq: 1,
            number: 1,
            dropped: 0,
            parcel: Arc::clone(&parcel),
        };
        let queue = Outgoing::of_stream();
        for key in [1, 2] {
            queue.send(key, b"m".to_vec());
            queue.deliver(key, delivery(7));
            queue.deliver(key, delivery(8));
        }
        queue.take_back(1, 7);
        let left: Vec<(u64, Order)> = std::iter::from_fn(|| queue.take_order()).collect();
        let message = |key| (key, Order::Send(b"m".to_vec()));
        let order = |key, epoch| (key, Order::Deliver(delivery(epoch)));
        let wanted = [
            message(1),
            order(1, 8),
            message(2),
            order(2, 7),
            order(2, 8),
        ];
        assert_eq!(left, wanted);
    }

    #[test]
    fn orders_are_taken_in_order() {
        let queue = Outgoing::of_stream();
        for key in 0..5 {
            queue.send(key, b"m".to_vec());
        }
        queue.close(0, 1000, "");
        let taken: Vec<(u64, Order)> = std::iter::from_fn(|| queue.take_order()).collect();
        let keys: Vec<u64> = taken.iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, [0, 1, 2, 3, 4, 0]);
        assert!(matches!(taken.last(), Some((0, Order::Close(1000, "")))));
    }

    #[test]
    fn messages_come_in_order_and_are_bounded() {
        let queue = Outgoing::of_stream();
        let (one, two) = (queue.outlet(1), queue.outlet(2));
        assert!(one.send(b"a".to_vec()) && two.send(b"b".to_vec()) && one.send(b"c".to_vec()));
        assert!(!one.send(vec![0; QUEUED_BYTES_MAX]));
        assert_eq!((queue.take_dropped(), queue.take_dropped()), (1, 0));
        let mut taken = Vec::new();
        queue.take(&mut taken);
        assert_eq!(
            taken,
            [(1, b"a".to_vec()), (2, b"b".to_vec()), (1, b"c".to_vec())]
        );
        assert!(one.send(vec![0; QUEUED_BYTES_MAX]), "there is room again");
    }
}
