//! Attention: each token takes from the others what they have for it.

use super::{HEAD_WIDTH, HEADS, WIDTH};
use crate::embed::kernels::{self, Isa, Product};

/// Numbers of a token's queries, keys and values.
pub(super) const SPLIT_WIDTH: usize = 3 * WIDTH;

/// Columns of a product come in so many.
const COLUMNS: usize = 16;

/// Room to work in.
#[derive(Default)]
pub(super) struct Attention {
    /// A head's keys, one column per token.
    keys: Vec<f32>,
    /// What each token has for each other.
    shares: Vec<f32>,
}

impl Attention {
    /// From queries, keys and values of all tokens to what each attends to.
    pub(super) fn run(&mut self, isa: Isa, split: &[f32], attended: &mut [f32]) {
        let tokens = split.len() / SPLIT_WIDTH;
        let columns = tokens.next_multiple_of(COLUMNS);
        self.keys.clear();
        self.keys.resize(HEAD_WIDTH * columns, 0.0);
        self.shares.resize(tokens * columns, 0.0);
        for head in 0..HEADS {
            let queries = &split[head * HEAD_WIDTH..];
            let keys = &split[WIDTH + head * HEAD_WIDTH..];
            let values = &split[2 * WIDTH + head * HEAD_WIDTH..];
            for (token, key) in keys.chunks(SPLIT_WIDTH).enumerate() {
                for (row, number) in key[..HEAD_WIDTH].iter().enumerate() {
                    self.keys[row * columns + token] = *number;
                }
            }
            let scores = Product {
                a: (queries, SPLIT_WIDTH),
                b: (&self.keys, columns),
                to: (&mut self.shares, columns),
                rows: tokens,
                inner: HEAD_WIDTH,
                columns,
            };
            kernels::matmul(isa, scores);
            for row in self.shares.chunks_exact_mut(columns) {
                kernels::softmax(isa, &mut row[..tokens]);
            }
            let sums = Product {
                a: (&self.shares, columns),
                b: (values, SPLIT_WIDTH),
                to: (&mut attended[head * HEAD_WIDTH..], WIDTH),
                rows: tokens,
                inner: tokens,
                columns: HEAD_WIDTH,
            };
            kernels::matmul(isa, sums);
        }
    }
}
