//! For whom a transaction runs, as row security is told (`migrations/postgres/0002`).

use std::sync::Arc;

use crate::store::Viewer;

/// Puts a scope into force until the transaction ends.
pub(super) const ENTER: &str =
    "SELECT set_config('tmws.namespace', $1, true), set_config('tmws.standing', $2, true)";

/// What the policies let a transaction do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Agent,
    Admin,
    Operator,
}

/// The namespace and standing of a transaction.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    namespace: Arc<str>,
    standing: Standing,
}

impl Scope {
    /// What `viewer` may touch.
    pub(super) fn of(viewer: &Viewer) -> Self {
        Self {
            namespace: viewer.key.namespace.clone(),
            standing: if viewer.admin {
                Standing::Admin
            } else {
                Standing::Agent
            },
        }
    }

    /// One namespace.
    pub(super) fn namespace(namespace: impl Into<Arc<str>>) -> Self {
        Self {
            namespace: namespace.into(),
            standing: Standing::Agent,
        }
    }

    /// The server's own work over all namespaces.
    pub(super) fn operator() -> Self {
        Self {
            namespace: "".into(),
            standing: Standing::Operator,
        }
    }

    /// The values of [`ENTER`].
    pub(super) fn values(&self) -> [&str; 2] {
        let standing = match self.standing {
            Standing::Agent => "agent",
            Standing::Admin => "admin",
            Standing::Operator => "operator",
        };
        [&self.namespace, standing]
    }
}
