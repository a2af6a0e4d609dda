use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::{Acked, Action, BeyondSent, Entry, Missed, Parcel, SessionQueue};
use crate::config::limits::{QUEUED_BYTES_MAX, WINDOW_BYTES_MAX, WINDOW_MESSAGES_MAX};
use crate::domain::{DeathCause, Outline, Priority, Timestamp};

fn at(millis: u64) -> Timestamp {
    let start = Timestamp::from_micros(1_000_000_000_000_000).unwrap();
    start.plus_millis(millis).unwrap()
}

fn parcel(bytes: usize) -> Arc<Parcel> {
    let text = vec![b'x'; bytes].into();
    Arc::new(Parcel {
        id: Uuid::new_v4(),
        text,
    })
}

fn volatile(priority: Priority) -> Entry {
    Entry::volatile(parcel(10), priority, at(10_000_000))
}

fn stored(key: i64, bytes: usize) -> Entry {
    let expires_at = at(10_000_000);
    Entry::stored(key, true, parcel(bytes), Priority::Normal, expires_at)
}

fn connected() -> SessionQueue {
    let mut queue = SessionQueue::new(7);
    queue.connect();
    queue
}

fn poll(queue: &mut SessionQueue, millis: u64) -> Vec<Action> {
    let mut actions = Vec::new();
    queue.poll(at(millis), &mut actions);
    actions
}

/// Places and deliveries that were sent.
fn sent(actions: &[Action]) -> Vec<(u64, u32)> {
    let sends = actions.iter().filter_map(|action| match action {
        Action::Send { seq, delivery, .. } => Some((*seq, *delivery)),
        _ => None,
    });
    sends.collect()
}

fn counts(actions: &[Action]) -> Vec<i64> {
    let counts = actions.iter().filter_map(|action| match action {
        Action::Count(keys) => Some(keys.clone()),
        _ => None,
    });
    counts.flatten().collect()
}

#[test]
fn the_window_bounds_messages_and_bytes() {
    let mut queue = connected();
    for _ in 0..WINDOW_MESSAGES_MAX + 10 {
        assert!(queue.offer(volatile(Priority::Normal), at(0)));
    }
    assert_eq!(sent(&poll(&mut queue, 0)).len(), WINDOW_MESSAGES_MAX);
    let answered = queue.ack(Acked::UpTo(3)).unwrap();
    assert_eq!((answered.accepted, answered.keys), (3, vec![]));
    let more = sent(&poll(&mut queue, 1));
    assert_eq!(more.first(), Some(&(WINDOW_MESSAGES_MAX as u64 + 1, 1)));
    assert_eq!(more.len(), 3);

    let mut queue = connected();
    for key in 0..6 {
        queue.offer(stored(key, WINDOW_BYTES_MAX / 4), at(0));
    }
    let first = sent(&poll(&mut queue, 0)).len();
    assert!((3..=4).contains(&first), "{first}");
}

#[test]
fn no_lane_starves_and_the_urgent_go_first() {
    let mut queue = connected();
    for _ in 0..WINDOW_MESSAGES_MAX {
        queue.offer(volatile(Priority::Low), at(0));
    }
    for _ in 0..WINDOW_MESSAGES_MAX {
        queue.offer(volatile(Priority::Urgent), at(0));
    }
    // All came at once: nobody has waited long, so only the urgent go.
    assert_eq!(sent(&poll(&mut queue, 0)).len(), WINDOW_MESSAGES_MAX);
    assert!(
        queue
            .lanes
            .iter()
            .all(|entry| entry.priority == Priority::Low)
    );
    for _ in 0..WINDOW_MESSAGES_MAX {
        queue.offer(volatile(Priority::Urgent), at(60_000));
    }
    let latest = queue.latest();
    queue.ack(Acked::UpTo(latest)).unwrap();
    poll(&mut queue, 60_000);
    let low = queue
        .lanes
        .iter()
        .filter(|entry| entry.priority == Priority::Low);
    let gone = WINDOW_MESSAGES_MAX - low.count();
    assert_eq!(gone, WINDOW_MESSAGES_MAX / 8, "one of eight");
}

