//! Whatever becomes of sessions and nodes, a message waits in the queue of one that can be resumed,
//! in that of one that is here, or in the inbox; and what one of them has taken does not come back.

use tmws::config::limits::{NODE_SILENT_SECONDS, SESSION_WINDOW_SECONDS};
use uuid::Uuid;

use crate::fixture::*;
use crate::mail::*;

on_every_store!(
    a_new_session_gets_the_inbox,
    what_absent_sessions_have_is_copied_once,
    originals_of_copies_do_not_come_back,
    originals_whose_copies_come_back_to_them_are_kept,
    one_message_is_copied_once,
    closing_returns_the_rest_once,
    an_inbox_holds_a_message_once,
    the_next_node_resumes_a_session,
    queues_of_nodes_that_are_gone_are_copied,
    upkeep_closes_what_nobody_came_back_for,
);

fn a_new_session_gets_the_inbox(store: Backend) {
    let fixture = store.open();
    let session = Uuid::new_v4();
    assert_eq!(fixture.fill(&alice(), session, &[]), []);
    assert!(!fixture.resume(&alice(), session).known, "nothing came");
    let (sent, key) = fixture.say("hello", inbox(&alice()));
    fixture.say("for bob", inbox(&bob()));
    let filled = fixture.fill(&alice(), session, &[]);
    assert_eq!(keys(&filled), [key]);
    assert_eq!(filled[0].bytes, sent.body.as_str().len());
    assert_eq!(
        (
            filled[0].priority,
            filled[0].expires_at,
            filled[0].deliveries
        ),
        (sent.priority, sent.expires_at, 0)
    );
    // What came in this way is told again, what was posted to the queue is not, and nobody else gets
    // either.
    fixture.say("posted", queue(&alice(), session));
    let more = fixture.say("more", inbox(&alice())).1;
    assert_eq!(keys(&fixture.fill(&alice(), session, &[])), [key, more]);
    assert_eq!(fixture.fill(&alice(), Uuid::new_v4(), &[]), []);
    let queue = fixture.resume(&alice(), session);
    assert!(queue.known);
    assert_eq!(queue.waiting.len(), 3);
}

fn what_absent_sessions_have_is_copied_once(store: Backend) {
    let fixture = store.open();
    let [absent, here, new, later] = [(); 4].map(|()| Uuid::new_v4());
    let (first, original) = fixture.say("for the absent", queue(&alice(), absent));
    fixture.say("for the other one", queue(&alice(), here));
    fixture.say("bob's", queue(&bob(), absent));
    let copies = fixture.fill(&alice(), new, &[absent]);
    assert_eq!(copies.len(), 1);
    assert!(copies[0].key > original);
    assert_eq!(
        fixture.load(&keys(&copies)),
        [(copies[0].key, first.clone())]
    );
    assert_eq!(fixture.fill(&alice(), new, &[absent]), copies);
    assert_eq!(fixture.fill(&alice(), later, &[absent]), []);
    // The copy is one like any other.
    let again = fixture.fill(&alice(), later, &[absent, new]);
    assert_eq!(fixture.load(&keys(&again)), [(again[0].key, first)]);
    // A session is not absent to itself, and the one that comes back has all that it had.
    assert_eq!(fixture.fill(&alice(), later, &[later]), again);
    assert_eq!(keys(&fixture.resume(&alice(), absent).waiting), [original]);
}

fn originals_of_copies_do_not_come_back(store: Backend) {
    let fixture = store.open();
    let [absent, new] = [(); 2].map(|()| Uuid::new_v4());
    fixture.say("copied", queue(&alice(), absent));
    let copy = fixture.fill(&alice(), new, &[absent]);
    fixture.say("afterwards", queue(&alice(), absent));
    fixture.settle(&keys(&copy));
    assert_eq!(fixture.close(&alice(), absent), 1);
    assert_eq!(fixture.waits(&alice()), [("afterwards".into(), 0)]);
    assert_eq!(
        fixture.fill(&alice(), Uuid::new_v4(), &[absent, new]).len(),
        1
    );
}

fn originals_whose_copies_come_back_to_them_are_kept(store: Backend) {
    let fixture = store.open();
    let [old, new] = [(); 2].map(|()| Uuid::new_v4());
    let (_, original) = fixture.say("kept", queue(&alice(), old));
    // The copy returns to the inbox, and meets its original.
    assert_eq!(fixture.fill(&alice(), new, &[old]).len(), 1);
    assert_eq!(fixture.close(&alice(), new), 1);
    assert_eq!(fixture.fill(&alice(), old, &[]), []);
    assert_eq!(keys(&fixture.resume(&alice(), old).waiting), [original]);
    assert_eq!(fixture.close(&alice(), old), 1);
    // The session with the copy is the absent one now.
    assert_eq!(fixture.fill(&alice(), old, &[]).len(), 1);
    assert_eq!(fixture.fill(&alice(), new, &[old]).len(), 1);
    assert_eq!(fixture.fill(&alice(), old, &[new]).len(), 1);
    assert_eq!(fixture.close(&alice(), new), 0);
    assert_eq!(fixture.close(&alice(), old), 1);
    assert_eq!(fixture.waits(&alice()), [("kept".into(), 0)]);
}

