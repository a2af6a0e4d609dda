//! Agents: named client identities, each in a namespace.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{JsonObject, Timestamp, Violation};

/// Bytes of an agent id or a namespace: long enough for a UUID with a prefix, short enough to
/// stay in an index page and in a log line.
pub const NAME_BYTES_MAX: usize = 128;
/// Capabilities of one agent.
pub const CAPABILITIES_MAX: usize = 64;
/// Characters of an agent's display name.
pub const TITLE_CHARS_MAX: usize = 200;
/// Characters of an agent's description.
pub const DESCRIPTION_CHARS_MAX: usize = 2_000;

/// Who acts: an agent's id and its namespace. Cheap to clone; sessions of one agent share it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AgentKey {
    /// The namespace, `default` unless the client chose one.
    pub namespace: Arc<str>,
    /// The agent's id inside the namespace.
    pub agent: Arc<str>,
}

impl AgentKey {
    /// Checks both names and joins them.
    pub fn new(namespace: &str, agent: &str) -> Result<Self, Violation> {
        check_name("namespace", namespace)?;
        check_name("agent_id", agent)?;
        Ok(Self {
            namespace: namespace.into(),
            agent: agent.into(),
        })
    }
}

/// Agent ids and namespaces are 1 to 128 bytes of `A-Z a-z 0-9 _ - . : @ /`: they appear in
/// resource URIs, headers and log lines and must not need escaping there.
pub fn check_name(field: &'static str, name: &str) -> Result<(), Violation> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(Violation::new(
            field,
            format!("must have 1 to {NAME_BYTES_MAX} bytes, has {}", name.len()),
        ));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:@/".contains(&byte);
    if !name.bytes().all(allowed) {
        return Err(Violation::new(
            field,
            "may hold only letters, digits and _ - . : @ /",
        ));
    }
    Ok(())
}

/// A registered agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Agent {
    /// Id inside the namespace.
    pub agent_id: Arc<str>,
    /// Namespace that the agent belongs to.
    pub namespace: Arc<str>,
    /// Name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the agent is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What the agent can do, for assignment by capability.
    pub capabilities: Vec<String>,
    /// Anything the agent wants to keep beside its registration.
    pub metadata: JsonObject,
    /// First registration.
    pub registered_at: Timestamp,
    /// Latest change of the registration.
    pub updated_at: Timestamp,
}

/// A registration to be written; an existing agent of the same key is updated.
#[derive(Debug, Clone)]
pub struct NewAgent {
    /// Who registers.
    pub key: AgentKey,
    /// Name for people.
    pub name: Option<String>,
    /// What the agent is for.
    pub description: Option<String>,
    /// What the agent can do; `None` keeps what an earlier registration said.
    pub capabilities: Option<Vec<String>>,
    /// Free data; `None` keeps what an earlier registration said.
    pub metadata: Option<JsonObject>,
}

impl NewAgent {
    /// Checks every rule of a registration.
    pub fn check(&self) -> Result<(), Violation> {
        check_name("namespace", &self.key.namespace)?;
        check_name("agent_id", &self.key.agent)?;
        let too_long = |text: &Option<String>, max| {
            text.as_ref().is_some_and(|text| text.chars().count() > max)
        };
        if too_long(&self.name, TITLE_CHARS_MAX) {
            return Err(Violation::new(
                "name",
                format!("exceeds {TITLE_CHARS_MAX} characters"),
            ));
        }
        if too_long(&self.description, DESCRIPTION_CHARS_MAX) {
            return Err(Violation::new(
                "description",
                format!("exceeds {DESCRIPTION_CHARS_MAX} characters"),
            ));
        }
        if let Some(capabilities) = &self.capabilities {
            check_capabilities(capabilities)?;
        }
        Ok(())
    }
}

/// At most 64 capabilities, each named like an agent.
pub fn check_capabilities(capabilities: &[String]) -> Result<(), Violation> {
    if capabilities.len() > CAPABILITIES_MAX {
        return Err(Violation::new(
            "capabilities",
            format!("at most {CAPABILITIES_MAX}, got {}", capabilities.len()),
        ));
    }
    capabilities
        .iter()
        .try_for_each(|name| check_name("capabilities", name))
}
