//! What a client says it can do.

use serde::Deserialize;

use super::TASKS_EXTENSION;
use crate::rpc::json::Member;
use crate::rpc::{Condition, Fault};

/// The capabilities that the server uses, of `initialize` or of a modern request's `_meta`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClientCapabilities {
    /// Answers `sampling/createMessage`.
    pub sampling: bool,
    /// Answers `elicitation/create` with a form.
    pub elicitation: bool,
    /// Answers `roots/list`.
    pub roots: bool,
    /// Follows calls that become tasks (SEP-2663).
    pub tasks: bool,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default)]
    sampling: Member<'a>,
    #[serde(borrow, default)]
    elicitation: Member<'a>,
    #[serde(borrow, default)]
    roots: Member<'a>,
    #[serde(borrow, default)]
    extensions: Member<'a>,
}

#[derive(Deserialize)]
struct Elicitation<'a> {
    #[serde(borrow, default)]
    form: Member<'a>,
    #[serde(borrow, default)]
    url: Member<'a>,
}

#[derive(Deserialize)]
struct Extensions<'a> {
    #[serde(borrow, default, rename = "io.modelcontextprotocol/tasks")]
    tasks: Member<'a>,
}

impl ClientCapabilities {
    /// Reads a ClientCapabilities object; what is not understood is not declared.
    pub fn parse(raw: &str) -> Self {
        let Ok(wire) = sonic_rs::from_str::<Wire<'_>>(raw) else {
            return Self::default();
        };
        let elicitation = wire.elicitation.raw().and_then(|raw| {
            // An empty object means forms only: that is what existed before URLs (2025-11-25).
            let modes: Elicitation<'_> = sonic_rs::from_str(raw).ok()?;
            Some(modes.form.is_object() || !modes.url.is_object())
        });
        let extensions = wire
            .extensions
            .raw()
            .and_then(|raw| sonic_rs::from_str::<Extensions<'_>>(raw).ok());
        Self {
            sampling: wire.sampling.is_object(),
            elicitation: wire.elicitation.is_object() && elicitation.unwrap_or(false),
            roots: wire.roots.is_object(),
            tasks: extensions.is_some_and(|extensions| extensions.tasks.is_object()),
        }
    }

    /// The fault of a request that needs what its client did not declare, with the object that
    /// would have declared it (MCP 2026-07-28, `-32021`).
    pub fn missing(required: &str) -> Fault {
        let mut fault = Fault::new(
            Condition::MissingCapability,
            "the client did not declare a capability that this needs",
        );
        fault.members = format!(",\"requiredCapabilities\":{required}");
        fault
    }

    /// The fault of a request about tasks by a client that does not follow them.
    pub fn missing_tasks() -> Fault {
        Self::missing(&format!(
            "{{\"extensions\":{{\"{TASKS_EXTENSION}\":{{}}}}}}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::ClientCapabilities;

    #[test]
    fn an_empty_elicitation_means_forms() {
        let of = |raw| ClientCapabilities::parse(raw);
        assert_eq!(of("{}"), ClientCapabilities::default());
        assert!(of(r#"{"elicitation":{}}"#).elicitation);
        assert!(of(r#"{"elicitation":{"form":{},"url":{}}}"#).elicitation);
        assert!(!of(r#"{"elicitation":{"url":{}}}"#).elicitation);
        assert!(!of(r#"{"sampling":null}"#).sampling);
        assert!(of(r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#).tasks);
        assert_eq!(of(r#"{"sampling":[}"#), ClientCapabilities::default());
    }
}