fn one_message_is_copied_once(store: Backend) {
    let fixture = store.open();
    let [one, two, new] = [(); 3].map(|()| Uuid::new_v4());
    let sent = message(&fixture, "to all sessions");
    fixture.post(&sent, vec![queue(&alice(), one), queue(&alice(), two)]);
    let both = message(&fixture, "to the new one too");
    fixture.post(&both, vec![queue(&alice(), one), queue(&alice(), new)]);
    let copies = fixture.fill(&alice(), new, &[one, two]);
    let loaded = fixture.load(&keys(&copies));
    assert_eq!(loaded.len(), 1);
    assert_eq!(loaded[0].1, sent);
    for absent in [one, two] {
        assert_eq!(fixture.close(&alice(), absent), 0);
    }
    assert_eq!(fixture.resume(&alice(), new).waiting.len(), 2);
    // Nor does it come again by way of the inbox.
    let again = message(&fixture, "again");
    fixture.post(&again, vec![queue(&alice(), one), queue(&alice(), new)]);
    assert_eq!(fixture.close(&alice(), one), 1);
    assert_eq!(fixture.fill(&alice(), new, &[]), copies);
    assert_eq!(fixture.close(&alice(), new), 3);
}

fn closing_returns_the_rest_once(store: Backend) {
    let fixture = store.open();
    let session = Uuid::new_v4();
    let settled = fixture.say("settled", queue(&alice(), session)).1;
    let rest = fixture.say("rest", queue(&alice(), session)).1;
    fixture.settle(&[settled]);
    assert_eq!(fixture.close(&alice(), session), 1);
    assert_eq!(fixture.close(&alice(), session), 0);
    assert!(!fixture.resume(&alice(), session).known);
    let next = Uuid::new_v4();
    assert_eq!(keys(&fixture.fill(&alice(), next, &[])), [rest]);
    fixture.settle(&[rest]);
    assert_eq!(fixture.close(&alice(), next), 0);
    assert_eq!(fixture.waits(&alice()), []);
}

fn an_inbox_holds_a_message_once(store: Backend) {
    let fixture = store.open();
    let [one, two] = [(); 2].map(|()| Uuid::new_v4());
    let sent = message(&fixture, "to all sessions");
    fixture.post(&sent, vec![queue(&alice(), one), queue(&alice(), two)]);
    assert_eq!(fixture.close(&alice(), one), 1);
    assert_eq!(fixture.close(&alice(), two), 0);
    assert_eq!(fixture.fill(&alice(), Uuid::new_v4(), &[]).len(), 1);
}

fn the_next_node_resumes_a_session(store: Backend) {
    let fixture = store.open();
    let session = Uuid::new_v4();
    let key = fixture.say("before", queue(&alice(), session)).1;
    let fixture = fixture.reopen();
    let queue = fixture.resume(&alice(), session);
    assert!(queue.known);
    assert_eq!(keys(&queue.waiting), [key]);
    // From now on it is this node's: nothing is copied from it, however long the other is gone.
    fixture.clock.advance(NODE_SILENT_SECONDS as i64 + 1);
    block(fixture.store.keep_node()).expect("kept");
    assert_eq!(fixture.fill(&alice(), Uuid::new_v4(), &[]), []);
    assert_eq!(fixture.keep_up().queues, 0);
}

fn queues_of_nodes_that_are_gone_are_copied(store: Backend) {
    let fixture = store.open();
    let session = Uuid::new_v4();
    let (sent, _) = fixture.say("before", queue(&alice(), session));
    assert_eq!(
        fixture.fill(&alice(), Uuid::new_v4(), &[]),
        [],
        "it is here"
    );
    let fixture = fixture.reopen();
    fixture.clock.advance(NODE_SILENT_SECONDS as i64 + 1);
    let copies = fixture.fill(&alice(), Uuid::new_v4(), &[]);
    assert_eq!(fixture.load(&keys(&copies)), [(copies[0].key, sent)]);
    assert_eq!(fixture.fill(&alice(), Uuid::new_v4(), &[]), []);
}

fn upkeep_closes_what_nobody_came_back_for(store: Backend) {
    let fixture = store.open();
    let [left, resumed] = [(); 2].map(|()| Uuid::new_v4());
    let mut sent = message(&fixture, "left");
    sent.expires_at = sent.sent_at.plus_seconds(3_600).expect("this century");
    fixture.post(&sent, vec![queue(&alice(), left)]);
    fixture.say("resumed", queue(&bob(), resumed));
    let fixture = fixture.reopen();
    fixture.resume(&bob(), resumed);
    fixture.clock.advance(SESSION_WINDOW_SECONDS as i64 - 1);
    block(fixture.store.keep_node()).expect("kept");
    assert_eq!(fixture.keep_up().queues, 0);
    assert!(fixture.resume(&bob(), resumed).known);
    fixture.clock.advance(1);
    let report = fixture.keep_up();
    assert_eq!((report.queues, report.deliveries), (1, 0));
    assert!(!fixture.resume(&alice(), left).known);
    assert_eq!(fixture.fill(&alice(), Uuid::new_v4(), &[]).len(), 1);
    assert_eq!(fixture.keep_up(), Default::default());
}
