use std::sync::Arc;

use uuid::Uuid;

use super::{Due, Events, Position, Topic, Wanted, What};
use crate::config::limits::{EVENT_FEEDS_MAX, EVENTS_KEPT_MAX};
use crate::domain::AgentKey;
use crate::store::Viewer;

fn viewer(namespace: &str) -> Viewer {
    Viewer {
        key: AgentKey::new(namespace, "a").unwrap(),
        admin: false,
    }
}

fn publish(events: &Events, namespace: &str) {
    events.publish(Topic::Presence, &Arc::from(namespace), What::Gap);
}

fn subscribe(events: &Events, session: Uuid, from: Option<Position>) -> (Position, bool) {
    let wanted = Wanted::default();
    events.subscribe((session, 0), Topic::Presence, viewer("n"), wanted, from)
}

fn offsets(due: &[Due]) -> Vec<u64> {
    due.iter().map(|due| due.event.offset).collect()
}

#[test]
fn a_reader_gets_what_comes_after_it_began_once_and_in_order() {
    let events = Events::new(2);
    let session = Uuid::new_v4();
    publish(&events, "n");
    let (place, _) = subscribe(&events, session, None);
    publish(&events, "n");
    publish(&events, "other");
    publish(&events, "n");
    assert!(events.take(1, 10).is_empty(), "it is of another shard");
    let mut due = events.take(0, 1);
    due.extend(events.take(0, 10));
    let offsets = offsets(&due);
    assert_eq!(offsets.len(), 2);
    assert!(place.offset < offsets[0] && offsets[0] < offsets[1]);
    assert!(events.take(0, 10).is_empty());
    // Again, from the first of them.
    let from = Position {
        offset: offsets[0],
        ..place
    };
    assert!(subscribe(&events, session, Some(from)).1);
    assert_eq!(self::offsets(&events.take(0, 10)), offsets[1..]);
    assert!(events.unsubscribe(session, Topic::Presence, &viewer("n").key));
    publish(&events, "n");
    assert!(events.take(0, 10).is_empty());
}

#[test]
fn what_is_kept_no_more_is_not_recovered_and_a_slow_reader_is_told_of_a_gap() {
    let events = Events::new(1);
    let (slow, late) = (Uuid::new_v4(), Uuid::new_v4());
    let (place, _) = subscribe(&events, slow, None);
    for _ in 0..EVENTS_KEPT_MAX {
        publish(&events, "n");
    }
    assert!(subscribe(&events, late, Some(place)).1, "all is here yet");
    assert_eq!(events.take(0, usize::MAX).len(), 2 * EVENTS_KEPT_MAX);
    let (place, _) = subscribe(&events, slow, None);
    for _ in 0..=EVENTS_KEPT_MAX {
        publish(&events, "n");
    }
    assert!(!subscribe(&events, late, Some(place)).1);
    let due = events.take(0, usize::MAX);
    assert!(due.iter().all(|due| due.session == slow));
    // The gap, and everything after it.
    assert_eq!(due.len(), EVENTS_KEPT_MAX + 1);
    events.refused(&due[0]);
    publish(&events, "n");
    let of_slow = |due: &Due| due.session == slow;
    let due = events.take(0, usize::MAX);
    assert_eq!(due.iter().filter(|due| of_slow(due)).count(), 2);
}

#[test]
fn feeds_that_made_room_are_not_recovered_from() {
    let events = Events::new(1);
    let session = Uuid::new_v4();
    let (place, _) = subscribe(&events, session, None);
    publish(&events, "n");
    events.forget(session, &viewer("n").key);
    assert!(subscribe(&events, session, Some(place)).1);
    events.forget(session, &viewer("n").key);
    for n in 0..=EVENT_FEEDS_MAX {
        publish(&events, &format!("n{n}"));
    }
    assert!(!subscribe(&events, session, Some(place)).1);
}
