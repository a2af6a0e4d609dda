//! Requests that need no file.

use clap::ValueEnum;
use serde::Deserialize;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Call {
    /// tools/call of health_check
    Health,
    /// ping
    Ping,
    /// tools/list
    List,
    /// server/discover of the modern era
    Discover,
}

impl Call {
    /// The request, with `$ID` in the place of its id.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Health => {
                r#"{"jsonrpc":"2.0","id":$ID,"method":"tools/call","params":{"name":"health_check","arguments":{}}}"#
            }
            Self::Ping => r#"{"jsonrpc":"2.0","id":$ID,"method":"ping"}"#,
            Self::List => r#"{"jsonrpc":"2.0","id":$ID,"method":"tools/list"}"#,
            Self::Discover => {
                r#"{"jsonrpc":"2.0","id":$ID,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#
            }
        }
    }
}
