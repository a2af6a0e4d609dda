//! What the connections of one shard share while a message is in progress, so that idle ones hold nothing.
//!
//! Without context takeover (RFC 7692, 7.1.1) a compressor means nothing between two messages; a shard needs as
//! many as are at work, not one per connection. The pool is owned by the shard and lent by `&mut`.

use super::deflate::{Deflater, Endings, Inflater, LentInflater, Params};

/// What a message inflates into before it is validated and appended: one window of 32 KiB.
const SCRATCH_BYTES: usize = 32 * 1024;

/// Bounds of a [`Pool`].
#[derive(Debug, Clone, Copy)]
pub struct PoolLimits {
    /// Inflaters lent at the same time (some 40 KiB each) to messages that arrive in several chunks. Beyond
    /// it compressed bytes wait and are inflated when their message ends.
    pub inflaters_max: usize,
    /// Idle deflaters kept; one is enough unless messages are compressed on other threads.
    pub deflaters_max: usize,
    /// Idle reassembly buffers kept.
    pub buffers_max: usize,
    /// A reassembly buffer that grew larger is freed instead of kept.
    pub buffer_bytes_max: usize,
}

/// Inflaters, deflaters and reassembly buffers of one shard, made on first use.
#[derive(Debug)]
pub struct Pool {
    limits: PoolLimits,
    /// For messages that lie whole in memory; never lent.
    own: Option<Inflater>,
    idle: Vec<Inflater>,
    /// Every lent inflater holds a clone: a connection that dies with one cannot make the count wrong.
    lent: std::sync::Arc<()>,
    deflaters: Vec<Deflater>,
    buffers: Vec<Vec<u8>>,
    scratch: Vec<u8>,
    /// Where an answer is compressed before it replaces its plain form.
    pub(super) packed: Vec<u8>,
    /// Ends of messages that may come again.
    pub(super) endings: Endings,
}

impl Pool {
    /// An empty pool; it allocates nothing yet.
    pub fn new(limits: PoolLimits) -> Self {
        Self {
            limits,
            own: None,
            idle: Vec::new(),
            lent: std::sync::Arc::new(()),
            deflaters: Vec::new(),
            buffers: Vec::new(),
            scratch: Vec::new(),
            packed: Vec::new(),
            endings: Endings::default(),
        }
    }

    /// Inflaters that incomplete messages hold now.
    pub fn inflaters_lent(&self) -> usize {
        std::sync::Arc::strong_count(&self.lent) - 1
    }

    /// A deflater of this level and window, to compress a big message on another thread. Hand it back with
    /// [`Pool::return_deflater`].
    pub fn take_deflater(&mut self, params: Params) -> Deflater {
        match self
            .deflaters
            .iter()
            .position(|deflater| deflater.fits(params))
        {
            Some(place) => self.deflaters.swap_remove(place),
            None => Deflater::new(params),
        }
    }

    /// Keeps a deflater for the next message.
    pub fn return_deflater(&mut self, deflater: Deflater) {
        if self.deflaters.len() < self.limits.deflaters_max {
            self.deflaters.push(deflater);
        }
    }

    /// The inflater for messages that lie whole in memory, and what to inflate into.
    pub(super) fn own_inflater(&mut self) -> (&mut Inflater, &mut [u8]) {
        self.scratch.resize(SCRATCH_BYTES, 0);
        (
            self.own.get_or_insert_with(Inflater::new),
            &mut self.scratch,
        )
    }

    /// An inflater for a message that arrives in pieces, unless too many are lent.
    pub(super) fn lend_inflater(&mut self) -> Option<LentInflater> {
        if self.inflaters_lent() >= self.limits.inflaters_max {
            return None;
        }
        let mut inflater = self.idle.pop().unwrap_or_else(Inflater::new);
        inflater.reset();
        Some(LentInflater::new(inflater, self.lent.clone()))
    }

    pub(super) fn return_inflater(&mut self, lent: LentInflater) {
        if self.idle.len() < self.limits.inflaters_max {
            self.idle.push(lent.into_inflater());
        }
    }

    pub(super) fn scratch(&mut self) -> &mut [u8] {
        self.scratch.resize(SCRATCH_BYTES, 0);
        &mut self.scratch
    }

    /// Keeps the buffer of compressed answers unless a big one made it grow.
    pub(super) fn keep_packed(&mut self, packed: Vec<u8>) {
        if packed.capacity() <= self.limits.buffer_bytes_max {
            self.packed = packed;
        }
    }

    pub(super) fn take_buffer(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_default()
    }

    pub(super) fn return_buffer(&mut self, mut buffer: Vec<u8>) {
        let kept = 1..=self.limits.buffer_bytes_max;
        if kept.contains(&buffer.capacity()) && self.buffers.len() < self.limits.buffers_max {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }
}
