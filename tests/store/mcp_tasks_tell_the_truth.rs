//! The record of an MCP task says what became of the call: to its owner alone, across a restart,
//! once and for all when it has ended, and also when the server that ran it is gone.

use std::time::Duration;

use futures_util::future::join_all;
use tmws::config::limits::SESSION_WINDOW_SECONDS;
use tmws::domain::mcp_task::{GONE_ERROR, GONE_MESSAGE, OPEN_MAX, PAYLOAD_BYTES_MAX, TTL_MS_MAX};
use tmws::domain::{
    JsonObject, McpTask, McpTaskChange, McpTaskStatus, NewMcpTask, Retention, UpkeepReport,
};
use tmws::store::{StoreError, Viewer};
use uuid::Uuid;

use crate::fixture::*;

const LEASE_SECONDS: i64 = 60;

on_every_store!(
    what_was_recorded_survives_a_restart,
    what_another_agent_has_is_not_found,
    an_end_is_final,
    one_of_two_versions_wins,
    one_of_many_at_once_wins,
    a_status_brings_its_payload,
    whose_server_is_gone_has_failed,
    a_lease_lasts_as_long_as_it_is_renewed,
    life_is_counted_from_the_creation,
    upkeep_writes_down_what_readers_see,
    an_agent_has_so_many_open,
    what_breaks_a_bound_is_refused,
);

fn task(owner: &Viewer) -> NewMcpTask {
    NewMcpTask {
        id: Uuid::new_v4(),
        owner: owner.key.clone(),
        tool: "wait_for_agent".into(),
        ttl_ms: None,
        lease_ms: LEASE_SECONDS as u64 * 1_000,
    }
}

fn object(text: &str) -> Option<JsonObject> {
    Some(JsonObject::parse(text).expect("an object"))
}

fn to(status: McpTaskStatus, payload: Option<JsonObject>) -> McpTaskChange {
    McpTaskChange {
        status: Some(status),
        payload,
        ..McpTaskChange::default()
    }
}

fn completed() -> McpTaskChange {
    to(
        McpTaskStatus::Completed,
        object(r#"{"content":[{"type":"text","text":"caf\u00e9 \u0000"}],"isError":false}"#),
    )
}

impl Fixture {
    fn begin(&self, new: NewMcpTask) -> McpTask {
        block(self.store.create_mcp_task(new)).expect("the task is recorded")
    }

    fn task(&self, owner: &Viewer, id: Uuid) -> Result<McpTask, StoreError> {
        block(self.store.get_mcp_task(&owner.key, id))
    }

    fn change(
        &self,
        owner: &Viewer,
        id: Uuid,
        expected_version: Option<u64>,
        change: McpTaskChange,
    ) -> Result<McpTask, StoreError> {
        block(
            self.store
                .update_mcp_task(&owner.key, id, expected_version, change),
        )
    }

    fn renew(&self, ids: Vec<Uuid>) {
        let lease_ms = LEASE_SECONDS as u64 * 1_000;
        block(self.store.renew_mcp_tasks(ids, lease_ms)).expect("renewed");
    }

    fn upkeep(&self) -> UpkeepReport {
        let retention = Retention {
            half_life: Duration::from_secs(86_400),
            prune_below: 0.0,
            prune_age: Duration::ZERO,
            session_window: Duration::from_secs(SESSION_WINDOW_SECONDS),
        };
        block(self.store.upkeep(retention)).expect("upkeep")
    }
}

#[track_caller]
fn assert_no_task<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert!(
        matches!(result, Err(StoreError::NotFound { what: "MCP task" })),
        "{result:?}"
    );
}

#[track_caller]
fn assert_conflict<T: std::fmt::Debug>(result: Result<T, StoreError>, version: Option<u64>) {
    assert!(
        matches!(result, Err(StoreError::Conflict { current_version, .. }) if current_version == version),
        "{result:?}"
    );
}

