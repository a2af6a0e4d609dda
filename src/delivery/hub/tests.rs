use uuid::Uuid;

use std::sync::Arc;

use super::super::queue::{Acked, Entry, Levels, Parcel};
use super::{Counts, Effect, Hub};
use crate::domain::{AgentKey, Priority, Timestamp};

fn agent() -> AgentKey {
    AgentKey::new("space", "agent").unwrap()
}

#[test]
fn whoever_has_not_heard_of_a_loss_is_told_again() {
    let (session, now) = (Uuid::new_v4(), Timestamp::now());
    let mut hub = Hub::new(1_000);
    hub.restore(session, agent(), 7, (Vec::new(), true), 1, now);
    hub.disconnect(session, 1, now);
    // The answer was lost with the connection: the client knows the epoch of the server before.
    let again = hub.resume(session, &agent(), (3, 5), 2, now).unwrap();
    assert!(again.volatile && !again.known_position);
    hub.disconnect(session, 2, now);
    let heard = hub.resume(session, &agent(), (7, 0), 3, now).unwrap();
    assert!(heard.known_position && !heard.volatile);
}

#[test]
fn a_second_connection_fences_the_first_and_strangers_find_nothing() {
    let (session, now) = (Uuid::new_v4(), Timestamp::now());
    let mut hub = Hub::new(1_000);
    hub.open(session, agent(), 7, 1);
    let stranger = AgentKey::new("space", "other").unwrap();
    assert!(hub.resume(session, &stranger, (7, 0), 2, now).is_none());
    assert!(hub.resume(session, &agent(), (7, 0), 2, now).is_some());
    let mut effects = Vec::new();
    hub.poll(now, &mut effects);
    assert!(effects.contains(&Effect::Fence(1)));
    // Its close comes late and ends nothing.
    hub.disconnect(session, 1, now);
    assert!(hub.get(session).unwrap().is_connected());
}

#[test]
fn what_a_session_has_counted_outlives_it() {
    let (session, now) = (Uuid::new_v4(), Timestamp::now());
    let mut hub = Hub::new(1_000);
    let mut effects = Vec::new();
    hub.open(session, agent(), 7, 1);
    for priority in [Priority::Low, Priority::Low, Priority::Urgent] {
        let id = Uuid::new_v4();
        let text = b"{}".to_vec().into();
        let parcel = Arc::new(Parcel { id, text });
        let expires_at = now.plus_seconds(60).unwrap();
        hub.offer(session, Entry::volatile(parcel, priority, expires_at), now);
    }
    hub.poll(now, &mut effects);
    let parked = hub.levels();
    assert_eq!((parked.connected, parked.waiting), (1, 0));
    assert_eq!((parked.lanes, parked.in_window), ([1, 0, 0, 2], 0));
    assert!(parked.held_bytes > 0);
    hub.start(session);
    hub.filled(session, 7, Some(Vec::new()), now);
    hub.poll(now, &mut effects);
    hub.ack(session, 1, Acked::UpTo(1)).unwrap().unwrap();
    hub.nack(session, 1, (2, None), 0, now).unwrap();
    hub.poll(now, &mut effects);
    assert_eq!(
        (hub.levels().lanes, hub.levels().in_window),
        ([0, 0, 0, 0], 2)
    );
    hub.disconnect(session, 1, now);
    hub.poll(now, &mut effects);
    assert_eq!((hub.levels().connected, hub.levels().waiting), (0, 1));
    // The window ends, and the session with it.
    let later = now.plus_seconds(2).unwrap();
    hub.poll(later, &mut effects);
    hub.closed(session, 7, true, later);
    assert_eq!(hub.levels(), Levels::default());
    let counts = hub.take_counts();
    let tally = counts.tally;
    assert_eq!((tally.sent, tally.redelivered, tally.settled), (4, 1, 1));
    assert_eq!((counts.windows_ended, counts.fenced), (1, 0));
    assert_eq!(hub.take_counts(), Counts::default());
}

#[test]
fn a_session_that_goes_elsewhere_leaves_its_counts_and_takes_its_levels() {
    let (session, other, now) = (Uuid::new_v4(), Uuid::new_v4(), Timestamp::now());
    let mut hub = Hub::new(1_000);
    let mut effects = Vec::new();
    hub.open(session, agent(), 7, 1);
    hub.open(other, agent(), 8, 2);
    assert!(hub.resume(session, &agent(), (7, 0), 3, now).is_some());
    // Its client has another session now: no window has ended.
    hub.abandon(other, 2, now);
    hub.poll(now, &mut effects);
    hub.closed(other, 8, true, now);
    assert!(hub.release(session, &agent()).is_some());
    let counts = hub.take_counts();
    assert_eq!((counts.fenced, counts.windows_ended), (2, 0));
    assert_eq!(hub.levels(), Levels::default());
}

#[test]
fn a_broadcast_is_sent_in_portions_and_nothing_overtakes_it() {
    const SESSIONS: usize = 40;
    const PORTION: usize = 16;
    let now = Timestamp::now();
    let expires_at = now.plus_seconds(60).unwrap();
    let mut hub = Hub::new(1_000);
    let mut effects = Vec::new();
    let sessions: Vec<Uuid> = (0..SESSIONS).map(|_| Uuid::new_v4()).collect();
    for (connection, session) in sessions.iter().enumerate() {
        hub.open(*session, agent(), 7, connection);
        hub.start(*session);
        hub.filled(*session, 7, Some(Vec::new()), now);
    }
    hub.poll(now, &mut effects);
    assert!(!hub.is_behind());
    effects.clear();
    let tell = |hub: &mut Hub<usize>, session: Uuid, text: &str| {
        let (id, text) = (Uuid::new_v4(), text.as_bytes().into());
        let entry = Entry::volatile(Arc::new(Parcel { id, text }), Priority::Normal, expires_at);
        assert_eq!(hub.offer(session, entry, now), Some(true));
    };
    for session in &sessions {
        tell(&mut hub, *session, "broadcast");
    }
    assert_eq!(hub.poll_some(now, PORTION, &mut effects), PORTION);
    assert!(hub.is_behind());
    // Whoever has it answers at once, to one that was not looked at yet.
    tell(&mut hub, sessions[SESSIONS - 1], "answer");
    let mut portions = vec![effects.len()];
    while hub.is_behind() {
        let before = effects.len();
        assert!(hub.poll_some(now, PORTION, &mut effects) <= PORTION);
        portions.push(effects.len() - before);
    }
    // The last session has both when it is looked at the first time.
    assert_eq!(portions, [16, 16, 9]);
    let mut last = effects.iter().filter_map(|effect| match effect {
        Effect::Send {
            connection: 39,
            parcel,
            ..
        } => Some(&*parcel.text),
        _ => None,
    });
    assert_eq!(last.next(), Some(&b"broadcast"[..]));
    assert_eq!(last.next(), Some(&b"answer"[..]));
}
