//! From what went wrong in the store or the domain to the condition that every wire reports.

use crate::domain::Violation;
use crate::rpc::{Condition, Fault};
use crate::store::StoreError;

impl From<Violation> for Fault {
    fn from(violation: Violation) -> Self {
        let message = violation.to_string();
        Self::new(Condition::InvalidArguments, message).with("field", violation.field)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match error {
            StoreError::NotFound { .. } => Self::new(Condition::NotFound, message),
            StoreError::Forbidden(_) => Self::new(Condition::Unauthorized, message),
            StoreError::Conflict {
                current_version, ..
            } => {
                let fault = Self::new(Condition::Conflict, message);
                match current_version {
                    Some(version) => fault.with("current_version", &version),
                    None => fault,
                }
            }
            StoreError::Invalid(violation) => violation.into(),
            StoreError::Unavailable(reason) => {
                // The reason names files and system errors: for the log, not for the caller.
                tracing::warn!(reason, "the store is not available");
                Self::new(
                    Condition::Unavailable,
                    "the store is not available at the moment",
                )
            }
            StoreError::Mismatch => Self::new(Condition::IdempotencyMismatch, message),
            StoreError::Busy => Self::new(Condition::Unavailable, message),
        }
    }
}
