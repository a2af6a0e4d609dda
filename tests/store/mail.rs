//! Messages for the tests, and the calls that they make.

use std::sync::Arc;
use std::time::Duration;

use tmws::config::limits::SESSION_WINDOW_SECONDS;
use tmws::domain::message::TTL_SECONDS_DEFAULT;
use tmws::domain::{
    AgentKey, DeadLetter, DeathCause, Destination, JsonText, Letters, Message, NewMessage, Outline,
    Priority, Retention, Timestamp, UpkeepReport, Waiting,
};
use tmws::store::{Queue, StoreError, Viewer};
use uuid::Uuid;

use crate::fixture::*;

/// A message of bob's that says `text`, sent at the time that the fixture shows.
pub(crate) fn message(fixture: &Fixture, text: &str) -> Message {
    message_at(fixture.clock.now(), text)
}

/// The same, sent at `sent_at`.
pub(crate) fn message_at(sent_at: Timestamp, text: &str) -> Message {
    Message {
        id: Uuid::now_v7(),
        sender: bob().key,
        topic: "message".into(),
        priority: Priority::Normal,
        sent_at,
        expires_at: sent_at
            .plus_seconds(TTL_SECONDS_DEFAULT)
            .expect("this century"),
        correlation_id: Some("c-1".into()),
        body: JsonText::parse(&format!(r#"{{"text":"{text}"}}"#)).expect("JSON"),
    }
}

pub(crate) fn inbox(agent: &Viewer) -> Destination {
    Destination {
        agent: agent.key.clone(),
        session: None,
        node: None,
        begun: false,
    }
}

pub(crate) fn queue(agent: &Viewer, session: Uuid) -> Destination {
    Destination {
        session: Some(session),
        ..inbox(agent)
    }
}

pub(crate) fn new_message(message: &Message, to: Vec<Destination>) -> NewMessage {
    NewMessage {
        message: Arc::new(message.clone()),
        to,
    }
}

pub(crate) fn keys(outlines: &[Outline]) -> Vec<i64> {
    outlines.iter().map(|outline| outline.key).collect()
}

impl Fixture {
    pub(crate) fn try_post(
        &self,
        message: &Message,
        to: Vec<Destination>,
    ) -> Result<Vec<i64>, StoreError> {
        let posted = self.store.post_messages(vec![new_message(message, to)]);
        block(posted).expect("the batch is committed").remove(0)
    }

    /// Posts a message and answers the keys of its deliveries.
    pub(crate) fn post(&self, message: &Message, to: Vec<Destination>) -> Vec<i64> {
        self.try_post(message, to).expect("the message is stored")
    }

    /// Posts what says `text` to one place.
    pub(crate) fn say(&self, text: &str, to: Destination) -> (Message, i64) {
        let message = message(self, text);
        let key = self.post(&message, vec![to])[0];
        (message, key)
    }

    pub(crate) fn fill(&self, agent: &Viewer, session: Uuid, absent: &[Uuid]) -> Vec<Outline> {
        block(self.store.fill_queue(&agent.key, session, absent.to_vec())).expect("filled")
    }

    pub(crate) fn resume(&self, agent: &Viewer, session: Uuid) -> Queue {
        self.resume_after(agent, session, self.store.node())
    }

    /// Resumes a session that `before` has served as far as its client knows.
    pub(crate) fn resume_after(&self, agent: &Viewer, session: Uuid, before: Uuid) -> Queue {
        block(self.store.resume_queue(&agent.key, session, before)).expect("resumed")
    }

    /// What is known of `node` by which a session was served that was never posted to.
    pub(crate) fn volatile(&self, node: Uuid) -> Option<bool> {
        let queue = self.resume_after(&alice(), Uuid::new_v4(), node);
        assert!(!queue.known);
        queue.volatile
    }

    pub(crate) fn note_volatile(&self) {
        block(self.store.note_volatile()).expect("noted");
    }

    pub(crate) fn close(&self, agent: &Viewer, session: Uuid) -> u64 {
        block(self.store.close_queue(&agent.key, session)).expect("closed")
    }

    pub(crate) fn load(&self, keys: &[i64]) -> Vec<(i64, Message)> {
        let mut loaded = block(self.store.load_deliveries(keys.to_vec())).expect("loaded");
        loaded.sort_unstable_by_key(|(key, _)| *key);
        loaded
    }

    pub(crate) fn settle(&self, keys: &[i64]) {
        block(self.store.settle_deliveries(keys.to_vec())).expect("settled");
    }

    pub(crate) fn waiting(&self, agent: &Viewer) -> Vec<Waiting> {
        block(self.store.waiting_messages(&agent.key, 100)).expect("an answer")
    }

    /// What the messages say that wait for `agent`, and how often each was delivered.
    pub(crate) fn waits(&self, agent: &Viewer) -> Vec<(String, u32)> {
        self.waiting(agent)
            .into_iter()
            .map(|waiting| (text(&waiting.message), waiting.deliveries))
            .collect()
    }

    pub(crate) fn bury(&self, key: i64, cause: DeathCause, reason: Option<&str>) {
        let dead = vec![(key, cause, reason.map(Into::into))];
        block(self.store.bury_deliveries(dead)).expect("buried");
    }

    /// A page of an agent's dead letters that holds them all.
    pub(crate) fn letters(&self, owner: Option<&Viewer>) -> Vec<DeadLetter> {
        let owner = owner.map(|owner| &owner.key);
        block(self.store.list_dead_letters(owner, 2_000, None))
            .expect("a page")
            .items
    }

    pub(crate) fn retry(&self, owner: Option<&Viewer>, letters: Letters) -> Vec<(AgentKey, u64)> {
        let owner = owner.map(|owner| &owner.key);
        block(self.store.retry_dead_letters(owner, letters)).expect("put back")
    }

    /// One run of the upkeep, which prunes nothing.
    pub(crate) fn keep_up(&self) -> UpkeepReport {
        let retention = Retention {
            half_life: Duration::from_secs(86_400),
            prune_below: 0.0,
            prune_age: Duration::ZERO,
            session_window: Duration::from_secs(SESSION_WINDOW_SECONDS),
        };
        block(self.store.upkeep(retention)).expect("upkeep")
    }
}

/// What a message of [`message`] says.
pub(crate) fn text(message: &Message) -> String {
    let body = message.body.as_str();
    body.trim_start_matches(r#"{"text":""#)
        .trim_end_matches(r#""}"#)
        .into()
}
