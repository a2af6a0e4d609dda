//! What can go wrong between this program and PostgreSQL, and what a caller is told of it.
//!
//! Invariants: whatever the database refuses becomes a [`StoreError`] in plain words; a message
//! names no value of a row; only what surely changed nothing is tried again.

use tokio_postgres::error::SqlState;

use crate::domain::Violation;
use crate::store::StoreError;

/// Why a piece of work did not happen.
#[derive(Debug)]
pub(super) enum Failure {
    /// This program refuses it.
    Refused(StoreError),
    /// PostgreSQL refuses it, or the connection broke.
    Database(tokio_postgres::Error),
    /// No answer came in time; the connection was given up.
    Silent,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl From<Violation> for Failure {
    fn from(rule: Violation) -> Self {
        Self::Refused(rule.into())
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error)
    }
}

impl Failure {
    /// Did it collide with another transaction, so that a second try may succeed at once?
    pub(super) fn is_collision(&self) -> bool {
        let collisions = [
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
        ];
        matches!(self, Self::Database(error)
            if error.code().is_some_and(|code| collisions.contains(code)))
    }

    /// Did PostgreSQL refuse a statement, and so undo its transaction? Anything else leaves the
    /// outcome open.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::Refused(_) => true,
            Self::Database(error) => error.as_db_error().is_some() && !ends_session(error),
            Self::Silent => false,
        }
    }
}

/// Does the error say that the session is over? Then a commit before it may or may not have
/// happened.
fn ends_session(error: &tokio_postgres::Error) -> bool {
    let ends = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
    ];
    error.is_closed() || error.code().is_some_and(|code| ends.contains(code))
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(error) => error,
            Failure::Silent => Self::Unavailable("PostgreSQL does not answer".into()),
            Failure::Database(error)
                if error.code() == Some(&SqlState::CHARACTER_NOT_IN_REPERTOIRE) =>
            {
                no_nul("text").into()
            }
            Failure::Database(error) => Self::Unavailable(describe(&error)),
        }
    }
}

/// Says what a text of `field` must not hold.
pub(super) fn no_nul(field: &'static str) -> Violation {
    Violation::new(
        field,
        "must not hold the character U+0000, which PostgreSQL cannot keep",
    )
}

/// What happened, in words for an operator; no values of rows.
pub(super) fn describe(error: &tokio_postgres::Error) -> String {
    let Some(refusal) = error.as_db_error() else {
        return match std::error::Error::source(error) {
            Some(reason) => format!("the connection to PostgreSQL failed: {reason}"),
            None => "the connection to PostgreSQL broke".into(),
        };
    };
    let code = refusal.code();
    let known = [
        (SqlState::QUERY_CANCELED, "the query took too long"),
        (
            SqlState::TOO_MANY_CONNECTIONS,
            "PostgreSQL has no connection left; raise its max_connections or run fewer shards",
        ),
        (SqlState::ADMIN_SHUTDOWN, "PostgreSQL is being shut down"),
        (
            SqlState::CRASH_SHUTDOWN,
            "PostgreSQL is restarting after a crash",
        ),
        (
            SqlState::CANNOT_CONNECT_NOW,
            "PostgreSQL is starting or stopping",
        ),
        (SqlState::DISK_FULL, "the disk of PostgreSQL is full"),
        (
            SqlState::READ_ONLY_SQL_TRANSACTION,
            "PostgreSQL is read-only, a standby perhaps",
        ),
        (
            SqlState::T_R_SERIALIZATION_FAILURE,
            "other writes kept colliding with this one",
        ),
        (
            SqlState::T_R_DEADLOCK_DETECTED,
            "other writes kept colliding with this one",
        ),
    ];
    match known.iter().find(|(known, _)| known == code) {
        Some((_, words)) => (*words).into(),
        None => format!("PostgreSQL says: {} ({})", refusal.message(), code.code()),
    }
}
