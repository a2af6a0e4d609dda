//! Several nodes on one database: each sees to the queues of its sessions, and to those of nodes that
//! are gone; none takes what another one has.

use tmws::config::limits::{NODE_SILENT_SECONDS, SESSION_WINDOW_SECONDS};
use tmws::domain::{DeathCause, Letters};
use uuid::Uuid;

use crate::fixture::*;
use crate::mail::*;

/// Rows of a table, whoever may see them.
fn rows(fixture: &Fixture, table: &str) -> i64 {
    let database = fixture.database();
    block(async {
        let client = database.client().await;
        let sql = format!("SELECT count(*) FROM tmws.{table}");
        client.query_one(&sql, &[]).await.expect("a count").get(0)
    })
}

#[test]
fn and_leave_those_of_the_living() {
    let one = Backend::Postgres.open();
    let two = one.another_node();
    let session = Uuid::new_v4();
    let key = one.say("hello", queue(&alice(), session)).1;
    assert_eq!(two.fill(&alice(), Uuid::new_v4(), &[]), []);
    one.clock.advance(NODE_SILENT_SECONDS as i64 - 1);
    assert_eq!(two.fill(&alice(), Uuid::new_v4(), &[]), []);
    block(one.store.keep_node()).expect("kept");
    one.clock.advance(1);
    assert_eq!(two.fill(&alice(), Uuid::new_v4(), &[]), []);
    // The session comes back on the other node, as its own.
    assert_eq!(keys(&two.resume(&alice(), session).waiting), [key]);
    block(two.store.keep_node()).expect("kept");
    one.clock.advance(NODE_SILENT_SECONDS as i64 - 1);
    assert_eq!(one.fill(&alice(), Uuid::new_v4(), &[]), []);
    one.clock.advance(1);
    assert_eq!(one.fill(&alice(), Uuid::new_v4(), &[]).len(), 1);
}

#[test]
fn and_bury_what_the_gone_have_left() {
    let one = Backend::Postgres.open();
    let two = one.another_node();
    one.say("late", queue(&alice(), Uuid::new_v4()));
    one.clock.advance(300);
    block(one.store.keep_node()).expect("kept");
    assert_eq!(two.keep_up().deliveries, 0);
    one.clock.advance(NODE_SILENT_SECONDS as i64);
    assert_eq!(two.keep_up().deliveries, 1);
    one.clock.advance(SESSION_WINDOW_SECONDS as i64);
    block(two.store.keep_node()).expect("kept");
    assert_eq!(two.keep_up().queues, 1);
    assert_eq!(rows(&one, "node"), 1);
    // It was not dead after all.
    block(one.store.keep_node()).expect("kept");
    assert_eq!(rows(&one, "node"), 2);
}

#[test]
fn without_losing_a_message_between_them() {
    let one = Backend::Postgres.open();
    let two = one.another_node();
    for round in 0..30 {
        let [old, new] = [(); 2].map(|()| Uuid::new_v4());
        let sent = message(&one, "to be kept");
        let keys = one.post(&sent, vec![queue(&alice(), old), inbox(&bob())]);
        let late = message(&one, "late");
        // At once: copied and settled, closed and posted to, dead and sent again.
        let race = futures_util::future::join4(
            one.store.fill_queue(&alice().key, new, vec![old]),
            two.store.close_queue(&alice().key, old),
            two.store
                .post_messages(vec![new_message(&late, vec![queue(&alice(), old)])]),
            one.store
                .bury_deliveries(vec![(keys[1], DeathCause::Terminated, None)]),
        );
        let (filled, closed, posted, buried) = block(race);
        filled.expect("filled");
        closed.expect("closed");
        posted.expect("committed").remove(0).expect("stored");
        buried.expect("buried");
        let race = futures_util::future::join(
            one.store.settle_messages(&alice().key, vec![sent.id]),
            two.store.retry_dead_letters(Some(&bob().key), Letters::All),
        );
        let (settled, retried) = block(race);
        assert!(!settled.expect("settled").is_empty(), "{round}");
        assert_eq!(retried.expect("put back"), [(bob().key, 1)]);
        assert_eq!(one.waits(&bob()), [("to be kept".into(), 0)], "{round}");
        assert_eq!(one.waits(&alice()), [("late".into(), 0)], "{round}");
        for agent in [alice(), bob()] {
            let ids = vec![sent.id, late.id];
            block(two.store.settle_messages(&agent.key, ids)).expect("settled");
        }
        assert_eq!(rows(&one, "message"), 0, "{round}");
    }
}

#[test]
fn and_never_leave_a_message_to_each_other() {
    let one = Backend::Postgres.open();
    let two = one.another_node();
    for round in 0..60 {
        let sessions = [(); 2].map(|()| Uuid::new_v4());
        let sent = message(&one, "to both sessions");
        one.post(
            &sent,
            sessions
                .iter()
                .map(|session| queue(&alice(), *session))
                .collect(),
        );
        // Each takes the other one for absent.
        let race = futures_util::future::join(
            one.store
                .fill_queue(&alice().key, sessions[0], vec![sessions[1]]),
            two.store
                .fill_queue(&alice().key, sessions[1], vec![sessions[0]]),
        );
        let (first, second) = block(race);
        first.and(second).expect("filled");
        for session in sessions {
            block(one.store.close_queue(&alice().key, session)).expect("closed");
        }
        assert_eq!(
            one.waits(&alice()),
            [("to both sessions".into(), 0)],
            "{round}"
        );
        block(one.store.settle_messages(&alice().key, vec![sent.id])).expect("settled");
    }
}

#[test]
fn and_clear_away_what_two_ended_at_once() {
    let one = Backend::Postgres.open();
    let two = one.another_node();
    for _ in 0..30 {
        let sent = message(&one, "to both");
        let keys = one.post(&sent, vec![inbox(&alice()), inbox(&bob())]);
        let race = futures_util::future::join(
            one.store.settle_deliveries(vec![keys[0]]),
            two.store.settle_deliveries(vec![keys[1]]),
        );
        let (first, second) = block(race);
        first.and(second).expect("settled");
    }
    assert_eq!(rows(&one, "delivery"), 0);
    one.clock.advance(300);
    one.keep_up();
    assert_eq!(rows(&one, "message"), 0);
}
