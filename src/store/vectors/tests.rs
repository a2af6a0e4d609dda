use proptest::prelude::*;

use super::*;

/// Pseudo-random numbers that are the same in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn vector(&mut self, dimension: usize) -> Vec<f32> {
        let values: Vec<f32> = (0..dimension)
            .map(|_| (self.next() % 20_001) as f32 / 10_000.0 - 1.0)
            .collect();
        let length = dot(&values, &values).sqrt();
        values.iter().map(|value| value / length).collect()
    }
}

fn rows_of(vectors: &[Vec<f32>]) -> Rows {
    let mut rows = Rows::default();
    for vector in vectors {
        let quantized = Quantized::new(vector);
        rows.push(Some((quantized.scale, &quantized.codes)));
    }
    rows
}

fn best(rows: &Rows, query: &Query, wanted: usize) -> Vec<u32> {
    let mut found = Vec::new();
    rows.scan(
        query,
        wanted,
        |_| true,
        |slot, similarity| found.push((similarity, slot)),
    );
    found.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    found
        .into_iter()
        .take(wanted)
        .map(|(_, slot)| slot)
        .collect()
}

proptest! {
    #[test]
    fn every_path_computes_the_same(
        query in prop::collection::vec(0_u8..=127, 384),
        rows in prop::collection::vec(any::<i8>(), 384 * 5),
        bits in prop::collection::vec(any::<u64>(), 6 * 6),
    ) {
        let paths = kernels::available();
        let portable = paths.last().unwrap();
        let mut expected = [0; 5];
        portable.dot(&query, &rows, &mut expected);
        let mut distances = [0; 5];
        portable.hamming(&bits[..6], &bits[6..], &mut distances);
        for path in &paths {
            let mut dots = [0; 5];
            path.dot(&query, &rows, &mut dots);
            prop_assert_eq!(dots, expected, "{}", path.name);
            let mut found = [0; 5];
            path.hamming(&bits[..6], &bits[6..], &mut found);
            prop_assert_eq!(found, distances, "{}", path.name);
        }
    }
}

#[test]
fn extremes_do_not_saturate() {
    for path in kernels::available() {
        for code in [i8::MIN, i8::MAX] {
            let mut out = [0];
            path.dot(&[127; 384], &[code; 384], &mut out);
            assert_eq!(out[0], 384 * 127 * i32::from(code), "{}", path.name);
        }
    }
}

#[test]
fn similarity_is_near_the_cosine() {
    let mut noise = Noise(7);
    let vectors: Vec<_> = (0..200).map(|_| noise.vector(384)).collect();
    let rows = rows_of(&vectors);
    let query = Query::new(&vectors[3]);
    rows.scan(
        &query,
        1,
        |_| true,
        |slot, similarity| {
            let exact = query.similarity(&vectors[slot as usize]);
            assert!((similarity - exact).abs() < 0.01, "{similarity} {exact}");
        },
    );
    assert_eq!(best(&rows, &query, 1), [3]);
}

#[test]
fn slots_without_a_vector_are_passed_over() {
    let mut noise = Noise(9);
    let mut rows = Rows::default();
    rows.push(None);
    let vector = noise.vector(100);
    let quantized = Quantized::new(&vector);
    rows.push(Some((quantized.scale, &quantized.codes)));
    rows.push(None);
    let query = Query::new(&vector);
    assert_eq!(best(&rows, &query, 3), [1]);
    assert!(rows.similarity(&query, 0).is_none());
    rows.set(2, quantized.scale, &quantized.codes);
    assert_eq!(best(&rows, &query, 3).len(), 2);
    assert!(
        best(&rows, &Query::new(&noise.vector(384)), 3).is_empty(),
        "another dimension"
    );
}

#[test]
fn many_rows_are_picked_by_their_signs_unless_the_filter_leaves_too_few() {
    let mut noise = Noise(11);
    let vectors: Vec<_> = (0..BITS_ROWS_MIN + 100)
        .map(|_| noise.vector(384))
        .collect();
    let rows = rows_of(&vectors);
    let query = Query::new(&vectors[5_000]);
    let mut visited = 0;
    rows.scan(&query, 10, |_| true, |_, _| visited += 1);
    assert!((10..vectors.len()).contains(&visited), "{visited}");
    assert_eq!(best(&rows, &query, 1), [5_000]);
    let mut visited = 0;
    rows.scan(&query, 10, |slot| slot % 1_000 == 1, |_, _| visited += 1);
    assert_eq!(
        visited,
        vectors.len(),
        "all of them, as too few were admitted"
    );
}
