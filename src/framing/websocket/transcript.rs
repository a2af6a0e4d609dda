//! A whole stream decoded under a given chunking, written down: what property tests and fuzz targets compare.

use super::close::Close;
use super::{Decoder, Event, Pool, PoolLimits, Violation};

/// An [`Event`] that owns its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are those of Event")]
pub enum Said {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl From<Event<'_>> for Said {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Text(text.to_owned()),
            Event::Binary(bytes) => Self::Binary(bytes.to_vec()),
            Event::Ping(bytes) => Self::Ping(bytes.to_vec()),
            Event::Pong(bytes) => Self::Pong(bytes.to_vec()),
            Event::Close(close) => {
                Self::Close(close.map(|Close { code, reason }| (code, reason.to_owned())))
            }
        }
    }
}

/// Everything that one stream came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcript {
    /// The events in their order.
    pub said: Vec<Said>,
    /// What ended them, if a rule was broken.
    pub violation: Option<Violation>,
}

/// A pool that holds few of everything, so that its bounds are met.
pub fn small_pool(inflaters_max: usize) -> Pool {
    Pool::new(PoolLimits {
        inflaters_max,
        deflaters_max: 1,
        buffers_max: 2,
        buffer_bytes_max: 4096,
    })
}

/// Decodes `stream` in chunks of `sizes` bytes, repeated; a size of 0 counts as 1, no sizes mean one shot.
///
/// # Panics
/// If the decoder keeps memory after the end, or takes other than all bytes.
pub fn transcribe(
    stream: &[u8],
    sizes: &[u8],
    message_bytes_max: usize,
    deflate: bool,
    pool: &mut Pool,
) -> Transcript {
    let mut decoder = Decoder::new(message_bytes_max, deflate);
    let mut said = Vec::new();
    let mut violation = None;
    let mut rest = stream;
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let size = sizes
            .next()
            .map_or(rest.len(), |size| usize::from(*size).clamp(1, rest.len()));
        let (chunk, behind) = rest.split_at(size);
        rest = behind;
        let mut chunk = chunk.to_vec();
        let mut consumed = 0;
        loop {
            match decoder.decode(&mut chunk, &mut consumed, pool) {
                Ok(Some(event)) => said.push(Said::from(event)),
                Ok(None) => break,
                Err(broken) => violation = Some(broken),
            }
        }
        assert_eq!(consumed, chunk.len(), "bytes were left over");
    }
    assert_eq!(
        decoder.is_closed(),
        violation.is_some() || matches!(said.last(), Some(Said::Close(_)))
    );
    Transcript { said, violation }
}
