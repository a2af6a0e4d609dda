//! What is written under an idempotency key is written once, however often and from wherever it is asked
//! for, and answers what it answered.

use std::rc::Rc;

use futures_util::future::join_all;
use tmws::config::limits::IDEMPOTENCY_SECONDS;
use tmws::domain::message::WAITING_MAX;
use tmws::domain::{
    DeathCause, Keyed, Letters, Memory, MemoryPatch, NewAgent, NewMemory, Permission, Share,
};
use tmws::store::{Store, StoreError, Viewer};
use uuid::Uuid;

use crate::fixture::*;
use crate::mail::*;

on_every_store!(
    the_same_answer_comes_again,
    another_call_is_a_mismatch,
    keys_belong_to_agents,
    what_fails_keeps_nothing,
    records_end_and_are_removed,
    results_are_kept_once,
    messages_are_posted_once,
    records_outlive_the_store,
    at_once_is_once,
    many_are_stored_together,
);

fn key_of(owner: &Viewer, key: &str, digest: &str) -> Keyed {
    Keyed {
        owner: owner.key.clone(),
        key: key.into(),
        digest: digest.into(),
    }
}

fn key(name: &str) -> Keyed {
    key_of(&alice(), name, name)
}

fn create_once(fixture: &Fixture, key: &Keyed, new: NewMemory) -> Result<Memory, StoreError> {
    let created = block(fixture.store.keyed(key).create_memories(vec![new]));
    created.and_then(|mut created| created.remove(0))
}

fn memories(fixture: &Fixture) -> usize {
    fixture.recalled(&alice(), everything()).len()
}

fn registration(text: &str) -> NewAgent {
    NewAgent {
        key: stranger().key,
        name: Some(text.into()),
        description: None,
        capabilities: Some(vec!["x".into()]),
        metadata: None,
    }
}

fn the_same_answer_comes_again(store: Backend) {
    let fixture = store.open();
    let keyed = |name: &str| fixture.store.keyed(&key(name));
    let mut first = new(&alice(), "käse \"x\"\n");
    first.tags = vec!["a b".into(), "c".into()];
    first.importance = 0.1 + 0.2;
    first.source = Some("s".into());
    let first = create_once(&fixture, &key("create"), first).expect("stored");
    let id = first.id;
    let patch = |content: &str| MemoryPatch {
        content: Some(content.into()),
        ..MemoryPatch::default()
    };
    let share = || Share {
        id,
        agents: vec![bob().key],
        permission: Some(Permission::Write),
    };
    let update = |text| block(keyed("update").update_memory(&alice(), id, patch(text), Some(1)));
    let updated = update("newer").expect("updated");
    let shared = block(keyed("share").share_memory(&alice(), share())).expect("shared");
    let deleted = block(keyed("delete").delete_memory(&alice(), id, false, None)).expect("gone");
    let registered = block(keyed("register").register_agent(registration("one"))).expect("here");
    fixture.clock.advance(3_600);
    // Whatever it is that comes under the key: the call is told by its digest.
    assert_eq!(
        create_once(&fixture, &key("create"), new(&alice(), "other")),
        Ok(first)
    );
    assert_eq!(update("unheard of"), Ok(updated));
    assert_eq!(
        block(keyed("share").share_memory(&alice(), share())),
        Ok(shared)
    );
    assert_eq!(
        block(keyed("delete").delete_memory(&alice(), id, false, None)),
        Ok(deleted)
    );
    assert_eq!(
        block(keyed("register").register_agent(registration("two"))),
        Ok(registered)
    );
    assert_eq!(memories(&fixture), 0, "one was stored, and is deleted");
    let history = block(fixture.store.memory_history(&alice(), id)).expect("kept");
    assert_eq!(history.len(), 4, "created, updated, shared, deleted");
    let agent = block(fixture.store.get_agent(&stranger().key)).expect("here");
    assert_eq!(agent.name.as_deref(), Some("one"));
}

fn another_call_is_a_mismatch(store: Backend) {
    let fixture = store.open();
    create_once(&fixture, &key("k"), new(&alice(), "one")).expect("stored");
    let other = key_of(&alice(), "k", "other");
    let refused = create_once(&fixture, &other, new(&alice(), "two"));
    assert_eq!(refused, Err(StoreError::Mismatch));
    let refused = block(fixture.store.kept_result(&other));
    assert_eq!(refused, Err(StoreError::Mismatch));
    let refused = block(fixture.store.keep_result(&other, "{}".into()));
    assert_eq!(refused, Err(StoreError::Mismatch));
    let message = message(&fixture, "x");
    let post = new_message(&message, vec![inbox(&bob())]);
    let refused = block(fixture.store.post_once(&other, post, 1));
    assert_eq!(refused, Err(StoreError::Mismatch));
    assert!(fixture.waits(&bob()).is_empty());
    assert_eq!(memories(&fixture), 1);
}

