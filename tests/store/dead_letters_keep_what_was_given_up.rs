//! What could not be delivered is kept, for its receiver and the operator alone, until it is sent
//! again, removed, or too old.

use tmws::config::limits::SESSION_WINDOW_SECONDS;
use tmws::domain::message::{DEAD_LETTER_DAYS, DEAD_LETTERS_MAX};
use tmws::domain::{DeathCause, Letters};
use tmws::store::StoreError;
use uuid::Uuid;

use crate::fixture::*;
use crate::mail::*;

on_every_store!(
    a_letter_tells_what_happened,
    the_latest_come_first_in_pages,
    one_sent_again_lives_anew,
    one_sent_again_joins_what_is_still_there,
    others_cannot_touch_it,
    purged_ones_are_gone,
    the_oldest_make_room,
    old_ones_are_removed,
    upkeep_buries_what_expired_in_nobodys_care,
    a_copied_original_dies_in_silence,
);

fn get(
    fixture: &Fixture,
    owner: Option<&tmws::store::Viewer>,
    id: Uuid,
) -> Result<tmws::domain::DeadLetter, StoreError> {
    let owner = owner.map(|owner| &owner.key);
    block(fixture.store.get_dead_letter(owner, id))
}

fn purge(fixture: &Fixture, owner: Option<&tmws::store::Viewer>, letters: Letters) -> u64 {
    let owner = owner.map(|owner| &owner.key);
    block(fixture.store.purge_dead_letters(owner, letters)).expect("purged")
}

fn a_letter_tells_what_happened(store: Backend) {
    let fixture = store.open();
    let (sent, key) = fixture.say("never", queue(&alice(), Uuid::new_v4()));
    block(fixture.store.count_deliveries(vec![key])).expect("counted");
    fixture.clock.advance(7);
    fixture.bury(key, DeathCause::Terminated, Some("no\0 good"));
    fixture.bury(key, DeathCause::Expired, None);
    let fixture = fixture.reopen();
    let letters = fixture.letters(Some(&alice()));
    assert_eq!(letters.len(), 1);
    let letter = letters[0].clone();
    assert_eq!(letter.agent, alice().key);
    assert_eq!(letter.cause, DeathCause::Terminated);
    assert_eq!(letter.reason.as_deref(), Some("no\u{fffd} good"));
    assert_eq!(
        (letter.deliveries, letter.died_at),
        (1, fixture.clock.now())
    );
    assert_eq!(letter.message, sent);
    assert_eq!(
        get(&fixture, Some(&alice()), letter.id).expect("there"),
        letter
    );
    assert_eq!(get(&fixture, None, letter.id).expect("there"), letter);
    assert_eq!(fixture.waits(&alice()), []);
    assert_eq!(fixture.load(&[key]), []);
}

fn the_latest_come_first_in_pages(store: Backend) {
    let fixture = store.open();
    let sent = message(&fixture, "to two");
    let keys = fixture.post(&sent, vec![inbox(&alice()), inbox(&stranger())]);
    let mut dead = vec![(keys[0], DeathCause::Undeliverable, None)];
    for _ in 0..4 {
        let key = fixture.say("x", inbox(&alice())).1;
        dead.push((key, DeathCause::Undeliverable, None));
    }
    dead.push((keys[1], DeathCause::Undeliverable, None));
    block(fixture.store.bury_deliveries(dead)).expect("buried");
    let pages = |owner: Option<&tmws::store::Viewer>, limit| {
        let owner = owner.map(|owner| &owner.key);
        let (mut ids, mut cursor, mut pages) = (Vec::new(), None, 0);
        loop {
            let page =
                block(fixture.store.list_dead_letters(owner, limit, cursor)).expect("a page");
            ids.extend(page.items.iter().map(|letter| letter.id));
            pages += 1;
            cursor = page.next_cursor;
            if cursor.is_none() {
                return (ids, pages);
            }
        }
    };
    let (ids, count) = pages(Some(&alice()), 2);
    assert_eq!((ids.len(), count), (5, 3));
    assert!(ids.is_sorted_by(|a, b| a > b));
    assert_eq!(get(&fixture, None, ids[4]).expect("there").message, sent);
    assert_eq!(pages(Some(&alice()), 5), (ids, 1));
    assert_eq!(pages(None, 4).0.len(), 6);
    assert_eq!(pages(Some(&bob()), 4).0.len(), 0);
    let foreign = Some("AgBhYmM".into());
    let refused = block(fixture.store.list_dead_letters(None, 4, foreign));
    assert!(
        matches!(refused, Err(StoreError::Invalid(_))),
        "{refused:?}"
    );
}

