//! Finding sessions, here and elsewhere.

use std::sync::Arc;

use uuid::Uuid;

use super::{Directory, Home, Taken};
use crate::domain::AgentKey;

#[test]
fn sessions_are_found_by_agent_namespace_and_topic() {
    let mut directory = Directory::default();
    let key = |namespace: &str, agent: &str| AgentKey::new(namespace, agent).unwrap();
    let [one, two, other] = [(); 3].map(|()| Uuid::new_v4());
    let (space, spaces): (Arc<str>, Arc<str>) = ("space".into(), "spaces".into());
    directory.enter(one, &key("space", "a"), 0);
    directory.enter(two, &key("space", "b"), 1);
    directory.enter(other, &key("spaces", "a"), 1);
    assert_eq!(directory.of_namespace(&space).len(), 2);
    let of_spaces = directory.of_namespace(&spaces);
    assert_eq!(of_spaces.len(), 1);
    assert_eq!(of_spaces[0].0, key("spaces", "a"));
    assert!(directory.subscribe(two, "news") && !directory.subscribe(two, "news"));
    assert_eq!(directory.subscribers(&space, "news")[0].1.session, two);
    assert!(directory.subscribers(&spaces, "news").is_empty());
    directory.set_connected(two, false);
    assert!(!directory.of_agent(&key("space", "b"))[0].connected);
    directory.leave(two);
    assert!(directory.of_agent(&key("space", "b")).is_empty());
    assert!(directory.subscribers(&space, "news").is_empty());
    assert_eq!(directory.home(one), Some(Home::Shard(0)));
}

#[test]
fn nodes_learn_of_each_other_and_notice_when_both_have_a_session() {
    let node = Uuid::new_v4();
    let (mut here, mut there) = (
        Directory::shared(Arc::default()),
        Directory::shared(Arc::default()),
    );
    let agent = AgentKey::new("space", "a").unwrap();
    let session = Uuid::new_v4();
    here.enter(session, &agent, 0);
    here.subscribe(session, "news");
    for note in here.take_notes() {
        assert_ne!(there.take_note(node, note), Taken::Disputed);
    }
    assert_eq!(there.home(session), Some(Home::Node(node)));
    let (namespace, news) = (&agent.namespace, "news");
    assert_eq!(there.subscribers(namespace, news).len(), 1);
    assert!(there.take_notes().is_empty(), "it is not its own to tell");
    there.enter(session, &agent, 1);
    assert_eq!(there.topics_of(session), [Box::<str>::from(news)]);
    let [note] = &there.take_notes()[..] else {
        panic!("one note");
    };
    assert_eq!(
        here.take_note(Uuid::new_v4(), note.clone()),
        Taken::Disputed
    );
    here.hand_over(session, node);
    here.leave(session);
    assert!(here.take_notes().is_empty() && here.home(session).is_some());
    here.forget(node);
    assert!(here.of_agent(&agent).is_empty() && here.subscribers(namespace, news).is_empty());
}
