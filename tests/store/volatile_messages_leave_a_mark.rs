//! Whoever resumes a session learns whether the node that had it has sent messages that went with it.

use std::sync::Arc;

use tmws::config::limits::SESSION_WINDOW_SECONDS;
use tmws::domain::{Message, Unsettled};
use tmws::store::Viewer;
use uuid::Uuid;

use crate::fixture::*;
use crate::mail::*;

on_every_store!(
    that_the_next_node_sees,
    that_stays_while_the_node_lives,
    that_comes_with_a_queue,
    of_the_node_that_had_the_queue_last,
    that_goes_with_the_node,
    that_can_be_taken_back,
    unless_it_is_stored_before_the_end,
);

fn keep(fixture: &Fixture) {
    block(fixture.store.keep_node()).expect("kept");
}

fn that_the_next_node_sees(store: Backend) {
    let fixture = store.open();
    let first = fixture.store.node();
    fixture.note_volatile();
    let fixture = fixture.reopen();
    let second = fixture.store.node();
    assert_ne!(second, first);
    assert_eq!(fixture.volatile(first), Some(true));
    assert_eq!(fixture.volatile(second), Some(false));
    let fixture = fixture.reopen();
    assert_eq!(fixture.volatile(first), Some(true));
    assert_eq!(fixture.volatile(second), Some(false));
    assert_eq!(fixture.volatile(Uuid::new_v4()), None);
}

fn that_stays_while_the_node_lives(store: Backend) {
    let fixture = store.open();
    let node = fixture.store.node();
    keep(&fixture);
    assert_eq!(fixture.volatile(node), Some(false));
    fixture.note_volatile();
    assert_eq!(fixture.volatile(node), Some(true));
    fixture.clock.advance(1);
    keep(&fixture);
    fixture.note_volatile();
    keep(&fixture);
    assert_eq!(fixture.volatile(node), Some(true));
}

fn that_comes_with_a_queue(store: Backend) {
    let fixture = store.open();
    let node = fixture.store.node();
    let session = Uuid::new_v4();
    let key = fixture.say("stored", queue(&alice(), session)).1;
    fixture.note_volatile();
    let fixture = fixture.reopen();
    // A client need not know who had its queue, and a stranger does not learn it.
    let strange = fixture.resume_after(&stranger(), session, Uuid::new_v4());
    assert_eq!((strange.known, strange.volatile), (false, None));
    let resumed = fixture.resume_after(&alice(), session, Uuid::new_v4());
    assert!(resumed.known);
    assert_eq!(keys(&resumed.waiting), [key]);
    assert_eq!(resumed.volatile, Some(true));
    // From now on it is this node's, whatever the client thinks.
    let again = fixture.resume_after(&alice(), session, node);
    assert_eq!((again.known, again.volatile), (true, Some(false)));
    fixture.note_volatile();
    assert_eq!(fixture.resume(&alice(), session).volatile, Some(true));
}

fn of_the_node_that_had_the_queue_last(store: Backend) {
    let fixture = store.open();
    let session = Uuid::new_v4();
    fixture.say("stored", queue(&alice(), session));
    fixture.note_volatile();
    let first = fixture.store.node();
    let fixture = fixture.reopen();
    fixture.resume_after(&alice(), session, first);
    let fixture = fixture.reopen();
    let resumed = fixture.resume_after(&alice(), session, first);
    assert_eq!((resumed.known, resumed.volatile), (true, Some(false)));
    // Without a queue the client is believed.
    fixture.close(&alice(), session);
    let resumed = fixture.resume_after(&alice(), session, first);
    assert_eq!((resumed.known, resumed.volatile), (false, Some(true)));
}

fn that_goes_with_the_node(store: Backend) {
    let fixture = store.open();
    let node = fixture.store.node();
    fixture.say("stored", queue(&alice(), Uuid::new_v4()));
    fixture.note_volatile();
    let fixture = fixture.reopen();
    fixture.clock.advance(SESSION_WINDOW_SECONDS as i64 - 1);
    keep(&fixture);
    fixture.keep_up();
    assert_eq!(fixture.volatile(node), Some(true));
    fixture.clock.advance(1);
    assert_eq!(fixture.keep_up().queues, 1);
    assert_eq!(fixture.volatile(node), None);
}

fn that_can_be_taken_back(store: Backend) {
    let fixture = store.open();
    let node = fixture.store.node();
    fixture.note_volatile();
    block(fixture.store.withdraw_volatile()).expect("taken back");
    assert_eq!(fixture.volatile(node), Some(false));
    keep(&fixture);
    assert_eq!(fixture.volatile(node), Some(false));
    fixture.note_volatile();
    assert_eq!(fixture.volatile(node), Some(true), "it counts again");
    block(fixture.store.withdraw_volatile()).expect("taken back");
    let fixture = fixture.reopen();
    assert_eq!(fixture.volatile(node), Some(false));
}

