use uuid::Uuid;

use super::{Effect, Hub};
use crate::domain::{AgentKey, Timestamp};

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
