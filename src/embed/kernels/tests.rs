//! Every instruction set of this processor against the portable version.

use super::int8::{OUTLIERS, Rounded};
use super::matmul::Product;
use super::{
    F32Matrix, Int8Matrix, Isa, Quantised, WEIGHT_MAX, gelu, layer_norm, matmul, softmax,
    weight_scale,
};

/// Numbers between -1 and 1 that a seed decides.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// Mostly small, as weights and activations are.
    fn many(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next().powi(3) * 3.0).collect()
    }
}

fn others() -> impl Iterator<Item = Isa> {
    Isa::available().filter(|isa| *isa != Isa::PORTABLE)
}

fn assert_near(left: &[f32], right: &[f32], tolerance: f32, what: &str) {
    assert_eq!(left.len(), right.len());
    for (index, (left, right)) in left.iter().zip(right).enumerate() {
        let error = (left - right).abs();
        assert!(
            error <= tolerance * (1.0 + right.abs()),
            "{what} at {index}: {left} {right}"
        );
    }
}

fn rounded(weights: &[f32], inputs: usize, bias: Vec<f32>, outliers: &[usize]) -> Rounded {
    let mut plain = weights.to_vec();
    let outliers = outliers
        .iter()
        .map(|&input| {
            let column = plain.iter_mut().skip(input).step_by(inputs);
            (input, column.map(std::mem::take).collect())
        })
        .collect();
    let mut scale = Vec::new();
    let mut weights = Vec::new();
    for row in plain.chunks_exact(inputs) {
        let step = weight_scale(row);
        scale.push(step);
        weights.extend(
            row.iter()
                .map(|w| (w / step).round().clamp(-WEIGHT_MAX, WEIGHT_MAX) as i8),
        );
    }
    Rounded {
        weights,
        scale,
        bias,
        outliers,
    }
}

#[test]
fn whole_number_products_are_the_same_everywhere() {
    let mut numbers = Numbers(1);
    for (inputs, outputs) in [(16, 64), (384, 128), (1536, 64)] {
        for rows in [1, 2, 3, 4, 5, 6, 7, 13, 20] {
            let weights = numbers.many(inputs * outputs);
            let bias = numbers.many(outputs);
            let x = numbers.many(inputs * rows);
            for outliers in [&[][..], &[3, 7]] {
                let apply = |isa| {
                    let layer = rounded(&weights, inputs, bias.clone(), outliers);
                    let layer = Int8Matrix::new(isa, layer).unwrap();
                    let mut to = vec![0.0; rows * outputs];
                    layer.apply(&x, &mut Quantised::default(), &mut to);
                    to
                };
                let expected = apply(Isa::PORTABLE);
                for isa in others() {
                    assert_near(&apply(isa), &expected, 2e-6, isa.name());
                }
            }
        }
    }
}

#[test]
fn rounding_costs_little() {
    let mut numbers = Numbers(2);
    let (inputs, outputs, rows) = (384, 64, 5);
    let weights = numbers.many(inputs * outputs);
    let bias = numbers.many(outputs);
    let mut x = numbers.many(inputs * rows);
    // A column that would leave nothing of the others if it were rounded with them.
    x.iter_mut().skip(9).step_by(inputs).for_each(|x| *x = 40.0);
    let mut exact = vec![0.0; rows * outputs];
    F32Matrix::new(&weights, bias.clone()).apply(Isa::PORTABLE, &x, &mut exact);
    let layer = Int8Matrix::new(Isa::PORTABLE, rounded(&weights, inputs, bias, &[9])).unwrap();
    let mut near = vec![0.0; rows * outputs];
    layer.apply(&x, &mut Quantised::default(), &mut near);
    let dot = |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    let cosine = dot(&exact, &near) / (dot(&exact, &exact) * dot(&near, &near)).sqrt();
    assert!(cosine > 0.9998, "{cosine}");
}

#[test]
fn the_worst_activations_do_not_overflow() {
    // All weights of one sign, as large as can be, and the largest activations: the sums are what
    // they are without a bound of 16 bits.
    for sign in [1.0, -1.0] {
        let (inputs, outputs) = (384, 64);
        let weights = vec![sign; inputs * outputs];
        let mut x = vec![1.0; inputs];
        x[5] = 0.0;
        let expected = sign * (inputs - 1) as f32;
        for isa in Isa::available() {
            let layer = rounded(&weights, inputs, vec![0.0; outputs], &[]);
            let layer = Int8Matrix::new(isa, layer).unwrap();
            let mut to = vec![0.0; outputs];
            layer.apply(&x, &mut Quantised::default(), &mut to);
            assert_near(&to, &vec![expected; outputs], 0.01, isa.name());
        }
    }
}

#[test]
fn weights_out_of_bounds_are_refused() {
    let layer = || Rounded {
        weights: vec![1; 16 * 64],
        scale: vec![1.0; 64],
        bias: vec![0.0; 64],
        outliers: Vec::new(),
    };
    for isa in Isa::available() {
        assert!(Int8Matrix::new(isa, layer()).is_some());
        let mut large = layer();
        large.weights = vec![127; 16 * 64];
        assert!(Int8Matrix::new(isa, large).is_none());
        let mut outside = layer();
        outside.outliers = vec![(16, vec![0.0; 64])];
        assert!(Int8Matrix::new(isa, outside).is_none());
        let mut many = layer();
        many.outliers = vec![(1, vec![0.0; 64]); OUTLIERS + 1];
        assert!(Int8Matrix::new(isa, many).is_none());
    }
}

#[test]
fn float_products_are_the_same_everywhere() {
    let mut numbers = Numbers(3);
    for rows in 1..=13 {
        let (inner, columns) = (32 + rows, 32);
        let a = numbers.many(rows * (inner + 3));
        let b = numbers.many(inner * (columns + 5));
        let mut expected = vec![0.0; rows * columns];
        for row in 0..rows {
            for column in 0..columns {
                expected[row * columns + column] = (0..inner)
                    .map(|k| a[row * (inner + 3) + k] * b[k * (columns + 5) + column])
                    .sum();
            }
        }
        for isa in Isa::available() {
            let mut to = vec![0.0; rows * columns];
            let product = Product {
                a: (&a, inner + 3),
                b: (&b, columns + 5),
                to: (&mut to, columns),
                rows,
                inner,
                columns,
            };
            matmul(isa, product);
            assert_near(&to, &expected, 2e-5, isa.name());
        }
    }
}

#[test]
fn what_is_done_number_by_number_is_the_same_everywhere() {
    let mut numbers = Numbers(4);
    for length in [1, 15, 16, 17, 256] {
        let row: Vec<f32> = numbers.many(length).iter().map(|x| x * 4.0).collect();
        let run = |isa, what: fn(Isa, &mut [f32])| {
            let mut row = row.clone();
            what(isa, &mut row);
            row
        };
        let shares = run(Isa::PORTABLE, softmax);
        assert!((shares.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        for isa in others() {
            assert_near(&run(isa, gelu), &run(Isa::PORTABLE, gelu), 1e-6, "gelu");
            assert_near(&run(isa, softmax), &shares, 1e-5, "softmax");
        }
    }
    let (gain, shift) = (numbers.many(32), numbers.many(32));
    let rows = numbers.many(96);
    let norm = |isa| {
        let mut rows = rows.clone();
        layer_norm(isa, &mut rows, &gain, &shift);
        rows
    };
    for isa in others() {
        assert_near(&norm(isa), &norm(Isa::PORTABLE), 1e-5, "layer norm");
    }
}