fn unless_it_is_stored_before_the_end(store: Backend) {
    let fixture = store.open();
    let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
    let [first, second, third] = ["first", "second", "third"].map(|text| message(&fixture, text));
    // What was stored before has its place among what was not.
    let stored = fixture.post(&second, vec![queue(&alice(), one)])[0];
    let unsettled = |message: &Message, agent: &Viewer, session, deliveries| Unsettled {
        message: Arc::new(message.clone()),
        agent: agent.key.clone(),
        session,
        deliveries,
    };
    let keep = |unsettled: Vec<Unsettled>| -> Vec<i64> {
        let kept = block(fixture.store.keep_messages(unsettled)).expect("committed");
        kept.into_iter().map(|key| key.expect("room")).collect()
    };
    let given = || {
        vec![
            unsettled(&third, &alice(), one, 4),
            unsettled(&first, &alice(), one, 1),
            unsettled(&first, &bob(), two, 0),
        ]
    };
    let kept = keep(given());
    assert_eq!(
        keep(given()),
        kept,
        "asking again makes up for a lost answer"
    );
    // Another shard has the same message.
    let more = keep(vec![unsettled(&first, &stranger(), two, 0)]);
    let fixture = fixture.reopen();
    let waiting = fixture.resume(&alice(), one).waiting;
    let counts: Vec<(i64, u32)> = waiting
        .iter()
        .map(|outline| (outline.key, outline.deliveries))
        .collect();
    assert_eq!(counts, [(kept[1], 1), (stored, 0), (kept[0], 4)]);
    let loaded = fixture.load(&[kept[1], stored, kept[0]]);
    let mut texts: Vec<(i64, Message)> =
        vec![(kept[1], first.clone()), (stored, second), (kept[0], third)];
    texts.sort_unstable_by_key(|(key, _)| *key);
    assert_eq!(loaded, texts);
    for (agent, key) in [(bob(), kept[2]), (stranger(), more[0])] {
        let queue = fixture.resume(&agent, two);
        assert_eq!((queue.known, keys(&queue.waiting)), (true, vec![key]));
    }
    // A message lives as long as its last delivery.
    fixture.settle(&[kept[1], more[0]]);
    assert_eq!(fixture.load(&[kept[2]]), [(kept[2], first)]);
}

#[test]
fn that_other_nodes_see_at_once() {
    let one = Backend::Postgres.open();
    let two = one.another_node();
    let session = Uuid::new_v4();
    one.say("stored", queue(&alice(), session));
    assert_eq!(two.volatile(one.store.node()), Some(false));
    one.note_volatile();
    assert_eq!(two.volatile(one.store.node()), Some(true));
    assert_eq!(two.resume(&alice(), session).volatile, Some(true));
    assert_eq!(one.resume(&alice(), session).volatile, Some(false));
}

#[test]
fn that_senders_leave_for_a_node_they_send_to() {
    let one = Backend::Postgres.open();
    let two = one.another_node();
    let session = Uuid::new_v4();
    one.say("stored", queue(&alice(), session));
    // The node may end before it has what is on its way to it.
    block(two.store.note_volatile_of(one.store.node())).expect("noted");
    assert_eq!(two.volatile(one.store.node()), Some(true));
    assert_eq!(two.volatile(two.store.node()), Some(false));
    assert_eq!(two.resume(&alice(), session).volatile, Some(true));
    // Nothing is known of a stranger, and nothing is noted.
    let stranger = Uuid::new_v4();
    block(two.store.note_volatile_of(stranger)).expect("noted");
    assert_eq!(two.volatile(stranger), None);
}

#[test]
fn that_two_nodes_do_not_both_get() {
    let one = Backend::Postgres.open();
    let (two, three) = (one.another_node(), one.another_node());
    one.note_volatile();
    for round in 0..30 {
        let session = Uuid::new_v4();
        one.say("stored", queue(&alice(), session));
        let resume = |node: &Fixture| {
            node.store
                .resume_queue(&alice().key, session, Uuid::new_v4())
        };
        let race = futures_util::future::join(resume(&two), resume(&three));
        let (second, third) = block(race);
        let marks = [second, third].map(|queue| queue.expect("resumed").volatile);
        assert!(marks.contains(&Some(true)), "{round}: {marks:?}");
        assert!(marks.contains(&Some(false)), "{round}: {marks:?}");
    }
}

#[test]
fn that_a_node_has_when_it_was_forgotten() {
    let one = Backend::Postgres.open();
    let two = one.another_node();
    let [first, second] = [&one, &two].map(|fixture| fixture.store.node());
    one.note_volatile();
    one.clock.advance(SESSION_WINDOW_SECONDS as i64);
    keep(&two);
    two.keep_up();
    assert_eq!(two.volatile(first), None);
    // Nobody knows any more that it had not.
    keep(&one);
    assert_eq!(two.volatile(first), Some(true));
    // It can note it though it is forgotten.
    one.clock.advance(SESSION_WINDOW_SECONDS as i64);
    keep(&one);
    one.keep_up();
    assert_eq!(one.volatile(second), None);
    two.note_volatile();
    assert_eq!(one.volatile(second), Some(true));
}