fn keys_belong_to_agents(store: Backend) {
    let fixture = store.open();
    let mut ids = Vec::new();
    for owner in [alice(), bob(), stranger()] {
        let key = key_of(&owner, "k", "d");
        ids.push(create_once(&fixture, &key, new(&owner, "mine")).expect("stored"));
        assert_eq!(
            ids.last().map(|memory| &memory.agent_id),
            Some(&owner.key.agent)
        );
    }
    ids.dedup_by_key(|memory| memory.id);
    assert_eq!(ids.len(), 3);
}

fn what_fails_keeps_nothing(store: Backend) {
    let fixture = store.open();
    let mut wrong = new(&alice(), "second");
    wrong.supersedes = Some(Uuid::now_v7());
    assert_not_found(create_once(&fixture, &key("k"), wrong));
    assert_eq!(block(fixture.store.kept_result(&key("k"))), Ok(None));
    let other = key_of(&alice(), "k", "other");
    create_once(&fixture, &other, new(&alice(), "two")).expect("the key is free");
    let message = message(&fixture, "x");
    let full = vec![inbox(&bob()); WAITING_MAX + 1];
    let post = fixture
        .store
        .post_once(&key("post"), new_message(&message, full), 1);
    assert!(matches!(block(post), Err(StoreError::Conflict { .. })));
    let post = new_message(&message, vec![inbox(&bob())]);
    let posted = block(fixture.store.post_once(&key("post"), post, 1)).expect("posted");
    assert_eq!(posted.keys.map(|keys| keys.len()), Some(1));
}

fn records_end_and_are_removed(store: Backend) {
    let fixture = store.open();
    let first = create_once(&fixture, &key("k"), new(&alice(), "one")).expect("stored");
    let kept = block(fixture.store.keep_result(&key("k"), "1".into()));
    assert_eq!(kept.as_deref(), Ok("1"));
    fixture.clock.advance(IDEMPOTENCY_SECONDS as i64 - 1);
    assert_eq!(fixture.keep_up().idempotency_keys, 0);
    let again = create_once(&fixture, &key("k"), new(&alice(), "one")).expect("known");
    assert_eq!(again.id, first.id);
    fixture.clock.advance(1);
    assert_eq!(block(fixture.store.kept_result(&key("k"))), Ok(None));
    // A key whose record is over is free, for another call too, before it was removed.
    let other = key_of(&alice(), "k", "other");
    let next = create_once(&fixture, &other, new(&alice(), "two")).expect("stored");
    assert_ne!(next.id, first.id);
    assert_eq!(block(fixture.store.kept_result(&other)), Ok(None));
    let over = block(fixture.store.keep_result(&key("l"), "1".into()));
    assert!(over.is_ok());
    fixture.clock.advance(IDEMPOTENCY_SECONDS as i64);
    let over = block(fixture.store.keep_result(&key("l"), "2".into()));
    assert_eq!(over.as_deref(), Ok("2"));
    assert_eq!(fixture.keep_up().idempotency_keys, 1);
    assert_eq!(fixture.keep_up().idempotency_keys, 0);
}

fn results_are_kept_once(store: Backend) {
    let fixture = store.open();
    let keep = |text: &str| block(fixture.store.keep_result(&key("k"), text.into()));
    assert_eq!(keep("{\"n\":1}").as_deref(), Ok("{\"n\":1}"));
    assert_eq!(keep("{\"n\":2}").as_deref(), Ok("{\"n\":1}"));
    let kept = block(fixture.store.kept_result(&key("k")));
    assert_eq!(kept, Ok(Some("{\"n\":1}".into())));
    // A write under the key keeps its answer beside that.
    let first = create_once(&fixture, &key("k"), new(&alice(), "one")).expect("stored");
    let again = create_once(&fixture, &key("k"), new(&alice(), "one")).expect("known");
    assert_eq!(first, again);
    let kept = block(fixture.store.kept_result(&key("k")));
    assert_eq!(kept, Ok(Some("{\"n\":1}".into())));
}

fn messages_are_posted_once(store: Backend) {
    let fixture = store.open();
    let post = |name: &str, text: &str, to| {
        let message = message(&fixture, text);
        let new = new_message(&message, to);
        let posted = block(fixture.store.post_once(&key(name), new, 7)).expect("posted");
        (message.id, posted)
    };
    let (id, first) = post("k", "one", vec![inbox(&alice()), inbox(&bob())]);
    assert_eq!((first.id, first.recipients), (id, 7));
    let keys = first.keys.expect("it was now");
    assert_eq!(fixture.load(&keys).len(), 2);
    let (_, again) = post("k", "two", vec![inbox(&alice())]);
    assert_eq!((again.id, again.recipients, again.keys), (id, 7, None));
    assert_eq!(fixture.waits(&alice()), [("one".into(), 0)]);
    // One without deliveries leaves its record alone.
    let (id, first) = post("none", "three", Vec::new());
    assert_eq!(first.keys, Some(Vec::new()));
    let (_, again) = post("none", "four", vec![inbox(&alice())]);
    assert_eq!((again.id, again.keys), (id, None));
    // What is settled, given up and put back answers the same too.
    let ids = vec![fixture.waiting(&alice())[0].message.id];
    let settle = || {
        block(
            fixture
                .store
                .keyed(&key("ack"))
                .settle_messages(&alice().key, ids.clone()),
        )
    };
    let settled = settle().expect("settled");
    assert_eq!(settled.len(), 1);
    assert_eq!(settle(), Ok(settled));
    let (_, delivery) = fixture.say("dead", inbox(&alice()));
    fixture.bury(delivery, DeathCause::Terminated, None);
    let letters = || fixture.store.keyed(&key("retry"));
    let retry = || block(letters().retry_dead_letters(Some(&alice().key), Letters::All));
    assert_eq!(retry(), Ok(vec![(alice().key, 1)]));
    let waiting = fixture.waiting(&alice());
    fixture.bury(
        delivery_of(&fixture, &waiting[0].message.id),
        DeathCause::Terminated,
        None,
    );
    assert_eq!(retry(), Ok(vec![(alice().key, 1)]));
    assert_eq!(fixture.letters(Some(&alice())).len(), 1, "it stays dead");
    let purge = || {
        let store = fixture.store.keyed(&key("purge"));
        block(store.purge_dead_letters(Some(&alice().key), Letters::All))
    };
    assert_eq!(purge(), Ok(1));
    assert_eq!(purge(), Ok(1));
}

