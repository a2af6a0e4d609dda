//! Statements in the making: text with numbered places, and the values for them.
//!
//! Invariant: a value reaches PostgreSQL only as a bound parameter, with its type said by this
//! program, so that nothing needs to be asked of the server before a statement is sent.

use std::borrow::Cow;

use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::tsquery::TsQuery;

/// A value with the type that PostgreSQL is told.
type Parameter = (Box<dyn ToSql + Sync>, Type);

/// A value that a statement can hold.
pub(super) trait Value: ToSql + Sync + 'static {
    /// Its type in PostgreSQL.
    const TYPE: Type;
}

macro_rules! values {
    ($($rust:ty => $postgres:ident),* $(,)?) => {
        $(impl Value for $rust { const TYPE: Type = Type::$postgres; })*
    };
}

values! {
    bool => BOOL,
    TsQuery => TSQUERY,
    i32 => INT4,
    i64 => INT8,
    f32 => FLOAT4,
    f64 => FLOAT8,
    Uuid => UUID,
    String => TEXT,
    &'static str => TEXT,
    Vec<f32> => FLOAT4_ARRAY,
    Vec<i64> => INT8_ARRAY,
    Vec<f64> => FLOAT8_ARRAY,
    Vec<Uuid> => UUID_ARRAY,
    Vec<String> => TEXT_ARRAY,
    Vec<i32> => INT4_ARRAY,
    Vec<Option<i64>> => INT8_ARRAY,
    Vec<Option<Uuid>> => UUID_ARRAY,
    Vec<Option<String>> => TEXT_ARRAY,
}

impl<T: Value> Value for Option<T> {
    const TYPE: Type = T::TYPE;
}

/// One statement with its values.
#[derive(Debug, Default)]
pub(super) struct Query {
    sql: Cow<'static, str>,
    parameters: Vec<Parameter>,
    kept: bool,
}

impl Query {
    /// The statement `sql`; its values follow by [`with`](Self::with) in the order of their places.
    pub(super) fn new(sql: impl Into<Cow<'static, str>>) -> Self {
        Self {
            sql: sql.into(),
            parameters: Vec::new(),
            kept: false,
        }
    }

    /// Adds the value of the next place.
    pub(super) fn with(mut self, value: impl Value) -> Self {
        self.bind(value);
        self
    }

    /// Adds a value and returns its place, to be written into the statement.
    pub(super) fn bind<T: Value>(&mut self, value: T) -> String {
        self.parameters.push((Box::new(value), T::TYPE));
        format!("${}", self.parameters.len())
    }

    /// Writes the statement whose values are bound already.
    pub(super) fn say(mut self, sql: String) -> Self {
        self.sql = sql.into();
        self
    }

    /// Lets the connection parse and plan it once for all values. The text must be one of few.
    pub(super) fn kept(mut self) -> Self {
        self.kept = true;
        self
    }

    /// Is it to be kept by the connection?
    pub(super) fn is_kept(&self) -> bool {
        self.kept
    }

    /// The text.
    pub(super) fn sql(&self) -> &str {
        &self.sql
    }

    /// The values.
    pub(super) fn values(&self) -> impl Iterator<Item = &(dyn ToSql + Sync)> {
        self.parameters.iter().map(|(value, _)| &**value as _)
    }

    /// The values with their types.
    pub(super) fn parameters(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.parameters
            .iter()
            .map(|(value, kind)| (&**value, kind.clone()))
            .collect()
    }
}
