//! Queries for words, in the binary form of PostgreSQL's `tsquery`.
//!
//! Invariant: no word passes through a parser, so none needs quotes and none is an operator.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{IsNull, ToSql, Type, accepts, to_sql_checked};

/// A word that nothing holds: terms have no control characters, and words of a scope (`scope_words`)
/// have more.
const NOBODYS: &str = "\u{1}";

/// As in PostgreSQL's `ts_type.h`.
const VALUE: u8 = 1;
const OPERATOR: u8 = 2;
const NOT: u8 = 1;
const AND: u8 = 2;
const OR: u8 = 3;

/// A query for words: its nodes, each operator before its operands.
#[derive(Debug, Clone)]
pub(super) struct TsQuery {
    nodes: u32,
    bytes: Vec<u8>,
}

impl TsQuery {
    /// Those that hold `word`.
    pub(super) fn word(word: &str) -> Self {
        let mut bytes = vec![VALUE, 0, 0];
        bytes.extend(word.as_bytes());
        bytes.push(0);
        Self { nodes: 1, bytes }
    }

    /// None at all.
    pub(super) fn nothing() -> Self {
        Self::word(NOBODYS)
    }

    /// Those that any of `queries` finds.
    pub(super) fn any(queries: impl IntoIterator<Item = Self>) -> Self {
        let joined = queries.into_iter().reduce(|all, one| all.joined(OR, one));
        joined.unwrap_or_else(Self::nothing)
    }

    /// Those that both find.
    pub(super) fn and(self, other: Self) -> Self {
        self.joined(AND, other)
    }

    /// Those that `other` does not find.
    pub(super) fn without(self, other: Self) -> Self {
        let mut bytes = vec![OPERATOR, NOT];
        bytes.extend(other.bytes);
        let nodes = other.nodes + 1;
        self.joined(AND, Self { nodes, bytes })
    }

    fn joined(self, operator: u8, other: Self) -> Self {
        let mut bytes = vec![OPERATOR, operator];
        bytes.extend(self.bytes);
        bytes.extend(other.bytes);
        Self {
            nodes: self.nodes + other.nodes + 1,
            bytes,
        }
    }
}

impl ToSql for TsQuery {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_u32(self.nodes);
        out.put_slice(&self.bytes);
        Ok(IsNull::No)
    }

    accepts!(TSQUERY);
    to_sql_checked!();
}
