//! Products of f32 matrices: attention, and all layers where the weights are not rounded.

use super::{Isa, add_bias, multiply_add, versions};

/// Columns that are computed together: two vectors of AVX2.
const COLUMNS: usize = 16;
/// Rows that are computed together: with two vectors each they fill the registers.
const ROWS: usize = 6;

/// `to = a * b`. Each matrix lies inside its slice from the beginning on, and its stride is what
/// lies between the beginnings of two of its rows.
#[derive(Debug)]
pub(in crate::embed) struct Product<'a> {
    /// `rows` x `inner`, and its stride.
    pub(in crate::embed) a: (&'a [f32], usize),
    /// `inner` x `columns`, and its stride.
    pub(in crate::embed) b: (&'a [f32], usize),
    /// `rows` x `columns`, and its stride.
    pub(in crate::embed) to: (&'a mut [f32], usize),
    /// Rows of the result.
    pub(in crate::embed) rows: usize,
    /// Numbers in each sum of products.
    pub(in crate::embed) inner: usize,
    /// Columns of the result, a multiple of 16.
    pub(in crate::embed) columns: usize,
}

#[inline(always)]
fn matmul_body<const FMA: bool>(product: Product<'_>) {
    let Product {
        a: (a, a_stride),
        b: (b, b_stride),
        to: (to, to_stride),
        rows,
        inner,
        columns,
    } = product;
    assert!(columns.is_multiple_of(COLUMNS) && inner > 0);
    let fits = |length: usize, rows: usize, stride: usize, columns: usize| {
        rows == 0 || (rows - 1) * stride + columns <= length
    };
    assert!(fits(a.len(), rows, a_stride, inner));
    assert!(fits(b.len(), inner, b_stride, columns));
    assert!(fits(to.len(), rows, to_stride, columns));
    let mut row = 0;
    while row < rows {
        let count = (rows - row).min(ROWS);
        for column in (0..columns).step_by(COLUMNS) {
            let tile = Tile {
                a: a[row * a_stride..].as_ptr(),
                a_stride,
                b: b[column..].as_ptr(),
                b_stride,
                to: to[row * to_stride + column..].as_mut_ptr(),
                to_stride,
                inner,
            };
            // SAFETY: by the assertions above the tile's `count` rows and 16 columns, and the
            // `inner` numbers that each of them needs, lie inside the three slices.
            unsafe {
                match count {
                    1 => tile.compute::<FMA, 1>(),
                    2 => tile.compute::<FMA, 2>(),
                    3 => tile.compute::<FMA, 3>(),
                    4 => tile.compute::<FMA, 4>(),
                    5 => tile.compute::<FMA, 5>(),
                    _ => tile.compute::<FMA, ROWS>(),
                }
            }
        }
        row += count;
    }
}
versions! {
    /// Computes a product.
    fn matmul(product: Product<'_>) = matmul_body
}

/// Where a few rows and 16 columns of a product begin.
struct Tile {
    a: *const f32,
    a_stride: usize,
    b: *const f32,
    b_stride: usize,
    to: *mut f32,
    to_stride: usize,
    inner: usize,
}

impl Tile {
    /// # Safety
    /// `N` rows of `a` with `inner` numbers, `inner` rows of `b` with 16, and `N` rows of `to`
    /// with 16 must lie where the fields say.
    #[inline(always)]
    unsafe fn compute<const FMA: bool, const N: usize>(&self) {
        let mut sums = [[0.0; COLUMNS]; N];
        for k in 0..self.inner {
            // SAFETY: row `k` of `b` has 16 numbers, by the caller's promise.
            let weights = unsafe { *self.b.add(k * self.b_stride).cast::<[f32; COLUMNS]>() };
            for (row, sums) in sums.iter_mut().enumerate() {
                // SAFETY: row `row` of `a` has a number `k`, by the caller's promise.
                let x = unsafe { *self.a.add(row * self.a_stride + k) };
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    *sum = multiply_add::<FMA>(x, weight, *sum);
                }
            }
        }
        for (row, sums) in sums.into_iter().enumerate() {
            // SAFETY: row `row` of `to` has 16 places, by the caller's promise.
            unsafe { *self.to.add(row * self.to_stride).cast::<[f32; COLUMNS]>() = sums };
        }
    }
}

/// The weights of a layer, unrounded, in panels of 16 outputs: input after input.
#[derive(Debug)]
pub(in crate::embed) struct F32Matrix {
    inputs: usize,
    panels: Vec<f32>,
    bias: Vec<f32>,
}

impl F32Matrix {
    /// Packs weights that lie output after output; the outputs are a multiple of 16.
    pub(in crate::embed) fn new(weights: &[f32], bias: Vec<f32>) -> Self {
        let inputs = weights.len() / bias.len();
        let mut panels = Vec::with_capacity(weights.len());
        for panel in weights.chunks_exact(COLUMNS * inputs) {
            for input in 0..inputs {
                panels.extend((0..COLUMNS).map(|output| panel[output * inputs + input]));
            }
        }
        Self {
            inputs,
            panels,
            bias,
        }
    }

    /// Rows of inputs to rows of outputs.
    pub(in crate::embed) fn apply(&self, isa: Isa, rows: &[f32], to: &mut [f32]) {
        let outputs = self.bias.len();
        let panels = self.panels.chunks_exact(COLUMNS * self.inputs);
        for (index, panel) in panels.enumerate() {
            let product = Product {
                a: (rows, self.inputs),
                b: (panel, COLUMNS),
                to: (&mut to[index * COLUMNS..], outputs),
                rows: rows.len() / self.inputs,
                inner: self.inputs,
                columns: COLUMNS,
            };
            matmul(isa, product);
        }
        add_bias(isa, to, &self.bias);
    }
}
