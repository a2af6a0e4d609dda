//! Records of MCP tasks: tool calls that go on after they were answered, which a client polls and
//! feeds (extension `io.modelcontextprotocol/tasks`). They are not work items that agents share.
//!
//! Invariants: a task that has come to its end never changes again; whatever can be told from the
//! record and the time alone (its time to live, its server gone) is told here, at every read, so
//! that all stores say the same and none has to be swept first.

use uuid::Uuid;

use super::{AgentKey, JsonObject, Timestamp, Violation};

/// Bytes of a payload and of the inputs: either travels whole with an answer, and a connection with
/// 1 MiB to send is full.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// Characters of a message: a line for a person who waits.
pub const MESSAGE_CHARS_MAX: usize = 1_000;
/// Bytes of a tool's name, as MCP advises.
pub const TOOL_BYTES_MAX: usize = 128;
/// Tasks of one agent that have not ended: more than a client can follow, and few enough to count
/// at every creation.
pub const OPEN_MAX: usize = 1_000;
/// Shortest time to live: a client must be able to poll once.
pub const TTL_MS_MIN: u64 = 1_000;
/// Time to live unless one is asked for: a client that was away for a night finds its result.
pub const TTL_MS_DEFAULT: u64 = 24 * 3_600_000;
/// Longest time to live: results are fetched, not archived; what is to stay becomes a memory.
pub const TTL_MS_MAX: u64 = 7 * 24 * 3_600_000;
/// The lease a server asks for, and renews at a third of it: two renewals may be lost.
pub const LEASE_MS: u64 = 30_000;
/// Longest lease: for so long a task can look alive after its server was killed.
pub const LEASE_MS_MAX: u64 = 300_000;

/// What is said of a task whose server did not renew its lease.
pub const GONE_MESSAGE: &str = "the server that ran this task is gone";
/// The same as the JSON-RPC error that the task ended with.
pub const GONE_ERROR: &str = r#"{"code":-32603,"message":"the server that ran this task is gone"}"#;

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum McpTaskStatus {
    /// The tool runs.
    Working,
    /// The tool waits for answers of the client.
    InputRequired,
    /// The tool has returned a result.
    Completed,
    /// The call ended in a JSON-RPC error.
    Failed,
    /// The client has called it off.
    Cancelled,
}

impl McpTaskStatus {
    /// The name on every wire and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::InputRequired => "input_required",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The status that `name` stands for.
    pub fn parse(name: &str) -> Option<Self> {
        [
            Self::Working,
            Self::InputRequired,
            Self::Completed,
            Self::Failed,
            Self::Cancelled,
        ]
        .into_iter()
        .find(|status| status.as_str() == name)
    }

    /// Has it come to its end?
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Working | Self::InputRequired => false,
            Self::Completed | Self::Failed | Self::Cancelled => true,
        }
    }

    /// Does the status come with a payload?
    fn has_payload(self) -> bool {
        match self {
            Self::InputRequired | Self::Completed | Self::Failed => true,
            Self::Working | Self::Cancelled => false,
        }
    }
}

/// The record of a task as its owner sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct McpTask {
    /// UUID v4: who does not know it cannot guess it.
    pub id: Uuid,
    /// Who called the tool, and alone may see the task.
    pub owner: AgentKey,
    /// The tool that was called.
    pub tool: String,
    /// How far it is.
    pub status: McpTaskStatus,
    /// The status in words.
    pub message: Option<String>,
    /// By status: the tool's result if it is completed, the JSON-RPC error if it failed, the
    /// requests to the client if input is required; nothing otherwise.
    pub payload: Option<JsonObject>,
    /// The client's answers to such requests so far.
    pub inputs: Option<JsonObject>,
    /// When the tool was called.
    pub created_at: Timestamp,
    /// When the task last changed; a renewed lease is no change.
    pub updated_at: Timestamp,
    /// Time to live in milliseconds, counted from the creation.
    pub ttl_ms: u64,
    /// When that ends, and the task with it.
    pub expires_at: Timestamp,
    /// Until when the server that runs the task has promised to be there.
    pub lease_until: Timestamp,
    /// Counts changes from 1.
    pub version: u64,
}

impl McpTask {
    /// What a reader at `now` sees of the record: nothing once its time is over, and a failure
    /// once its server is gone.
    pub fn as_of(mut self, now: Timestamp) -> Option<Self> {
        if now >= self.expires_at {
            return None;
        }
        if !self.status.is_terminal() && now >= self.lease_until {
            // As the upkeep writes it down, in the stores' own terms.
            self.status = McpTaskStatus::Failed;
            self.message = Some(GONE_MESSAGE.into());
            self.payload = JsonObject::parse(GONE_ERROR);
            self.updated_at = self.lease_until;
            self.version += 1;
        }
        Some(self)
    }

