//! What was posted waits, through restarts, until it is settled: by the key of one delivery, or for
//! an agent wherever it waits. It is counted before it is delivered, and seen by nobody else.

use tmws::domain::{Priority, Waiting};
use tmws::store::{Settled, StoreError};
use uuid::Uuid;

use crate::fixture::*;
use crate::mail::*;

on_every_store!(
    what_was_posted_survives_a_restart,
    keys_follow_the_order_of_posts,
    one_refused_message_harms_no_neighbour,
    urgent_ones_come_first_and_each_once,
    counts_are_never_too_small,
    one_delivery_is_settled_by_its_key,
    a_message_is_settled_in_every_queue,
    a_message_goes_with_its_last_delivery,
    others_see_and_settle_nothing,
    what_has_expired_waits_no_more,
    posts_of_many_at_once_are_all_kept,
);

fn what_was_posted_survives_a_restart(store: Backend) {
    let fixture = store.open();
    let session = Uuid::new_v4();
    let mut sent = message(&fixture, "hello");
    sent.priority = Priority::High;
    sent.topic = "topic:news".into();
    sent.body = tmws::domain::JsonText::parse(r#"["caf\u00e9 \u0000", 1.50 ]"#).expect("JSON");
    let keys = fixture.post(&sent, vec![inbox(&alice()), queue(&alice(), session)]);
    let mut plain = message(&fixture, "plain");
    plain.correlation_id = None;
    let plain_key = fixture.post(&plain, vec![inbox(&stranger())])[0];
    let fixture = fixture.reopen();
    let loaded = fixture.load(&[keys[0], keys[1], plain_key, plain_key + 1_000]);
    let expected = vec![
        (keys[0], sent.clone()),
        (keys[1], sent.clone()),
        (plain_key, plain),
    ];
    assert_eq!(loaded, expected);
    let waiting = Waiting {
        message: sent,
        deliveries: 0,
    };
    assert_eq!(fixture.waiting(&alice()), [waiting]);
}

fn keys_follow_the_order_of_posts(store: Backend) {
    let fixture = store.open();
    let to = || {
        vec![
            inbox(&alice()),
            inbox(&bob()),
            queue(&bob(), Uuid::new_v4()),
        ]
    };
    // Asked for one after the other, awaited together.
    let answers: Vec<_> = (0..20)
        .map(|_| {
            let new = || new_message(&message(&fixture, "x"), to());
            fixture.store.post_messages(vec![new(), new()])
        })
        .collect();
    let mut keys = Vec::new();
    for answer in answers {
        for posted in block(answer).expect("committed") {
            keys.extend(posted.expect("stored"));
        }
    }
    assert_eq!(keys.len(), 120);
    assert!(keys.is_sorted(), "{keys:?}");
    let after = fixture.say("later", inbox(&alice())).1;
    assert!(after > keys[119]);
    assert_eq!(
        fixture.post(&message(&fixture, "to nobody"), vec![]),
        [0; 0]
    );
}

fn one_refused_message_harms_no_neighbour(store: Backend) {
    let fixture = store.open();
    let first = message(&fixture, "first");
    let mut again = message(&fixture, "again");
    again.id = first.id;
    let last = message(&fixture, "last");
    let new = [&first, &again, &last].map(|message| new_message(message, vec![inbox(&alice())]));
    let results = block(fixture.store.post_messages(new.into())).expect("committed");
    assert!(results[0].is_ok() && results[2].is_ok(), "{results:?}");
    assert!(
        matches!(&results[1], Err(StoreError::Conflict { .. })),
        "{results:?}"
    );
    assert_eq!(
        fixture.waits(&alice()),
        [("first".into(), 0), ("last".into(), 0)]
    );
}

fn urgent_ones_come_first_and_each_once(store: Backend) {
    let fixture = store.open();
    for (text, priority) in [
        ("d", Priority::Low),
        ("b", Priority::Normal),
        ("c", Priority::Normal),
        ("a", Priority::Urgent),
    ] {
        let mut message = message(&fixture, text);
        message.priority = priority;
        let to = vec![inbox(&alice()), queue(&alice(), Uuid::new_v4())];
        fixture.post(&message, to);
    }
    let texts = |limit| {
        let waiting = block(fixture.store.waiting_messages(&alice().key, limit)).expect("answer");
        let texts = waiting.iter().map(|waiting| text(&waiting.message));
        texts.collect::<Vec<_>>()
    };
    assert_eq!(texts(10), ["a", "b", "c", "d"]);
    assert_eq!(texts(2), ["a", "b"]);
}

fn counts_are_never_too_small(store: Backend) {
    let fixture = store.open();
    let session = Uuid::new_v4();
    let begun = tmws::domain::Destination {
        node: None,
        begun: true,
        ..queue(&alice(), session)
    };
    let begun = fixture.say("begun", begun).1;
    let other = fixture.say("other", queue(&alice(), session)).1;
    let counts = [vec![begun, other], vec![begun], vec![other + 1_000]];
    let counts = counts.map(|keys| fixture.store.count_deliveries(keys));
    for count in counts {
        block(count).expect("counted");
    }
    let expected = [("begun".into(), 3), ("other".into(), 1)];
    assert_eq!(fixture.waits(&alice()), expected);
    let fixture = fixture.reopen();
    let queue = fixture.resume(&alice(), session);
    let counted: Vec<_> = queue.waiting.iter().map(|one| one.deliveries).collect();
    assert_eq!(counted, [3, 1]);
    // Neither the way through the inbox nor a copy makes one forget.
    fixture.close(&alice(), session);
    let moved = Uuid::new_v4();
    let deliveries = |outlines: Vec<tmws::domain::Outline>| -> Vec<u32> {
        outlines.iter().map(|one| one.deliveries).collect()
    };
    assert_eq!(deliveries(fixture.fill(&alice(), moved, &[])), [3, 1]);
    let copied = fixture.fill(&alice(), Uuid::new_v4(), &[moved]);
    assert_eq!(deliveries(copied), [3, 1]);
}

fn one_delivery_is_settled_by_its_key(store: Backend) {
    let fixture = store.open();
    let (kept, key) = fixture.say("kept", inbox(&alice()));
    let settled = fixture.say("settled", inbox(&alice())).1;
    fixture.settle(&[settled, settled, key + 1_000]);
    fixture.settle(&[settled]);
    fixture.settle(&[]);
    assert_eq!(fixture.load(&[key, settled]), [(key, kept)]);
    // A key is never given again: a late settlement meets nobody.
    fixture.settle(&[key]);
    assert!(fixture.say("new", inbox(&alice())).1 > settled);
}

fn a_message_is_settled_in_every_queue(store: Backend) {
    let fixture = store.open();
    let session = Uuid::new_v4();
    let sent = message(&fixture, "to all");
    let to = vec![inbox(&alice()), queue(&alice(), session), inbox(&bob())];
    let keys = fixture.post(&sent, to);
    fixture.say("another", inbox(&alice()));
    let ids = vec![sent.id, Uuid::new_v4()];
    let mut settled = block(fixture.store.settle_messages(&alice().key, ids)).expect("settled");
    settled.sort_unstable_by_key(|settled| settled.key);
    let expected = [(keys[0], None), (keys[1], Some(session))];
    assert_eq!(
        settled,
        expected.map(|(key, session)| Settled { key, session })
    );
    assert_eq!(fixture.waits(&alice()), [("another".into(), 0)]);
    assert_eq!(fixture.waits(&bob()), [("to all".into(), 0)]);
}

fn a_message_goes_with_its_last_delivery(store: Backend) {
    let fixture = store.open();
    let sent = message(&fixture, "to three");
    let to = vec![inbox(&alice()), inbox(&bob()), inbox(&stranger())];
    let keys = fixture.post(&sent, to);
    fixture.settle(&[keys[0]]);
    block(fixture.store.settle_messages(&bob().key, vec![sent.id])).expect("settled");
    assert_eq!(fixture.load(&keys), [(keys[2], sent.clone())]);
    // As long as it is there its id is taken, across namespaces too.
    assert!(fixture.try_post(&sent, vec![inbox(&alice())]).is_err());
    block(
        fixture
            .store
            .settle_messages(&stranger().key, vec![sent.id]),
    )
    .expect("settled");
    fixture.post(&sent, vec![inbox(&alice())]);
    assert_eq!(fixture.waits(&alice()), [("to three".into(), 0)]);
}

fn others_see_and_settle_nothing(store: Backend) {
    let fixture = store.open();
    let session = Uuid::new_v4();
    let (in_inbox, _) = fixture.say("inbox", inbox(&alice()));
    let (in_queue, key) = fixture.say("queue", queue(&alice(), session));
    for other in [bob(), stranger()] {
        assert_eq!(fixture.waits(&other), []);
        assert_eq!(fixture.fill(&other, Uuid::new_v4(), &[session]), []);
        let queue = fixture.resume(&other, session);
        assert!(!queue.known && queue.waiting.is_empty());
        assert_eq!(fixture.close(&other, session), 0);
        let ids = vec![in_inbox.id, in_queue.id];
        let settled = block(fixture.store.settle_messages(&other.key, ids)).expect("answered");
        assert_eq!(settled, []);
    }
    assert_eq!(fixture.waits(&alice()).len(), 2);
    let queue = fixture.resume(&alice(), session);
    assert!(queue.known);
    assert_eq!(keys(&queue.waiting), [key]);
}

fn what_has_expired_waits_no_more(store: Backend) {
    let fixture = store.open();
    let session = Uuid::new_v4();
    let key = fixture.say("late", queue(&alice(), session)).1;
    fixture.say("late too", inbox(&alice()));
    fixture.clock.advance(300);
    assert_eq!(fixture.waits(&alice()), []);
    assert_eq!(fixture.fill(&alice(), Uuid::new_v4(), &[session]), []);
    // The session that has it is told, so that it can bury it.
    assert_eq!(keys(&fixture.resume(&alice(), session).waiting), [key]);
}

fn posts_of_many_at_once_are_all_kept(store: Backend) {
    let fixture = store.open();
    let agents: Vec<_> = (0..8).map(|n| viewer("red", &format!("a{n}"))).collect();
    let answers: Vec<_> = (0..200)
        .map(|n| {
            let message = message(&fixture, &n.to_string());
            let to = vec![inbox(&agents[n % 8]), inbox(&agents[(n + 1) % 8])];
            fixture.store.post_messages(vec![new_message(&message, to)])
        })
        .collect();
    let mut settles = Vec::new();
    for (n, answer) in answers.into_iter().enumerate() {
        let keys = block(answer).expect("committed").remove(0).expect("stored");
        if n % 2 == 0 {
            settles.push(fixture.store.settle_deliveries(keys));
        }
    }
    for settle in settles {
        block(settle).expect("settled");
    }
    for (n, agent) in agents.iter().enumerate() {
        let waits = fixture.waits(agent);
        assert_eq!(waits.len(), 25, "{n}");
        assert!(
            waits
                .iter()
                .all(|(text, _)| text.parse::<usize>().expect("n") % 2 == 1)
        );
    }
}