fn one_sent_again_lives_anew(store: Backend) {
    let fixture = store.open();
    let mut keys = Vec::new();
    for text in ["one", "two", "three"] {
        keys.push(fixture.say(text, inbox(&alice())).1);
    }
    block(fixture.store.count_deliveries(keys.clone())).expect("counted");
    for key in keys {
        fixture.bury(key, DeathCause::Undeliverable, None);
    }
    fixture.clock.advance(10_000);
    let two = fixture.letters(Some(&alice()))[1].clone();
    let put_back = fixture.retry(Some(&alice()), Letters::Ids(vec![two.id, two.id]));
    assert_eq!(put_back, [(alice().key, 1)]);
    let waiting = fixture.waiting(&alice());
    assert_eq!((waiting.len(), waiting[0].deliveries), (1, 0));
    assert_eq!(waiting[0].message.id, two.message.id);
    let whole_life = fixture.clock.now().plus_seconds(300);
    assert_eq!(Some(waiting[0].message.expires_at), whole_life);
    assert_eq!(fixture.retry(None, Letters::All), [(alice().key, 2)]);
    let texts = ["two", "one", "three"].map(|text| (text.into(), 0));
    assert_eq!(fixture.waits(&alice()), texts);
    assert_eq!(fixture.letters(None), []);
    assert_eq!(fixture.retry(None, Letters::All), []);
    // Dying again, and again sent, it lives no longer than before.
    let filled = fixture.fill(&alice(), Uuid::new_v4(), &[]);
    fixture.bury(filled[0].key, DeathCause::Terminated, None);
    fixture.retry(None, Letters::All);
    let again = fixture.fill(&alice(), Uuid::new_v4(), &[]);
    assert_eq!(Some(again[0].expires_at), whole_life);
}

fn one_sent_again_joins_what_is_still_there(store: Backend) {
    let fixture = store.open();
    let sent = message(&fixture, "to both");
    let keys = fixture.post(&sent, vec![inbox(&alice()), inbox(&stranger())]);
    fixture.bury(keys[0], DeathCause::Terminated, None);
    fixture.clock.advance(100);
    fixture.retry(Some(&alice()), Letters::All);
    assert_eq!(fixture.waits(&alice()), [("to both".into(), 0)]);
    assert_eq!(fixture.waiting(&stranger())[0].message, sent);
    fixture.settle(&[keys[1]]);
    assert_eq!(fixture.waits(&alice()), [("to both".into(), 0)]);
}

fn others_cannot_touch_it(store: Backend) {
    let fixture = store.open();
    let key = fixture.say("alice's", inbox(&alice())).1;
    fixture.bury(key, DeathCause::Undeliverable, None);
    let id = fixture.letters(Some(&alice()))[0].id;
    for other in [bob(), stranger()] {
        let other = Some(&other);
        assert_eq!(fixture.letters(other), []);
        let refused = get(&fixture, other, id);
        assert!(
            matches!(
                refused,
                Err(StoreError::NotFound {
                    what: "dead letter"
                })
            ),
            "{refused:?}"
        );
        for letters in [Letters::Ids(vec![id]), Letters::All] {
            assert_eq!(fixture.retry(other, letters.clone()), []);
            assert_eq!(purge(&fixture, other, letters), 0);
        }
    }
    assert!(get(&fixture, None, Uuid::now_v7()).is_err());
    assert_eq!(fixture.letters(Some(&alice())).len(), 1);
}

fn purged_ones_are_gone(store: Backend) {
    let fixture = store.open();
    for agent in [alice(), alice(), bob(), stranger()] {
        let key = fixture.say("x", inbox(&agent)).1;
        fixture.bury(key, DeathCause::Undeliverable, None);
    }
    let id = fixture.letters(Some(&alice()))[0].id;
    let ids = Letters::Ids(vec![id, id, Uuid::now_v7()]);
    assert_eq!(purge(&fixture, Some(&alice()), ids), 1);
    assert_eq!(purge(&fixture, Some(&bob()), Letters::All), 1);
    assert_eq!(fixture.letters(None).len(), 2);
    assert_eq!(purge(&fixture, None, Letters::All), 2);
    assert_eq!(fixture.letters(None), []);
}