    /// Makes `change` at `now`. What changes nothing but the lease makes no version.
    pub fn apply(mut self, change: McpTaskChange, now: Timestamp) -> Result<Self, Violation> {
        let before = self.clone();
        let status = change.status.unwrap_or(self.status);
        if status == self.status {
            self.message = change.message.or(self.message.take());
            self.payload = change.payload.or(self.payload.take());
        } else {
            // They spoke of the status before.
            self.message = change.message;
            self.payload = change.payload;
        }
        self.status = status;
        self.inputs = change.inputs.or(self.inputs.take());
        self.check()?;
        if self != before {
            self.version += 1;
            self.updated_at = now;
        }
        if let Some(lease_ms) = change.lease_ms {
            self.lease_until = lease_end(now, lease_ms)?;
        }
        Ok(self)
    }

    fn check(&self) -> Result<(), Violation> {
        check_message(self.message.as_deref())?;
        check_object("payload", self.payload.as_ref())?;
        check_object("inputs", self.inputs.as_ref())?;
        let status = self.status.as_str();
        match (self.status.has_payload(), &self.payload) {
            (true, None) => Err(Violation::new(
                "payload",
                format!("a task that is {status} needs one"),
            )),
            (false, Some(_)) => Err(Violation::new(
                "payload",
                format!("a task that is {status} has none"),
            )),
            _ => Ok(()),
        }
    }
}

/// A task to be recorded, which is working from then on.
#[derive(Debug, Clone)]
pub struct NewMcpTask {
    /// UUID v4.
    pub id: Uuid,
    /// Who called the tool.
    pub owner: AgentKey,
    /// The tool.
    pub tool: String,
    /// Time to live from now; [`TTL_MS_DEFAULT`] if none is asked for.
    pub ttl_ms: Option<u64>,
    /// How long the server promises to be there, or to renew the promise.
    pub lease_ms: u64,
}

impl NewMcpTask {
    /// The record as it begins at `now`, if every rule is kept.
    pub fn begin(self, now: Timestamp) -> Result<McpTask, Violation> {
        check_tool(&self.tool)?;
        let ttl_ms = self.ttl_ms.unwrap_or(TTL_MS_DEFAULT);
        if !(TTL_MS_MIN..=TTL_MS_MAX).contains(&ttl_ms) {
            return Err(Violation::new(
                "ttl_ms",
                format!("must lie between {TTL_MS_MIN} and {TTL_MS_MAX}, is {ttl_ms}"),
            ));
        }
        Ok(McpTask {
            id: self.id,
            owner: self.owner,
            tool: self.tool,
            status: McpTaskStatus::Working,
            message: None,
            payload: None,
            inputs: None,
            created_at: now,
            updated_at: now,
            ttl_ms,
            expires_at: now
                .plus_millis(ttl_ms)
                .ok_or_else(|| Violation::new("ttl_ms", "ends beyond the calendar"))?,
            lease_until: lease_end(now, self.lease_ms)?,
            version: 1,
        })
    }
}

/// What becomes of a task. `None` leaves alone, except that another status drops the message and
/// the payload of the status before.
#[derive(Debug, Clone, Default)]
pub struct McpTaskChange {
    /// How far it is now.
    pub status: Option<McpTaskStatus>,
    /// The status in words.
    pub message: Option<String>,
    /// What the status comes with.
    pub payload: Option<JsonObject>,
    /// All answers of the client so far.
    pub inputs: Option<JsonObject>,
    /// A new lease from now on.
    pub lease_ms: Option<u64>,
}

impl McpTaskChange {
    /// About how many bytes it carries.
    pub fn bytes(&self) -> usize {
        [&self.payload, &self.inputs]
            .into_iter()
            .flatten()
            .map(|object| object.as_str().len())
            .sum()
    }
}

/// When a lease that begins at `now` ends.
pub fn lease_end(now: Timestamp, lease_ms: u64) -> Result<Timestamp, Violation> {
    if !(1..=LEASE_MS_MAX).contains(&lease_ms) {
        return Err(Violation::new(
            "lease_ms",
            format!("must lie between 1 and {LEASE_MS_MAX}, is {lease_ms}"),
        ));
    }
    now.plus_millis(lease_ms)
        .ok_or_else(|| Violation::new("lease_ms", "ends beyond the calendar"))
}

