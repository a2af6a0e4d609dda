//! Many new memories as one statement: a column of values for each column of the table.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

use super::scope_words;
use super::session::Values;
use crate::domain::{Memory, Timestamp, Vector};

/// Lists travel as one text each, since arrays of arrays cannot be ragged; no term holds a space
/// and no tag a line feed.
pub(super) const SQL: &str = "WITH given AS (
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[],
            $6::text[], $7::text[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[],
            $12::bigint[], $13::bigint[], $14::bigint[], $15::uuid[], $16::uuid[], $17::text[],
            $18::text[], $19::float8[], $20::float8[], $21::text[], $22::uuid[], $23::int[],
            $24::text[], $25::text[], $26::text[])
        WITH ORDINALITY AS given (id, namespace, agent, access, version, change, changed_by,
            created_at, updated_at, valid_from, valid_to, expires_at, deleted_at, superseded_at,
            supersedes, superseded_by, kind, tags, importance, trust, source, session, words,
            terms, metadata, content, place)
    ), stored AS (
        INSERT INTO memory (id, namespace, agent, access, version, text_version, change, changed_by,
            created_at, updated_at, valid_from, valid_to, expires_at, deleted_at, superseded_at,
            supersedes, superseded_by, kind, tags, importance, trust, source, session, words,
            content_bytes, terms, metadata, content)
        SELECT id, namespace, agent, access, version, version, change, changed_by, created_at,
            updated_at, valid_from, valid_to, expires_at, deleted_at, superseded_at, supersedes,
            superseded_by, kind, string_to_array(tags, E'\\n'), importance, trust, source, session,
            words, octet_length(content), array_to_tsvector(string_to_array(terms, ' ')), metadata,
            content
        FROM given ORDER BY place
        RETURNING seq, id, namespace, agent, access
    ), meant AS (
        INSERT INTO memory_vector (memory, model, namespace, agent, access, in_graph, embedding)
        SELECT seq, $27::int, namespace, agent, access,
            to_regclass('tmws.memory_vector_graph_' || $27::int) IS NULL, embedding
        FROM unnest($28::uuid[], $29::public.vector[]) AS v (id, embedding) JOIN stored USING (id)
    )
    SELECT id, seq FROM stored";

/// A memory to be stored as it is.
#[derive(Debug, Clone)]
pub(super) struct New {
    pub(super) memory: Memory,
    pub(super) change: String,
    pub(super) changed_by: String,
    pub(super) deleted: bool,
    /// The meaning of its text, in the model of the statement.
    pub(super) vector: Option<Vector>,
}

impl New {
    /// About how many bytes it sends.
    pub(super) fn bytes(&self) -> usize {
        let vector = self
            .vector
            .as_ref()
            .map_or(0, |vector| vector.len() * size_of::<f32>());
        self.memory.content.len() + self.memory.metadata.as_str().len() + vector + 512
    }

    /// Does PostgreSQL take all of its texts? Names and labels are checked further out.
    pub(super) fn is_storable(&self) -> bool {
        let memory = &self.memory;
        let labels = memory.kind.iter().chain(&memory.source).chain(&memory.tags);
        !memory.content.contains('\0') && labels.into_iter().all(|label| !label.contains('\0'))
    }
}

/// The values of [`SQL`] for `new`, whose vectors are all of `model`.
pub(super) fn values(new: &[&New], model: Option<i32>) -> Values {
    fn all<T: ToSql + Sync + 'static>(
        new: &[&New],
        value: impl Fn(&New) -> T,
    ) -> Box<dyn ToSql + Sync> {
        Box::new(new.iter().map(|new| value(new)).collect::<Vec<_>>())
    }
    let micros = |time: Option<Timestamp>| time.map(Timestamp::as_micros);
    let terms: Vec<_> = new
        .iter()
        .map(|new| {
            let memory = &new.memory;
            scope_words::of_memory(memory)
        })
        .collect();
    let with_vector = || {
        new.iter()
            .filter_map(|new| Some((new.memory.id, new.vector.clone()?)))
    };
    vec![
        all(new, |new| new.memory.id),
        all(new, |new| new.memory.namespace.to_string()),
        all(new, |new| new.memory.agent_id.to_string()),
        all(new, |new| new.memory.access_level.as_str()),
        all(new, |new| new.memory.version as i64),
        all(new, |new| new.change.clone()),
        all(new, |new| new.changed_by.clone()),
        all(new, |new| new.memory.created_at.as_micros()),
        all(new, |new| new.memory.updated_at.as_micros()),
        all(new, |new| micros(new.memory.valid_from)),
        all(new, |new| micros(new.memory.valid_to)),
        all(new, |new| micros(new.memory.expires_at)),
        all(new, |new| {
            new.deleted.then_some(new.memory.updated_at.as_micros())
        }),
        all(new, |new| {
            new.memory
                .superseded_by
                .and(Some(new.memory.updated_at.as_micros()))
        }),
        all(new, |new| new.memory.supersedes),
        all(new, |new| new.memory.superseded_by),
        all(new, |new| new.memory.kind.clone()),
        all(new, |new| new.memory.tags.join("\n")),
        all(new, |new| new.memory.importance),
        all(new, |new| new.memory.trust),
        all(new, |new| new.memory.source.clone()),
        all(new, |new| new.memory.session_id),
        Box::new(
            terms
                .iter()
                .map(|terms| terms.words as i32)
                .collect::<Vec<_>>(),
        ),
        Box::new(
            terms
                .iter()
                .map(|terms| terms.terms.join(" "))
                .collect::<Vec<_>>(),
        ),
        all(new, |new| new.memory.metadata.as_str().to_owned()),
        all(new, |new| new.memory.content.clone()),
        Box::new(model.unwrap_or_default()),
        Box::new(with_vector().map(|(id, _)| id).collect::<Vec<Uuid>>()),
        Box::new(
            with_vector()
                .map(|(_, vector)| Embedding(vector))
                .collect::<Vec<_>>(),
        ),
    ]
}

/// A vector as pgvector's type takes it in: two counts and the numbers, big-endian.
#[derive(Debug)]
pub(super) struct Embedding(pub(super) Vector);

impl ToSql for Embedding {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.reserve(4 + self.0.len() * size_of::<f32>());
        out.put_u16(u16::try_from(self.0.len())?);
        out.put_u16(0);
        for value in self.0.iter() {
            out.put_f32(*value);
        }
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        kind.name() == "vector"
    }

    to_sql_checked!();
}