#[test]
fn what_is_not_answered_comes_again_a_bounded_number_of_times() {
    let mut queue = connected();
    queue.offer(stored(5, 10), at(0));
    assert_eq!(sent(&poll(&mut queue, 0)), [(1, 1)]);
    let mut deliveries = vec![1];
    let (buried, now) = loop {
        let now = queue.wake_at().unwrap().as_micros() as u64 / 1_000 - 1_000_000_000_000;
        let mut actions = poll(&mut queue, now);
        let keys = counts(&actions);
        if !keys.is_empty() {
            queue.counted(&keys, true, at(now), &mut actions);
            actions.extend(poll(&mut queue, now));
        }
        deliveries.extend(sent(&actions).iter().map(|(_, delivery)| delivery));
        if let Some(Action::Bury(dead)) = actions.pop() {
            break (dead, now);
        }
    };
    assert_eq!(deliveries, [1, 2, 3, 4, 5]);
    assert_eq!(buried, [(5, DeathCause::Undeliverable, None)]);
    assert!(
        (150_000..200_000).contains(&now),
        "five waits and four pauses: {now}"
    );
    queue.buried(&[5], true, at(now));
    assert_eq!(queue.keys().count(), 0);
}

#[test]
fn a_late_answer_settles_nothing_that_was_sent_after_it() {
    let mut queue = connected();
    queue.offer(volatile(Priority::Normal), at(0));
    poll(&mut queue, 0);
    let again = queue.nack(1, Some(1), 0, at(10));
    assert_eq!(again.accepted, 1);
    assert_eq!(sent(&poll(&mut queue, 10)), [(1, 2)]);
    let late = queue
        .ack(Acked::Places(vec![(1, Some(1)), (9, None)]))
        .unwrap();
    assert_eq!(
        (late.accepted, late.stale, late.unknown),
        (0, vec![1], vec![9])
    );
    let timely = queue.ack(Acked::Places(vec![(1, Some(2))])).unwrap();
    assert_eq!(timely.accepted, 1);
    let beyond = queue.ack(Acked::UpTo(2));
    assert_eq!(
        beyond,
        Err(BeyondSent {
            up_to: 2,
            latest: 1
        })
    );
}

#[test]
fn what_the_store_cannot_settle_is_open_again() {
    let mut queue = connected();
    queue.offer(stored(5, 10), at(0));
    poll(&mut queue, 0);
    let keys = queue.ack(Acked::UpTo(1)).unwrap().keys;
    assert_eq!(keys, [5]);
    assert_eq!(
        queue.ack(Acked::UpTo(1)).unwrap().accepted,
        0,
        "said already"
    );
    queue.settled(&keys, false, at(5));
    assert_eq!(queue.ack(Acked::UpTo(1)).unwrap().keys, [5]);
    queue.settled(&keys, true, at(6));
    assert_eq!(queue.entries().count(), 0);
}

#[test]
fn whoever_comes_back_gets_what_it_lost_before_anything_new() {
    let mut queue = connected();
    for key in 1..=4 {
        queue.offer(stored(key, 10), at(0));
    }
    poll(&mut queue, 0);
    queue.disconnect();
    queue.offer(stored(5, 10), at(1));
    assert!(sent(&poll(&mut queue, 40_000)).is_empty());
    assert_eq!(queue.reconnect(Some(2), at(50_000)), Missed::default());
    let mut actions = poll(&mut queue, 50_000);
    assert_eq!(
        sent(&actions),
        [(3, 2), (4, 2), (5, 1)],
        "what was lost was never made"
    );
    let keys = counts(&actions);
    assert_eq!(keys, [1, 2], "what was received is counted");
    actions.clear();
    queue.counted(&keys, true, at(50_001), &mut actions);
    actions.extend(poll(&mut queue, 50_001));
    assert_eq!(sent(&actions), [(1, 2), (2, 2)]);
}

#[test]
fn nothing_new_comes_before_what_was_lost_and_has_to_be_counted() {
    let mut queue = connected();
    for key in 1..=2 {
        queue.offer(stored(key, 10), at(0));
    }
    poll(&mut queue, 0);
    queue.disconnect();
    queue.offer(stored(3, 10), at(1));
    // A client that does not know where it was.
    queue.reconnect(None, at(2));
    let mut actions = poll(&mut queue, 2);
    assert!(sent(&actions).is_empty());
    let keys = counts(&actions);
    assert_eq!(keys, [1, 2]);
    actions.clear();
    queue.counted(&keys, true, at(3), &mut actions);
    actions.extend(poll(&mut queue, 3));
    assert_eq!(sent(&actions), [(1, 2), (2, 2), (3, 1)]);
}

