//! Texts and vectors from a seeded generator, the same in every run.

use std::sync::Arc;

use tmws::domain::{Access, AgentKey, Embedded, Model, NewMemory, Vector};

/// Dimensions of all-MiniLM-L6-v2.
const DIMENSION: usize = 384;
/// Topics that memories gather around; the vectors of one are nearer to each other than to others.
const TOPICS: u64 = 500;

/// What a store is loaded with.
pub(crate) struct Corpus {
    pub(crate) namespaces: usize,
    /// Memories of each.
    pub(crate) size: usize,
    pub(crate) vectors: Vec<Vector>,
}

impl Corpus {
    pub(crate) fn new(namespaces: usize, size: usize) -> Self {
        Self {
            namespaces,
            size,
            vectors: (0..namespaces * size).map(|n| vector(n as u64)).collect(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.vectors.len()
    }

    pub(crate) fn memory(&self, n: usize) -> NewMemory {
        let vector = Embedded {
            model: model(),
            vector: Arc::clone(&self.vectors[n]),
        };
        with_vector(n % self.namespaces, n as u64, vector)
    }

    /// The number of a question that no memory has: a neighbour on its topic.
    pub(crate) fn question(&self, n: usize) -> u64 {
        (self.len() * 2 + n * 7_919) as u64
    }
}

/// SplitMix64.
struct Noise(u64);

impl Noise {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    fn fraction(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Roughly normal: the sum of four uniform numbers.
    fn normal(&mut self) -> f32 {
        (0..4).map(|_| self.fraction() as f32 - 0.5).sum::<f32>() * 1.73
    }
}

pub(crate) fn model() -> Model {
    Model {
        name: "generated".into(),
        dimension: DIMENSION,
    }
}

/// A vector near the topic of `n`.
pub(crate) fn vector(n: u64) -> Vector {
    let mut topic = Noise(n % TOPICS * 7_919 + 1);
    let mut own = Noise(n.wrapping_mul(0x5851_F42D_4C95_7F2D) + 3);
    let values: Vec<f32> = (0..DIMENSION)
        .map(|_| topic.normal() + own.normal())
        .collect();
    let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    values
        .iter()
        .map(|value| value / length)
        .collect::<Arc<[f32]>>()
}

pub(crate) fn embedded(n: u64) -> Embedded {
    Embedded {
        model: model(),
        vector: vector(n),
    }
}

/// `count` words with a frequency that falls with their number, as in a language.
pub(crate) fn words(n: u64, count: usize) -> String {
    let mut noise = Noise(n + 1);
    let words: Vec<_> = (0..count)
        .map(|_| format!("word{}", 20_000_f64.powf(noise.fraction()) as usize - 1))
        .collect();
    words.join(" ")
}

pub(crate) fn owner(namespace: usize) -> AgentKey {
    AgentKey::new(&format!("space-{namespace}"), "agent").expect("a valid name")
}

pub(crate) fn memory(namespace: usize, n: u64) -> NewMemory {
    with_vector(namespace, n, embedded(n))
}

fn with_vector(namespace: usize, n: u64, vector: Embedded) -> NewMemory {
    NewMemory {
        owner: owner(namespace),
        admin: false,
        session_id: None,
        content: words(n, 30),
        kind: Some("fact".into()),
        tags: vec![format!("tag{}", n % 100)],
        importance: (n % 100) as f64 / 100.0,
        access_level: Access::Team,
        metadata: Default::default(),
        source: None,
        trust: 1.0,
        valid_from: None,
        valid_to: None,
        ttl_seconds: None,
        supersedes: None,
        vector: Some(vector),
    }
}
