//! The rows of a segment, in columns.

use super::query::OFFSET;
use super::{LANES, Query, kernels};

/// A segment with at least this many rows keeps bits and looks at them first: below, comparing all
/// bytes is as fast.
pub const BITS_ROWS_MIN: usize = 8_192;
/// Rows that the first pass picks for each one asked for, and at least.
const PICKED_PER_WANTED: usize = 10;
const PICKED_MIN: usize = 2_000;
/// Rows compared in one go: their results stay in the first-level cache.
const BLOCK_ROWS: usize = 256;
/// How far ahead rows are brought that lie apart: in the time of so many comparisons one is there.
const ROWS_AHEAD: usize = 8;

/// Quantised vectors by slot. A slot may be without a vector.
#[derive(Debug, Default)]
pub struct Rows {
    /// Bytes of one row; 0 until the first vector tells the dimension.
    stride: usize,
    codes: Vec<i8>,
    /// 0 in a slot without a vector.
    scales: Vec<f32>,
    /// Sum of a row's codes: what the offset of the question's codes added is taken off by it.
    sums: Vec<i32>,
    /// Signs, `stride / 64` words for each row; empty in a small segment.
    bits: Vec<u64>,
}

impl Rows {
    /// Number of slots.
    pub fn len(&self) -> usize {
        self.scales.len()
    }

    /// Has it no slot?
    pub fn is_empty(&self) -> bool {
        self.scales.is_empty()
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.codes.capacity()
            + (self.scales.capacity() + self.sums.capacity()) * 4
            + self.bits.capacity() * 8
    }

    /// Adds a slot: scale and codes, or nothing.
    pub fn push(&mut self, vector: Option<(f32, &[i8])>) {
        let slot = self.scales.len();
        self.scales.push(0.0);
        self.sums.push(0);
        if self.codes.capacity() < (slot + 1) * self.stride {
            // By an eighth instead of doubling: these are most of the bytes of a store in memory.
            self.codes.reserve_exact((slot / 8 + 64) * self.stride);
        }
        self.codes.resize((slot + 1) * self.stride, 0);
        if !self.bits.is_empty() {
            self.bits.resize((slot + 1) * self.stride / 64, 0);
        }
        if let Some((scale, codes)) = vector {
            self.set(slot, scale, codes);
        }
    }

    /// Writes the vector of a slot. A vector of another dimension than the first is left out.
    pub fn set(&mut self, slot: usize, scale: f32, codes: &[i8]) {
        let stride = codes.len().next_multiple_of(LANES);
        let first = self.stride == 0;
        if first {
            self.stride = stride;
            self.codes.resize(self.len() * stride, 0);
        }
        if stride != self.stride || slot >= self.len() {
            return;
        }
        self.codes[slot * stride..][..codes.len()].copy_from_slice(codes);
        self.scales[slot] = scale;
        self.sums[slot] = codes.iter().map(|code| i32::from(*code)).sum();
        if !self.bits.is_empty() {
            self.write_bits(slot);
        } else if self.len() >= BITS_ROWS_MIN {
            self.bits = vec![0; self.len() * self.stride / 64];
            // All others are without a vector if this is the first.
            let slots = if first { slot..slot + 1 } else { 0..self.len() };
            slots.for_each(|slot| self.write_bits(slot));
        }
    }

    /// The vector of a slot.
    pub fn get(&self, slot: usize) -> Option<(f32, &[i8])> {
        let scale = *self.scales.get(slot)?;
        (scale > 0.0).then(|| (scale, &self.codes[slot * self.stride..][..self.stride]))
    }

    /// The cosine to the row in `slot`, if it has a vector.
    pub fn similarity(&self, query: &Query, slot: usize) -> Option<f32> {
        self.get(slot)?;
        if !self.fits(query) {
            return None;
        }
        let mut dot = [0];
        kernels::dot(
            &query.codes,
            &self.codes[slot * self.stride..][..self.stride],
            &mut dot,
        );
        Some(self.cosine(query, slot, dot[0]))
    }

    /// Calls `visit` with slots and their cosines to `query`. All rows that have a vector are
    /// visited, or of many rows those most promising for finding `wanted` that `admit`, which is
    /// then asked for a part of them.
    pub fn scan(
        &self,
        query: &Query,
        wanted: usize,
        mut admit: impl FnMut(u32) -> bool,
        mut visit: impl FnMut(u32, f32),
    ) {
        if !self.fits(query) {
            return;
        }
        if !self.bits.is_empty() {
            let picked = self.pick(query, wanted, &mut admit);
            if picked.len() >= wanted {
                for (place, slot) in picked.iter().enumerate() {
                    if let Some(ahead) = picked.get(place + ROWS_AHEAD) {
                        self.prefetch(*ahead as usize);
                    }
                    if let Some(similarity) = self.similarity(query, *slot as usize) {
                        visit(*slot, similarity);
                    }
                }
                return;
            }
        }
        let mut dots = [0; BLOCK_ROWS];
        for (block, rows) in self.codes.chunks(BLOCK_ROWS * self.stride).enumerate() {
            let dots = &mut dots[..rows.len() / self.stride];
            kernels::dot(&query.codes, rows, dots);
            for (place, dot) in dots.iter().enumerate() {
                let slot = block * BLOCK_ROWS + place;
                if self.scales[slot] > 0.0 {
                    visit(slot as u32, self.cosine(query, slot, *dot));
                }
            }
        }
    }

    /// Begins to bring the row in `slot` from memory.
    fn prefetch(&self, slot: usize) {
        if let Some(row) = self.codes.get(slot * self.stride..(slot + 1) * self.stride) {
            kernels::prefetch(row);
        }
    }

    fn fits(&self, query: &Query) -> bool {
        self.stride > 0 && query.codes.len() == self.stride
    }

    fn cosine(&self, query: &Query, slot: usize, dot: i32) -> f32 {
        (dot - OFFSET * self.sums[slot]) as f32 * (self.scales[slot] * query.scale)
    }

    /// The rows whose signs agree most with the question's, as far as they are admitted.
    fn pick(&self, query: &Query, wanted: usize, admit: &mut impl FnMut(u32) -> bool) -> Vec<u32> {
        let enough = (wanted * PICKED_PER_WANTED).max(PICKED_MIN);
        let mut distances = vec![0; self.len()];
        kernels::hamming(&query.bits, &self.bits, &mut distances);
        let mut histogram = vec![0_usize; self.stride + 1];
        for distance in &distances {
            histogram[usize::from(*distance)] += 1;
        }
        let mut below = 0;
        let limit = histogram.iter().position(|count| {
            below += count;
            below >= enough
        });
        let limit = limit.unwrap_or(self.stride) as u16;
        let near = distances
            .iter()
            .enumerate()
            .filter(|(_, distance)| **distance <= limit);
        near.map(|(slot, _)| slot as u32)
            .filter(|slot| self.scales[*slot as usize] > 0.0 && admit(*slot))
            .collect()
    }

    fn write_bits(&mut self, slot: usize) {
        let words = self.stride / 64;
        let codes = &self.codes[slot * self.stride..][..self.stride];
        for (word, codes) in self.bits[slot * words..][..words]
            .iter_mut()
            .zip(codes.chunks(64))
        {
            *word = codes.iter().enumerate().fold(0, |bits, (place, code)| {
                bits | u64::from(*code > 0) << place
            });
        }
    }
}
