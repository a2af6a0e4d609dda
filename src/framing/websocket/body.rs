//! The message that could not be borrowed from one input: reassembled, inflated, bounded.

use super::deflate::{Inflater, LentInflater};
use super::utf8::Utf8;
use super::{Pool, Violation};

/// The bytes of a message so far, text kept valid while it grows.
#[derive(Debug)]
pub(super) enum Body {
    /// Opcode 1.
    Text(Utf8),
    /// Opcode 2.
    Binary(Vec<u8>),
}

impl Body {
    fn len(&self) -> usize {
        match self {
            Self::Text(utf8) => utf8.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        match self {
            Self::Text(utf8) => utf8.push(bytes),
            Self::Binary(all) => {
                all.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// Appends what fits, so that a fault before the bound is reported before the bound is.
    pub(super) fn push_bounded(&mut self, bytes: &[u8], bytes_max: usize) -> Result<(), Violation> {
        let room = bytes_max - self.len();
        self.push(&bytes[..bytes.len().min(room)])?;
        if bytes.len() > room {
            Err(Violation::MessageTooBig { bytes_max })
        } else {
            Ok(())
        }
    }

    /// How many more bytes the bound allows.
    pub(super) fn room(&self, bytes_max: usize) -> usize {
        bytes_max - self.len()
    }
}

/// Where the bytes of a compressed message are while it is incomplete.
#[derive(Debug)]
enum Source {
    /// Nothing arrived yet.
    Untouched,
    /// Inflated as they arrive.
    Inflating(LentInflater),
    /// Every inflater of the pool is lent; inflated at the end by the pool's own.
    Gathered(Vec<u8>),
}

/// A message in the making.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) body: Body,
    compressed: Option<Source>,
    /// Payload bytes announced by its frames so far; compressed ones, if it is compressed.
    announced_bytes: u64,
}

impl Message {
    pub(super) fn new(text: bool, compressed: bool, pool: &mut Pool) -> Self {
        let buffer = pool.take_buffer();
        let body = if text {
            Body::Text(Utf8::new(buffer))
        } else {
            Body::Binary(buffer)
        };
        Self {
            body,
            compressed: compressed.then_some(Source::Untouched),
            announced_bytes: 0,
        }
    }

    /// Counts the announced payload of one more frame, before any of it is kept.
    pub(super) fn announce(
        &mut self,
        payload_bytes: u64,
        bytes_max: usize,
    ) -> Result<(), Violation> {
        self.announced_bytes = self.announced_bytes.saturating_add(payload_bytes);
        check_announced(self.announced_bytes, self.compressed.is_some(), bytes_max)
    }

    /// Takes the next unmasked bytes; `last` says that the message ends with them.
    pub(super) fn push(
        &mut self,
        piece: &[u8],
        last: bool,
        bytes_max: usize,
        pool: &mut Pool,
    ) -> Result<(), Violation> {
        match &mut self.compressed {
            None => self.body.push(piece)?,
            Some(source) => source.push(piece, last, &mut self.body, bytes_max, pool)?,
        }
        match &self.body {
            Body::Text(utf8) if last && !utf8.is_complete() => Err(Violation::InvalidUtf8),
            _ => Ok(()),
        }
    }

    /// The memory, for another message.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        match self.body {
            Body::Text(utf8) => utf8.into_buffer(),
            Body::Binary(bytes) => bytes,
        }
    }
}

impl Source {
    fn push(
        &mut self,
        piece: &[u8],
        last: bool,
        body: &mut Body,
        bytes_max: usize,
        pool: &mut Pool,
    ) -> Result<(), Violation> {
        if piece.is_empty() && !last {
            return Ok(());
        }
        if let Self::Untouched = self {
            if last {
                let (inflater, scratch) = pool.own_inflater();
                return inflate_whole(inflater, piece, scratch, body, bytes_max);
            }
            *self = pool
                .lend_inflater()
                .map_or_else(|| Self::Gathered(Vec::new()), Self::Inflating);
        }
        match self {
            Self::Untouched => Ok(()),
            Self::Inflating(lent) => {
                let scratch = pool.scratch();
                lent.inflater().feed(piece, scratch, body, bytes_max)?;
                if last {
                    lent.inflater().finish(scratch, body, bytes_max)?;
                    if let Self::Inflating(lent) = std::mem::replace(self, Self::Untouched) {
                        pool.return_inflater(lent);
                    }
                }
                Ok(())
            }
            Self::Gathered(gathered) => {
                gathered.extend_from_slice(piece);
                if last {
                    let gathered = std::mem::take(gathered);
                    let (inflater, scratch) = pool.own_inflater();
                    inflate_whole(inflater, &gathered, scratch, body, bytes_max)?;
                }
                Ok(())
            }
        }
    }
}

fn inflate_whole(
    inflater: &mut Inflater,
    compressed: &[u8],
    scratch: &mut [u8],
    body: &mut Body,
    bytes_max: usize,
) -> Result<(), Violation> {
    inflater.reset();
    inflater.feed(compressed, scratch, body, bytes_max)?;
    inflater.finish(scratch, body, bytes_max)
}

/// Refuses announced payloads over the bound.
///
/// Incompressible bytes grow when deflated, by 5 in every stored block; 1/32 more covers the smallest blocks
/// of any window. The inflated message is held to `bytes_max` itself while it is inflated.
pub(super) fn check_announced(
    announced_bytes: u64,
    compressed: bool,
    bytes_max: usize,
) -> Result<(), Violation> {
    let slack = if compressed { bytes_max / 32 + 64 } else { 0 };
    if announced_bytes > bytes_max.saturating_add(slack) as u64 {
        return Err(Violation::MessageTooBig { bytes_max });
    }
    Ok(())
}
