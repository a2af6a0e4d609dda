//! Parameters of MCP's own methods.

use serde::Deserialize;

use crate::rpc::json::{self, Member, Text};
use crate::rpc::{Condition, Fault};

/// The parameters that methods of MCP use; whatever else they hold is ignored.
#[derive(Debug, Default, Deserialize)]
pub struct Params<'a> {
    /// `_meta`.
    #[serde(borrow, default, rename = "_meta")]
    pub meta: Member<'a>,
    /// Of lists.
    #[serde(borrow, default)]
    pub cursor: Member<'a>,
    /// Of `notifications/cancelled`.
    #[serde(borrow, default, rename = "requestId")]
    pub request_id: Member<'a>,
    /// Of `logging/setLevel`.
    #[serde(borrow, default)]
    pub level: Member<'a>,
    /// Of `resources/read`, `resources/subscribe` and `resources/unsubscribe`.
    #[serde(borrow, default)]
    pub uri: Member<'a>,
    /// Of `tasks/get`, `tasks/update` and `tasks/cancel`.
    #[serde(borrow, default, rename = "taskId")]
    pub task_id: Member<'a>,
    /// Of `subscriptions/listen`.
    #[serde(borrow, default)]
    pub notifications: Member<'a>,
    /// Of a request that is made again, and of `tasks/update`: what the client was asked for.
    #[serde(borrow, default, rename = "inputResponses")]
    pub input_responses: Member<'a>,
    /// Of a request that is made again.
    #[serde(borrow, default, rename = "requestState")]
    pub request_state: Member<'a>,
    /// Of `initialize`.
    #[serde(borrow, default, rename = "protocolVersion")]
    pub version: Member<'a>,
    /// Of `initialize`.
    #[serde(borrow, default, rename = "clientInfo")]
    pub client: Member<'a>,
    /// Of `initialize`.
    #[serde(borrow, default)]
    pub capabilities: Member<'a>,
}

crate::rpc::jsonrpc::literal! {
    /// The method `tools/call`.
    pub ToolsCall = "tools/call"
}

/// The parameters of `tools/call`.
#[derive(Debug, Default, Deserialize)]
pub struct ToolCall<'a> {
    /// `_meta`.
    #[serde(borrow, default, rename = "_meta")]
    pub meta: Member<'a>,
    /// The tool.
    #[serde(borrow, default)]
    pub name: Text<'a>,
    /// Its arguments.
    #[serde(borrow, default)]
    pub arguments: Member<'a>,
    /// What the client was asked for, when it makes the call again.
    #[serde(borrow, default, rename = "inputResponses")]
    pub input_responses: Member<'a>,
    /// What the server gave it to give back.
    #[serde(borrow, default, rename = "requestState")]
    pub request_state: Member<'a>,
}

impl<'a> ToolCall<'a> {
    /// Reads the parameters of a call.
    pub fn parse(params: Option<&'a str>) -> Result<Self, Fault> {
        let invalid = |reason| Fault::new(Condition::InvalidArguments, format!("params: {reason}"));
        sonic_rs::from_str(params.unwrap_or("{}")).map_err(|error| invalid(json::reason(&error)))
    }

    /// The tool's name and the JSON text of its arguments, if it has any.
    pub fn target(&self) -> Result<(&str, Option<&str>), Fault> {
        let invalid = |message| Fault::new(Condition::InvalidArguments, message);
        let Some(name) = self.name.get() else {
            return Err(invalid("params.name must be a string"));
        };
        if self.arguments.is_present() && !self.arguments.is_object() {
            return Err(invalid("params.arguments must be an object"));
        }
        Ok((name, self.arguments.raw().filter(|raw| *raw != "null")))
    }
}

impl<'a> Params<'a> {
    /// Reads the parameters of a call.
    pub fn parse(params: Option<&'a str>) -> Result<Self, Fault> {
        match params {
            None => Ok(Self::default()),
            Some(text) => sonic_rs::from_str(text).map_err(|error| {
                Fault::new(
                    Condition::InvalidArguments,
                    format!("params: {}", json::reason(&error)),
                )
            }),
        }
    }
}
