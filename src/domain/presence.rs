//! Presence: what an agent that is here says of itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Timestamp, Violation};

/// Bytes of what an agent says beside its state: a line in a list of people.
pub const STATUS_TEXT_BYTES_MAX: usize = 256;

/// What an agent is up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Availability {
    /// Here, unless it says otherwise.
    #[default]
    Online,
    /// At work; may answer late.
    Busy,
    /// Here, but not at work.
    Away,
    /// Waits for work.
    Idle,
}

/// The status of an agent that is here. It is kept with its presence and ends with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// What it is up to.
    pub availability: Availability,
    /// What it says beside that.
    pub text: Option<Box<str>>,
    /// When it said so; of two the later one is true.
    pub since: Timestamp,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            availability: Availability::Online,
            text: None,
            since: Timestamp::EPOCH,
        }
    }
}

impl Status {
    /// Checks what the agent chose.
    pub fn check(&self) -> Result<(), Violation> {
        let bytes = self.text.as_deref().unwrap_or("-").len();
        if (1..=STATUS_TEXT_BYTES_MAX).contains(&bytes) {
            return Ok(());
        }
        let problem = format!("must have 1 to {STATUS_TEXT_BYTES_MAX} bytes, has {bytes}");
        Err(Violation::new("text", problem))
    }
}