/// The key of the only delivery of a message to alice.
fn delivery_of(fixture: &Fixture, message: &Uuid) -> i64 {
    let outlines = fixture.fill(&alice(), Uuid::new_v4(), &[]);
    let keys: Vec<i64> = outlines.iter().map(|outline| outline.key).collect();
    let loaded = fixture.load(&keys);
    let found = loaded.iter().find(|(_, loaded)| loaded.id == *message);
    found.expect("it waits").0
}

fn records_outlive_the_store(store: Backend) {
    let fixture = store.open();
    let first = create_once(&fixture, &key("k"), new(&alice(), "one")).expect("stored");
    let fixture = fixture.reopen();
    let again = create_once(&fixture, &key("k"), new(&alice(), "one")).expect("known");
    assert_eq!(again.id, first.id);
    assert_eq!(memories(&fixture), 1);
}

/// Calls of eight keys, each sixteen times at once, over these handles in turn.
fn race(fixture: &Fixture, handles: &[Rc<dyn Store>]) {
    const KEYS: usize = 8;
    let all = (0..KEYS * 16).map(|n| {
        let name = format!("k{}", n % KEYS);
        let store = handles[n / KEYS % handles.len()].keyed(&key(&name));
        let mut new = new(&alice(), &name);
        new.tags = vec![name];
        // Asked for before any is awaited.
        store.create_memories(vec![new])
    });
    let all: Vec<_> = all.collect();
    let created = block(join_all(all));
    let ids: Vec<Vec<Uuid>> = (0..KEYS)
        .map(|k| {
            let of_key = created.iter().skip(k).step_by(KEYS);
            let mut ids: Vec<Uuid> = of_key
                .map(|created| {
                    created.as_ref().expect("committed")[0]
                        .as_ref()
                        .expect("stored")
                        .id
                })
                .collect();
            ids.dedup();
            ids
        })
        .collect();
    assert!(ids.iter().all(|ids| ids.len() == 1), "{ids:?}");
    assert_eq!(memories(fixture), KEYS);
}

fn at_once_is_once(store: Backend) {
    let fixture = store.open();
    race(&fixture, &[Rc::clone(&fixture.store)]);
    let message = message(&fixture, "x");
    let posts: Vec<_> = (0..16)
        .map(|_| {
            let mut message = message.clone();
            message.id = Uuid::now_v7();
            let new = new_message(&message, vec![inbox(&bob())]);
            fixture.store.post_once(&key("post"), new, 1)
        })
        .collect();
    let posted = block(join_all(posts));
    let now = posted
        .iter()
        .filter(|posted| matches!(posted, Ok(posted) if posted.keys.is_some()));
    assert_eq!(now.count(), 1);
    assert!(posted.iter().all(Result::is_ok), "{posted:?}");
    assert_eq!(fixture.waits(&bob()).len(), 1);
}

#[test]
fn nodes_of_one_database_count_as_one() {
    let one = Backend::Postgres.open();
    let (two, three) = (one.another_node(), one.another_node());
    let handles = [&one, &two, &three].map(|fixture| Rc::clone(&fixture.store));
    race(&one, &handles);
}

fn many_are_stored_together(store: Backend) {
    let fixture = store.open();
    let mut wrong = new(&alice(), "second");
    wrong.supersedes = Some(Uuid::now_v7());
    let keyed = || fixture.store.keyed(&key("k"));
    let failed = block(keyed().create_memories(vec![new(&alice(), "first"), wrong]));
    assert!(
        matches!(failed, Err(StoreError::NotFound { .. })),
        "{failed:?}"
    );
    assert_eq!(memories(&fixture), 0);
    let old = fixture.create(new(&alice(), "old")).id;
    let mut next = new(&alice(), "next");
    next.supersedes = Some(old);
    let both = vec![new(&alice(), "first"), next];
    let created = block(keyed().create_memories(both.clone())).expect("committed");
    let again = block(keyed().create_memories(both)).expect("known");
    assert_eq!(created, again);
    assert_eq!(memories(&fixture), 2, "the old one is superseded");
}