fn the_oldest_make_room(store: Backend) {
    let fixture = store.open();
    let bobs = fixture.say("bob's", inbox(&bob())).1;
    fixture.bury(bobs, DeathCause::Terminated, None);
    let sent = message(&fixture, "many");
    let to = vec![inbox(&alice()); DEAD_LETTERS_MAX];
    let dead = |keys: Vec<i64>| {
        let dead = keys
            .into_iter()
            .map(|key| (key, DeathCause::Undeliverable, None));
        block(fixture.store.bury_deliveries(dead.collect())).expect("buried");
    };
    dead(fixture.post(&sent, to));
    let before = fixture.letters(Some(&alice()));
    assert_eq!(before.len(), DEAD_LETTERS_MAX);
    let more = message(&fixture, "more");
    dead(fixture.post(&more, vec![inbox(&alice()); 3]));
    let after = fixture.letters(Some(&alice()));
    assert_eq!(after.len(), DEAD_LETTERS_MAX);
    assert!(after[..3].iter().all(|letter| letter.message == more));
    assert_eq!(after[3..], before[..DEAD_LETTERS_MAX - 3]);
    assert_eq!(fixture.letters(Some(&bob())).len(), 1);
}

fn old_ones_are_removed(store: Backend) {
    let fixture = store.open();
    for _ in 0..2 {
        let key = fixture.say("x", inbox(&alice())).1;
        fixture.bury(key, DeathCause::Terminated, None);
        fixture.clock.advance(1);
    }
    fixture.clock.advance(DEAD_LETTER_DAYS as i64 * 86_400 - 3);
    assert_eq!(fixture.keep_up().dead_letters, 0);
    fixture.clock.advance(1);
    assert_eq!(fixture.keep_up().dead_letters, 1);
    assert_eq!(fixture.letters(Some(&alice())).len(), 1);
}

fn upkeep_buries_what_expired_in_nobodys_care(store: Backend) {
    let fixture = store.open();
    let [lost, here] = [(); 2].map(|()| Uuid::new_v4());
    fixture.say("lost", queue(&alice(), lost));
    fixture.say("here", queue(&alice(), here));
    fixture.say("inbox", inbox(&alice()));
    let fixture = fixture.reopen();
    fixture.resume(&alice(), here);
    fixture.clock.advance(290);
    block(fixture.store.keep_node()).expect("kept");
    assert_eq!(fixture.keep_up(), Default::default());
    fixture.clock.advance(10);
    let report = fixture.keep_up();
    assert_eq!(report.deliveries, 2);
    let mut buried: Vec<_> = fixture.letters(Some(&alice()));
    assert!(
        buried
            .iter()
            .all(|letter| letter.cause == DeathCause::Expired)
    );
    buried.sort_by_key(|letter| text(&letter.message));
    let texts: Vec<_> = buried.iter().map(|letter| text(&letter.message)).collect();
    assert_eq!(texts, ["inbox", "lost"]);
    // A session that is here sees to its own. What it has forgotten is seen to in the end.
    fixture.clock.advance(SESSION_WINDOW_SECONDS as i64 - 1);
    block(fixture.store.keep_node()).expect("kept");
    assert_eq!(fixture.keep_up().deliveries, 0);
    fixture.clock.advance(1);
    assert_eq!(fixture.keep_up().deliveries, 1);
    assert_eq!(fixture.keep_up(), Default::default());
    assert_eq!(fixture.letters(Some(&alice())).len(), 3);
}

fn a_copied_original_dies_in_silence(store: Backend) {
    let fixture = store.open();
    let [absent, new] = [(); 2].map(|()| Uuid::new_v4());
    let original = fixture.say("copied", queue(&alice(), absent)).1;
    let copies = fixture.fill(&alice(), new, &[absent]);
    fixture.bury(original, DeathCause::Expired, None);
    assert_eq!(fixture.letters(None), []);
    fixture.bury(copies[0].key, DeathCause::Expired, None);
    assert_eq!(fixture.letters(None).len(), 1);
    assert_eq!(fixture.waits(&alice()), []);
}
