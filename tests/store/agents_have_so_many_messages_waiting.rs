//! An agent has a bounded number of messages waiting, whichever way they come; a message for
//! thousands of agents is stored whole.

use tmws::domain::message::WAITING_MAX;
use tmws::domain::{DeathCause, Letters};
use tmws::store::StoreError;
use uuid::Uuid;

use crate::fixture::*;
use crate::mail::*;

on_every_store!(
    a_full_agent_takes_no_more,
    copies_and_retries_keep_the_bound,
    ten_thousand_agents_get_a_message,
);

#[track_caller]
fn assert_full<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    let Err(StoreError::Conflict { message, .. }) = &result else {
        panic!("{result:?}");
    };
    assert!(
        message.contains("alice") && message.contains("10000"),
        "{message}"
    );
}

fn a_full_agent_takes_no_more(store: Backend) {
    let fixture = store.open();
    let session = Uuid::new_v4();
    let half = WAITING_MAX / 2;
    fixture.post(&message(&fixture, "x"), vec![inbox(&alice()); half]);
    let many = vec![queue(&alice(), session); WAITING_MAX - half];
    let mut too_many = many.clone();
    too_many.push(inbox(&alice()));
    assert_full(fixture.try_post(&message(&fixture, "y"), too_many));
    let keys = fixture.post(&message(&fixture, "y"), many);
    assert_full(fixture.try_post(&message(&fixture, "z"), vec![inbox(&alice())]));
    // Whole or not at all: bob gets nothing of what alice cannot take, but his own.
    let new = vec![
        new_message(
            &message(&fixture, "both"),
            vec![inbox(&bob()), inbox(&alice())],
        ),
        new_message(&message(&fixture, "bob's"), vec![inbox(&bob())]),
    ];
    let results = block(fixture.store.post_messages(new)).expect("committed");
    assert!(results[1].is_ok());
    assert_full(results[0].clone());
    assert_eq!(fixture.waits(&bob()), [("bob's".into(), 0)]);
    fixture.post(&message(&fixture, "namesake"), vec![inbox(&stranger())]);
    fixture.settle(&keys[..1]);
    fixture.post(&message(&fixture, "room"), vec![inbox(&alice())]);
    assert_full(fixture.try_post(&message(&fixture, "z"), vec![inbox(&alice())]));
}

fn copies_and_retries_keep_the_bound(store: Backend) {
    let fixture = store.open();
    let [absent, new] = [(); 2].map(|()| Uuid::new_v4());
    let dead = fixture.post(&message(&fixture, "dead"), vec![inbox(&alice()); 2]);
    for key in dead {
        fixture.bury(key, DeathCause::Undeliverable, None);
    }
    let first: Vec<_> = (0..2)
        .map(|n| {
            fixture
                .say(&format!("copied {n}"), queue(&alice(), absent))
                .1
        })
        .collect();
    fixture.post(&message(&fixture, "x"), vec![inbox(&bob()); 3]);
    let fill = WAITING_MAX - first.len() - 1;
    fixture.post(&message(&fixture, "x"), vec![queue(&alice(), new); fill]);
    // One more has room: the oldest is copied, the other comes when the queue is closed.
    let copies = fixture.fill(&alice(), new, &[absent]);
    assert_eq!(text(&fixture.load(&keys(&copies))[0].1), "copied 0");
    assert_eq!(copies.len(), 1);
    assert_eq!(fixture.retry(Some(&alice()), Letters::All), []);
    assert_eq!(fixture.close(&alice(), absent), 1);
    assert_eq!(
        fixture.retry(Some(&alice()), Letters::All),
        [(alice().key, 1)]
    );
    assert_eq!(fixture.letters(Some(&alice())).len(), 1);
}

fn ten_thousand_agents_get_a_message(store: Backend) {
    let fixture = store.open();
    let agents: Vec<_> = (0..10_000)
        .map(|n| viewer(["red", "blue"][n % 2], &format!("a{n}")))
        .collect();
    let sent = message(&fixture, "to all");
    let keys = fixture.post(&sent, agents.iter().map(inbox).collect());
    assert_eq!(keys.len(), 10_000);
    assert!(keys.is_sorted());
    assert_eq!(fixture.load(&keys[..1])[0].1, sent);
    for n in [0, 4_999, 9_999] {
        let settled = block(fixture.store.settle_messages(&agents[n].key, vec![sent.id]));
        assert_eq!(settled.expect("settled")[0].key, keys[n]);
    }
    assert_eq!(fixture.waits(&agents[5_000]).len(), 1);
    for some in keys.chunks(1_000) {
        fixture.settle(some);
    }
    fixture.post(&sent, vec![inbox(&alice())]);
}