fn check_tool(tool: &str) -> Result<(), Violation> {
    if tool.is_empty() || tool.len() > TOOL_BYTES_MAX || tool.contains(char::is_control) {
        return Err(Violation::new(
            "tool",
            format!("needs 1 to {TOOL_BYTES_MAX} bytes without control characters"),
        ));
    }
    Ok(())
}

fn check_message(message: Option<&str>) -> Result<(), Violation> {
    let Some(message) = message else {
        return Ok(());
    };
    let chars = message.chars().count();
    if chars > MESSAGE_CHARS_MAX {
        return Err(Violation::new(
            "message",
            format!("exceeds {MESSAGE_CHARS_MAX} characters, has {chars}"),
        ));
    }
    // PostgreSQL cannot keep it, and one store must not take what the other refuses.
    if message.contains('\0') {
        return Err(Violation::new(
            "message",
            "must not hold the character U+0000",
        ));
    }
    Ok(())
}

fn check_object(field: &'static str, object: Option<&JsonObject>) -> Result<(), Violation> {
    let bytes = object.map_or(0, |object| object.as_str().len());
    if bytes > PAYLOAD_BYTES_MAX {
        return Err(Violation::new(
            field,
            format!("exceeds {PAYLOAD_BYTES_MAX} bytes, has {bytes}"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun() -> McpTask {
        let new = NewMcpTask {
            id: Uuid::nil(),
            owner: AgentKey::new("red", "alice").unwrap(),
            tool: "sleep".into(),
            ttl_ms: Some(60_000),
            lease_ms: 10_000,
        };
        new.begin(Timestamp::EPOCH).unwrap()
    }

    fn after(millis: u64) -> Timestamp {
        Timestamp::EPOCH.plus_millis(millis).unwrap()
    }

    #[test]
    fn the_end_of_the_lease_and_of_life_are_told_by_the_time() {
        let seen = begun().as_of(after(9_999)).unwrap();
        assert_eq!(seen, begun());
        let gone = begun().as_of(after(10_000)).unwrap();
        assert_eq!((gone.status, gone.version), (McpTaskStatus::Failed, 2));
        assert_eq!(gone.payload.as_ref().unwrap().as_str(), GONE_ERROR);
        assert!(GONE_ERROR.contains(GONE_MESSAGE));
        assert_eq!(gone.updated_at, after(10_000));
        // What failed for this reason stays as it is.
        assert_eq!(gone.clone().as_of(after(59_999)), Some(gone));
        assert_eq!(begun().as_of(after(60_000)), None);
    }

    #[test]
    fn a_status_brings_what_belongs_to_it() {
        let change = |status, payload: Option<&str>| McpTaskChange {
            status: Some(status),
            payload: payload.and_then(JsonObject::parse),
            ..McpTaskChange::default()
        };
        let asks = change(McpTaskStatus::InputRequired, Some(r#"{"name":{}}"#));
        let task = begun().apply(asks, after(1)).unwrap();
        let bare = change(McpTaskStatus::Completed, None);
        assert!(task.clone().apply(bare, after(2)).is_err());
        let full = change(McpTaskStatus::Working, Some("{}"));
        assert!(task.clone().apply(full, after(2)).is_err());
        let answered = McpTaskChange {
            inputs: JsonObject::parse(r#"{"name":{"action":"accept"}}"#),
            ..change(McpTaskStatus::Working, None)
        };
        let task = task.apply(answered, after(2)).unwrap();
        assert_eq!((task.payload.as_ref(), task.version), (None, 3));
        let leased = McpTaskChange {
            lease_ms: Some(20_000),
            ..McpTaskChange::default()
        };
        let task = task.apply(leased, after(5)).unwrap();
        assert_eq!((task.version, task.updated_at), (3, after(2)));
        assert_eq!(task.lease_until, after(20_005));
    }

    #[test]
    fn bounds_are_kept() {
        let with = |text: String| McpTaskChange {
            status: Some(McpTaskStatus::Completed),
            payload: JsonObject::parse(&format!(r#"{{"a":"{text}"}}"#)),
            ..McpTaskChange::default()
        };
        let room = PAYLOAD_BYTES_MAX - r#"{"a":""}"#.len();
        assert!(begun().apply(with("x".repeat(room)), after(1)).is_ok());
        assert!(begun().apply(with("x".repeat(room + 1)), after(1)).is_err());
        for message in ["x".repeat(MESSAGE_CHARS_MAX + 1), "\0".into()] {
            let change = McpTaskChange {
                message: Some(message),
                ..McpTaskChange::default()
            };
            assert!(begun().apply(change, after(1)).is_err());
        }
    }
}
