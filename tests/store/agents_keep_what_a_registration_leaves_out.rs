//! Registering again changes what is given and keeps the rest.

use tmws::domain::{JsonObject, NewAgent};
use tmws::store::{StoreError, Viewer};

use crate::fixture::*;

on_every_store!(registered_twice, listed_by_namespace_and_capability);

fn agent(who: &Viewer) -> NewAgent {
    NewAgent {
        key: who.key.clone(),
        name: None,
        description: None,
        capabilities: None,
        metadata: None,
    }
}

fn registered_twice(store: Backend) {
    let fixture = store.open();
    let missing = block(fixture.store.get_agent(&alice().key));
    assert!(
        matches!(missing, Err(StoreError::NotFound { what: "agent" })),
        "{missing:?}"
    );
    let first = NewAgent {
        name: Some("Alice".into()),
        capabilities: Some(vec!["review".into()]),
        metadata: JsonObject::parse(r#"{"a":1}"#),
        ..agent(&alice())
    };
    let first = block(fixture.store.register_agent(first)).expect("registered");
    fixture.clock.advance(5);
    let second = NewAgent {
        description: Some("reads".into()),
        ..agent(&alice())
    };
    let second = block(fixture.store.register_agent(second)).expect("registered again");
    assert_eq!(second.name, first.name);
    assert_eq!(second.capabilities, first.capabilities);
    assert_eq!(second.metadata, first.metadata);
    assert_eq!(second.registered_at, first.registered_at);
    assert!(second.updated_at > first.updated_at);
    assert_eq!(
        block(fixture.store.get_agent(&alice().key)).expect("there"),
        second
    );
    assert_eq!(block(fixture.store.status()).expect("up").agents, 1);
}

fn listed_by_namespace_and_capability(store: Backend) {
    let fixture = store.open();
    for n in 0..5 {
        let capabilities = Some(vec![if n % 2 == 0 { "review" } else { "re" }.into()]);
        let who = viewer("red", &format!("agent-{n}"));
        let registered = fixture.store.register_agent(NewAgent {
            capabilities,
            ..agent(&who)
        });
        block(registered).expect("registered");
    }
    block(fixture.store.register_agent(agent(&stranger()))).expect("registered");
    let list = |capability: Option<&str>, cursor| {
        let capability = capability.map(String::from);
        block(fixture.store.list_agents("red", capability, 2, cursor))
    };
    let first = list(Some("review"), None).expect("a page");
    assert_eq!(first.items.len(), 2);
    let last = list(Some("review"), first.next_cursor.clone()).expect("a page");
    assert_eq!(&*last.items[0].agent_id, "agent-4");
    assert_eq!(last.next_cursor, None);
    let bad = list(None, Some("?".into()));
    assert!(matches!(bad, Err(StoreError::Invalid(_))), "{bad:?}");
}
