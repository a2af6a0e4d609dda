//! A message in memory from its offer to its acknowledgement: through one session's queue, and through a
//! hub of some sessions.

use std::hint::black_box;
use std::sync::Arc;

use tmws::delivery::hub::{Effect, Hub};
use tmws::delivery::queue::{Acked, Action, Entry, Parcel, SessionQueue};
use tmws::domain::{AgentKey, Priority, Timestamp};
use uuid::Uuid;

use super::Counter;

/// Messages offered before the client answers: half a window.
const BATCH: usize = 128;
const BATCHES: usize = 16;
const OPERATIONS: u64 = (BATCH * BATCHES) as u64;
const SESSIONS: usize = 16;
const BODY_BYTES: usize = 128;

pub(crate) fn count(counter: &Counter) {
    if counter.wants("lanes/") {
        queue(counter);
        hub(counter);
    }
}

/// Messages that expire long after this.
fn parcels(now: Timestamp) -> (Vec<Arc<Parcel>>, Timestamp) {
    let text: Box<[u8]> = "x".repeat(BODY_BYTES).into_bytes().into();
    let parcel = || {
        let (id, text) = (Uuid::now_v7(), text.clone());
        Arc::new(Parcel { id, text })
    };
    let expires_at = now.plus_seconds(3_600).expect("a time");
    ((0..BATCH).map(|_| parcel()).collect(), expires_at)
}

fn queue(counter: &Counter) {
    let now = Timestamp::now();
    let (parcels, expires_at) = parcels(now);
    let mut queue = SessionQueue::new(7);
    queue.connect();
    let mut actions = Vec::new();
    let mut seq = 0;
    counter.count("lanes/queue", OPERATIONS, || {
        for _ in 0..BATCHES {
            for parcel in &parcels {
                let entry = Entry::volatile(Arc::clone(parcel), Priority::Normal, expires_at);
                assert!(queue.offer(entry, now));
            }
            queue.poll(now, &mut actions);
            for (action, sent) in actions.drain(..).zip(&parcels) {
                seq += 1;
                let is_next = matches!(black_box(action),
                    Action::Send { seq: place, parcel, .. } if place == seq && parcel.id == sent.id);
                assert!(is_next);
            }
            let acked = queue.ack(Acked::UpTo(seq)).expect("sent");
            assert_eq!(acked.accepted, BATCH as u64);
        }
    });
}

fn hub(counter: &Counter) {
    let now = Timestamp::now();
    let (parcels, expires_at) = parcels(now);
    let mut hub = Hub::new(300_000);
    let mut effects = Vec::new();
    let mut sessions: Vec<(Uuid, u64)> = (0..SESSIONS)
        .map(|number| {
            let session = Uuid::from_u128(number as u128 + 1);
            let agent = AgentKey::new("budget", &format!("agent-{number}")).expect("a name");
            hub.open(session, agent, 1, number);
            hub.start(session);
            hub.filled(session, 1, Some(Vec::new()), now);
            (session, 0)
        })
        .collect();
    hub.poll(now, &mut effects);
    effects.clear();
    counter.count("lanes/hub", OPERATIONS, || {
        for (turn, (session, seq)) in sessions.iter_mut().enumerate() {
            for parcel in &parcels {
                let entry = Entry::volatile(Arc::clone(parcel), Priority::Normal, expires_at);
                assert_eq!(hub.offer(*session, entry, now), Some(true));
            }
            hub.poll(now, &mut effects);
            for (effect, sent) in effects.drain(..).zip(&parcels) {
                *seq += 1;
                let is_next = matches!(black_box(effect),
                    Effect::Send { connection, seq: place, parcel, .. }
                        if connection == turn && place == *seq && parcel.id == sent.id);
                assert!(is_next);
            }
            let acked = hub.ack(*session, turn, Acked::UpTo(*seq));
            assert_eq!(
                acked.expect("its connection").expect("sent").accepted,
                BATCH as u64
            );
            hub.poll(now, &mut effects);
            assert!(effects.is_empty());
        }
    });
}

const _: () = assert!(SESSIONS == BATCHES);
