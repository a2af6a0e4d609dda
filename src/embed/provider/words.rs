//! Vectors without a model: each word has a direction of its own, a text is the sum of its words.
//!
//! Texts that share words are near, nothing else is. The directions come from a hash that is part
//! of this file, so a text has the same vector on every machine and in every version.

use super::{Provider, ProviderError, normalised};
use crate::domain::Vector;

/// Directions per word: enough that two words seldom share one, few enough to stay quick.
const DIRECTIONS: u64 = 8;

/// The provider `static`.
pub(super) struct Words {
    dimension: usize,
}

impl Words {
    pub(super) fn new(dimension: usize) -> Self {
        Self { dimension }
    }

    fn vector(&self, text: &str) -> Vector {
        let mut sums = vec![0.0; self.dimension];
        let words = text
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty());
        for word in words {
            self.add(&mut sums, hash(&word.to_lowercase()));
        }
        normalised(sums).unwrap_or_else(|| self.nothing())
    }

    /// Adds 1 or -1 to the places that a word's hash chooses.
    fn add(&self, sums: &mut [f32], hash: u64) {
        for direction in 0..DIRECTIONS {
            let bits = scramble(hash.wrapping_add(direction));
            let place = (bits >> 1) % self.dimension as u64;
            sums[place as usize] += if bits & 1 == 0 { 1.0 } else { -1.0 };
        }
    }

    /// A text without words has a vector, too; it is near to other such texts only.
    fn nothing(&self) -> Vector {
        let mut vector = vec![0.0; self.dimension];
        vector[0] = 1.0;
        vector.into()
    }
}

impl Provider for Words {
    fn embed(&self, texts: &[&str]) -> Result<Vec<Vector>, ProviderError> {
        Ok(texts.iter().map(|text| self.vector(text)).collect())
    }
}

/// FNV-1a of the word's bytes.
fn hash(word: &str) -> u64 {
    word.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The finaliser of SplitMix64: neighbouring numbers become unrelated ones.
fn scramble(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::Words;

    fn cosine(a: &str, b: &str) -> f32 {
        let words = Words::new(384);
        let (a, b) = (words.vector(a), words.vector(b));
        a.iter().zip(b.iter()).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn texts_that_share_words_are_near() {
        let near = cosine("the build needs clang", "Clang for the BUILD");
        let far = cosine("the build needs clang", "a meeting on thursday");
        assert!(near > 0.5 && far < 0.4, "{near} {far}");
        assert!((cosine("same words", "words, same!") - 1.0).abs() < 1e-6);
    }

    #[test]
    fn every_text_has_a_vector_of_length_one() {
        for dimension in [1, 3, 384] {
            for text in ["", "...", "one", "Zürich 機械学習 😀", "a b"] {
                let vector = Words::new(dimension).vector(text);
                let length: f32 = vector.iter().map(|x| x * x).sum();
                assert_eq!(vector.len(), dimension);
                assert!((length - 1.0).abs() < 1e-5, "{text:?}: {length}");
            }
        }
    }

    #[test]
    fn a_vector_is_the_same_in_every_version() {
        let vector = Words::new(4).vector("clang");
        assert_eq!(super::hash("clang"), 0xd10b_7195_2fc1_d3ae, "{vector:?}");
    }
}