fn what_was_recorded_survives_a_restart(store: Backend) {
    let fixture = store.open();
    let new = task(&alice());
    let begun = fixture.begin(new.clone());
    assert_eq!((begun.id, &begun.owner), (new.id, &new.owner));
    assert_eq!((begun.status, begun.version), (McpTaskStatus::Working, 1));
    assert_eq!(begun.created_at, fixture.clock.now());
    let asked = fixture.begin(task(&alice()));
    fixture.clock.advance(1);
    let asks = McpTaskChange {
        message: Some("which harbour?".into()),
        inputs: object(r#"{"name":{"action":"accept"}}"#),
        ..to(
            McpTaskStatus::InputRequired,
            object(r#"{ "harbour": { "method": "elicitation/create" } }"#),
        )
    };
    let asked = fixture
        .change(&alice(), asked.id, Some(1), asks)
        .expect("asks");
    let ended = fixture.begin(task(&alice()));
    let ended = fixture
        .change(&alice(), ended.id, None, completed())
        .expect("ends");
    assert_eq!((ended.status, ended.version), (McpTaskStatus::Completed, 2));
    let fixture = fixture.reopen();
    for task in [begun, asked, ended] {
        assert_eq!(fixture.task(&alice(), task.id).expect("there"), task);
    }
    let again = block(fixture.store.create_mcp_task(new.clone()));
    assert_conflict(again, None);
    let stolen = NewMcpTask {
        owner: stranger().key,
        ..new
    };
    assert_conflict(block(fixture.store.create_mcp_task(stolen)), None);
}

fn what_another_agent_has_is_not_found(store: Backend) {
    let fixture = store.open();
    let id = fixture.begin(task(&alice())).id;
    for other in [bob(), stranger()] {
        assert_no_task(fixture.task(&other, id));
        // Neither the version nor the status tells that there is something.
        assert_no_task(fixture.change(&other, id, Some(7), completed()));
        assert_no_task(fixture.change(&other, id, None, completed()));
    }
    assert_eq!(fixture.task(&alice(), id).expect("there").version, 1);
    assert_no_task(fixture.task(&alice(), Uuid::new_v4()));
}

fn an_end_is_final(store: Backend) {
    let fixture = store.open();
    let error = object(r#"{"code":-32000,"message":"no"}"#);
    for end in [
        completed(),
        to(McpTaskStatus::Failed, error),
        to(McpTaskStatus::Cancelled, None),
    ] {
        let id = fixture.begin(task(&alice())).id;
        let ended = fixture.change(&alice(), id, None, end).expect("ends");
        for change in [
            completed(),
            to(McpTaskStatus::Working, None),
            to(McpTaskStatus::Cancelled, None),
            McpTaskChange {
                inputs: object("{}"),
                ..McpTaskChange::default()
            },
        ] {
            assert_conflict(fixture.change(&alice(), id, Some(2), change), Some(2));
        }
        fixture.renew(vec![id]);
        // Its server may go, for the task has ended.
        fixture.clock.advance(2 * LEASE_SECONDS);
        assert_eq!(fixture.task(&alice(), id).expect("there"), ended);
    }
    assert_eq!(fixture.upkeep().mcp_tasks, 0);
}

fn one_of_two_versions_wins(store: Backend) {
    let fixture = store.open();
    let id = fixture.begin(task(&alice())).id;
    let says = |text: &str| McpTaskChange {
        message: Some(text.into()),
        ..McpTaskChange::default()
    };
    let first = fixture.change(&alice(), id, Some(1), says("first"));
    assert_eq!(first.expect("wins").version, 2);
    let second = fixture.change(&alice(), id, Some(1), says("second"));
    assert_conflict(second, Some(2));
    let stored = fixture.task(&alice(), id).expect("there");
    assert_eq!(stored.message.as_deref(), Some("first"));
    let same = fixture.change(&alice(), id, Some(2), says("first"));
    assert_eq!(same.expect("nothing to do").version, 2);
    let any = fixture.change(&alice(), id, None, says("third"));
    assert_eq!(any.expect("asks for none").version, 3);
}

fn one_of_many_at_once_wins(store: Backend) {
    let fixture = store.open();
    let owner = alice().key;
    let id = fixture.begin(task(&alice())).id;
    // Again and again: connections come up during the first rounds.
    for version in 1..=20 {
        let changes = (0..16).map(|n| {
            let change = McpTaskChange {
                inputs: object(&format!(r#"{{"{version}":{n}}}"#)),
                ..McpTaskChange::default()
            };
            fixture
                .store
                .update_mcp_task(&owner, id, Some(version), change)
        });
        let results = block(join_all(changes));
        let won: Vec<_> = results.iter().flatten().collect();
        assert_eq!(won.len(), 1, "{results:?}");
        assert_eq!(&fixture.task(&alice(), id).expect("there"), won[0]);
        for lost in results.iter().filter(|result| result.is_err()) {
            assert_conflict(lost.clone(), Some(version + 1));
        }
    }
}

fn a_status_brings_its_payload(store: Backend) {
    let fixture = store.open();
    let id = fixture.begin(task(&alice())).id;
    for wrong in [
        to(McpTaskStatus::Completed, None),
        to(McpTaskStatus::Failed, None),
        to(McpTaskStatus::InputRequired, None),
        to(McpTaskStatus::Cancelled, object("{}")),
        to(McpTaskStatus::Working, object("{}")),
    ] {
        let refused = fixture.change(&alice(), id, None, wrong);
        assert!(
            matches!(refused, Err(StoreError::Invalid(_))),
            "{refused:?}"
        );
    }
    let asks = McpTaskChange {
        message: Some("which one?".into()),
        ..to(McpTaskStatus::InputRequired, object(r#"{"a":{}}"#))
    };
    let asks = fixture.change(&alice(), id, Some(1), asks).expect("asks");
    let answered = McpTaskChange {
        inputs: object(r#"{"a":{"action":"decline"}}"#),
        ..McpTaskChange::default()
    };
    let answered = fixture.change(&alice(), id, None, answered).expect("fed");
    assert_eq!(
        (&answered.message, &answered.payload),
        (&asks.message, &asks.payload)
    );
    let works = to(McpTaskStatus::Working, None);
    let works = fixture
        .change(&alice(), id, Some(3), works)
        .expect("goes on");
    assert_eq!((works.message, works.payload), (None, None));
    assert_eq!(works.inputs, answered.inputs);
}

fn whose_server_is_gone_has_failed(store: Backend) {
    let fixture = store.open();
    let works = fixture.begin(task(&alice()));
    let asks = fixture.begin(task(&alice())).id;
    let waits = to(McpTaskStatus::InputRequired, object("{}"));
    let asks = fixture.change(&alice(), asks, None, waits).expect("asks");
    fixture.clock.advance(LEASE_SECONDS - 1);
    assert_eq!(fixture.task(&alice(), works.id).expect("there"), works);
    // A reader and the upkeep of another server say the same.
    let fixture = fixture.reopen();
    let over = fixture.clock.advance(1);
    fixture.clock.advance(100);
    let read = [&works, &asks].map(|task| fixture.task(&alice(), task.id).expect("there"));
    for (read, before) in read.iter().zip([&works, &asks]) {
        assert_eq!(read.status, McpTaskStatus::Failed);
        assert_eq!(read.message.as_deref(), Some(GONE_MESSAGE));
        assert_eq!(
            read.payload.as_ref().map(JsonObject::as_str),
            Some(GONE_ERROR)
        );
        assert_eq!((read.version, read.updated_at), (before.version + 1, over));
        // What a client was told is so: the server may not come back to it.
        fixture.renew(vec![read.id]);
        let late = fixture.change(&alice(), read.id, None, completed());
        assert_conflict(late, Some(read.version));
        assert_eq!(&fixture.task(&alice(), read.id).expect("there"), read);
    }
    assert_eq!(fixture.upkeep().mcp_tasks, 2);
    assert_eq!(fixture.upkeep(), UpkeepReport::default());
    let fixture = fixture.reopen();
    for read in read {
        assert_eq!(fixture.task(&alice(), read.id).expect("there"), read);
    }
}

fn a_lease_lasts_as_long_as_it_is_renewed(store: Backend) {
    let fixture = store.open();
    let ours = fixture.begin(task(&alice()));
    let theirs = fixture.begin(task(&stranger()));
    let forgotten = fixture.begin(task(&bob()));
    for _ in 0..3 {
        fixture.clock.advance(LEASE_SECONDS - 1);
        // One server runs the tasks of many; ids of none harm nobody.
        fixture.renew(vec![ours.id, Uuid::new_v4(), theirs.id]);
    }
    let kept = fixture.task(&alice(), ours.id).expect("there");
    let lease_until = kept.lease_until;
    assert_eq!(
        kept,
        McpTask {
            lease_until,
            ..ours
        }
    );
    assert!(lease_until > fixture.clock.now());
    let status = |owner: &Viewer, id| fixture.task(owner, id).expect("there").status;
    assert_eq!(status(&stranger(), theirs.id), McpTaskStatus::Working);
    assert_eq!(status(&bob(), forgotten.id), McpTaskStatus::Failed);
    fixture.renew(Vec::new());
    // A change may bring a lease of its own.
    let longer = McpTaskChange {
        lease_ms: Some(5 * LEASE_SECONDS as u64 * 1_000),
        ..McpTaskChange::default()
    };
    let longer = fixture.change(&alice(), ours.id, None, longer);
    assert_eq!(longer.expect("prolonged").version, 1);
    fixture.clock.advance(4 * LEASE_SECONDS);
    assert_eq!(status(&alice(), ours.id), McpTaskStatus::Working);
    assert_eq!(status(&stranger(), theirs.id), McpTaskStatus::Failed);
}

fn life_is_counted_from_the_creation(store: Backend) {
    let fixture = store.open();
    let brief = NewMcpTask {
        ttl_ms: Some(100_000),
        ..task(&alice())
    };
    let ended = fixture.begin(brief.clone()).id;
    let works = NewMcpTask {
        id: Uuid::new_v4(),
        ..brief
    };
    let works = fixture.begin(works);
    assert_eq!(works.ttl_ms, 100_000);
    fixture.clock.advance(50);
    fixture
        .change(&alice(), ended, None, completed())
        .expect("ends");
    fixture.renew(vec![works.id]);
    fixture.clock.advance(49);
    assert!(fixture.task(&alice(), ended).is_ok());
    assert!(fixture.task(&alice(), works.id).is_ok());
    fixture.clock.advance(1);
    for id in [ended, works.id] {
        assert_no_task(fixture.task(&alice(), id));
        assert_no_task(fixture.change(&alice(), id, None, completed()));
    }
    fixture.renew(vec![works.id]);
    assert_no_task(fixture.task(&alice(), works.id));
    assert_eq!(fixture.upkeep().mcp_tasks, 2);
}

fn upkeep_writes_down_what_readers_see(store: Backend) {
    let fixture = store.open();
    let brief = NewMcpTask {
        ttl_ms: Some(90_000),
        ..task(&alice())
    };
    let id = brief.id;
    fixture.begin(brief.clone());
    let lost = fixture.begin(task(&bob())).id;
    let kept = fixture.begin(task(&stranger())).id;
    let ended = fixture
        .change(&stranger(), kept, None, completed())
        .expect("ends");
    assert_eq!(fixture.upkeep().mcp_tasks, 0);
    fixture.clock.advance(100);
    assert_eq!(fixture.upkeep().mcp_tasks, 2, "one removed, one failed");
    assert_eq!(fixture.upkeep().mcp_tasks, 0);
    assert_no_task(fixture.task(&alice(), id));
    let lost = fixture.task(&bob(), lost).expect("there");
    assert_eq!((lost.status, lost.version), (McpTaskStatus::Failed, 2));
    assert_eq!(fixture.task(&stranger(), kept).expect("there"), ended);
    // The row is gone: its id is free.
    fixture.begin(brief);
}

fn an_agent_has_so_many_open(store: Backend) {
    let fixture = store.open();
    let more = |count: usize| {
        let new = (0..count).map(|_| fixture.store.create_mcp_task(task(&alice())));
        block(join_all(new))
    };
    // At once, so that each must count what the others are about to store.
    let (begun, refused): (Vec<_>, Vec<_>) = more(OPEN_MAX + 20)
        .into_iter()
        .partition(|result| result.is_ok());
    assert_eq!((begun.len(), refused.len()), (OPEN_MAX, 20));
    for refused in refused {
        assert_conflict(refused.clone(), None);
        let words = refused.expect_err("refused").to_string();
        assert!(words.contains("at most 1000 MCP tasks"), "{words}");
    }
    // Each agent has room of its own.
    fixture.begin(task(&bob()));
    fixture.begin(task(&stranger()));
    // What has ended makes room, in whatever way it did.
    let first = begun[0].as_ref().expect("recorded").id;
    let cancel = to(McpTaskStatus::Cancelled, None);
    fixture
        .change(&alice(), first, None, cancel)
        .expect("cancelled");
    fixture.begin(task(&alice()));
    assert!(more(1)[0].is_err());
    fixture.clock.advance(LEASE_SECONDS);
    assert!(more(1)[0].is_ok());
    // Bounded runs, as many as it takes.
    let mut swept = 0;
    loop {
        match fixture.upkeep().mcp_tasks {
            0 => break,
            some => swept += some as usize,
        }
    }
    assert_eq!(swept, OPEN_MAX + 2);
}

fn what_breaks_a_bound_is_refused(store: Backend) {
    let fixture = store.open();
    for wrong in [
        NewMcpTask {
            ttl_ms: Some(0),
            ..task(&alice())
        },
        NewMcpTask {
            ttl_ms: Some(TTL_MS_MAX + 1),
            ..task(&alice())
        },
        NewMcpTask {
            lease_ms: 0,
            ..task(&alice())
        },
        NewMcpTask {
            lease_ms: u64::MAX,
            ..task(&alice())
        },
        NewMcpTask {
            tool: "\0".into(),
            ..task(&alice())
        },
    ] {
        let refused = block(fixture.store.create_mcp_task(wrong));
        assert!(
            matches!(refused, Err(StoreError::Invalid(_))),
            "{refused:?}"
        );
    }
    let id = fixture.begin(task(&alice())).id;
    let sized = |bytes: usize| {
        let text = "x".repeat(bytes - r#"{"a":""}"#.len());
        object(&format!(r#"{{"a":"{text}"}}"#))
    };
    let large = sized(PAYLOAD_BYTES_MAX);
    let larger = sized(PAYLOAD_BYTES_MAX + 1);
    for wrong in [
        to(McpTaskStatus::Completed, larger.clone()),
        McpTaskChange {
            inputs: larger,
            ..McpTaskChange::default()
        },
        McpTaskChange {
            message: Some("\0".into()),
            ..McpTaskChange::default()
        },
        McpTaskChange {
            lease_ms: Some(0),
            ..McpTaskChange::default()
        },
    ] {
        let refused = fixture.change(&alice(), id, None, wrong);
        assert!(
            matches!(refused, Err(StoreError::Invalid(_))),
            "{refused:?}"
        );
    }
    let refused = block(fixture.store.renew_mcp_tasks(vec![id], u64::MAX));
    assert!(
        matches!(refused, Err(StoreError::Invalid(_))),
        "{refused:?}"
    );
    assert_eq!(fixture.task(&alice(), id).expect("there").version, 1);
    let fits = to(McpTaskStatus::Completed, large.clone());
    fixture.change(&alice(), id, None, fits).expect("fits");
    assert_eq!(fixture.task(&alice(), id).expect("there").payload, large);
}