#[test]
fn a_client_on_a_bad_line_uses_up_no_deliveries() {
    let mut queue = connected();
    queue.offer(stored(1, 10), at(0));
    poll(&mut queue, 0);
    for turn in 1..20 {
        queue.disconnect();
        assert!(queue.reconnect(Some(0), at(turn)).is_nothing());
        assert_eq!(sent(&poll(&mut queue, turn)), [(1, turn as u32 + 1)]);
    }
}

#[test]
fn what_finds_no_room_is_loaded_when_its_turn_comes() {
    let mut queue = connected();
    let count = 2 * QUEUED_BYTES_MAX / 200_000 + 10;
    for key in 0..count as i64 {
        assert!(queue.offer(stored(key, 200_000), at(0)));
    }
    let big = Entry::volatile(parcel(200_000), Priority::Normal, at(1_000_000));
    assert!(!queue.offer(big, at(0)), "nothing else keeps it");
    assert_eq!(queue.tally().dropped, 1);
    assert!(queue.bytes() <= QUEUED_BYTES_MAX);
    let mut order = Vec::new();
    for turn in 0..100 {
        let actions = poll(&mut queue, turn);
        for action in actions {
            match action {
                Action::Send { seq, .. } => order.push(seq),
                Action::Load(keys) => {
                    let found = keys.iter().map(|key| (*key, parcel(200_000)));
                    let found: BTreeMap<_, _> = found.collect();
                    queue.loaded(&keys, Some(&found));
                }
                _ => panic!("{action:?}"),
            }
        }
        let keys = queue.ack(Acked::UpTo(queue.latest())).unwrap().keys;
        assert!(keys.is_sorted(), "the order is kept");
        queue.settled(&keys, true, at(turn));
        assert!(queue.bytes() <= QUEUED_BYTES_MAX + WINDOW_BYTES_MAX + 600_000);
    }
    assert_eq!(order.len(), count);
    assert_eq!(queue.entries().count(), 0);
}

#[test]
fn what_expires_unseen_is_told_to_whoever_comes_back() {
    let mut queue = SessionQueue::new(7);
    let short = Entry::volatile(parcel(10), Priority::High, at(100));
    queue.offer(short, at(0));
    let outline = Outline {
        key: 9,
        message: Uuid::nil(),
        priority: Priority::Low,
        bytes: 10,
        expires_at: at(200),
        deliveries: 0,
    };
    queue.offer(Entry::found(outline), at(0));
    assert_eq!(queue.wake_at(), Some(at(100)));
    let actions = poll(&mut queue, 200);
    assert_eq!(
        actions,
        [Action::Bury(vec![(9, DeathCause::Expired, None)])]
    );
    let missed = queue.reconnect(Some(0), at(300));
    assert_eq!(missed.expired, 2);
    assert_eq!(
        queue.reconnect(Some(0), at(300)).expired,
        2,
        "it may not have heard"
    );
    queue.ack(Acked::UpTo(0)).unwrap();
    assert!(queue.reconnect(Some(0), at(400)).is_nothing());
}

#[test]
fn a_client_may_extend_and_terminate() {
    let mut queue = connected();
    queue.offer(stored(1, 10), at(0));
    queue.offer(stored(2, 10), at(0));
    poll(&mut queue, 0);
    assert_eq!(queue.extend(1, None, at(29_000)).accepted, 1);
    assert_eq!(
        queue
            .term(2, Some(1), Some("bad".into()), at(29_000))
            .accepted,
        1
    );
    let actions = poll(&mut queue, 31_000);
    let dead = vec![(2, DeathCause::Terminated, Some("bad".into()))];
    assert_eq!(actions, [Action::Bury(dead)], "and nothing is sent again");
    queue.buried(&[2], false, at(31_000));
    assert!(poll(&mut queue, 31_500).is_empty());
    assert_eq!(
        poll(&mut queue, 32_000).len(),
        1,
        "the store is asked again"
    );
    assert_eq!(queue.withdraw(vec![1, 2]), 2);
    assert_eq!(queue.keys().count(), 0);
}
