//! A deterministic embedder and documents for the tests of the index.

#![allow(dead_code)]

use std::hash::{DefaultHasher, Hash, Hasher};

use coderag_core::{Digest, Document, Embedder, Embeddings, Error, Result, TextRole};
use serde_json::Map;

/// Projects a text's hashed character trigrams to `dimensions` values: similar texts get similar
/// vectors, and a seed stands for a model.
pub(crate) struct Trigrams {
    pub(crate) dimensions: usize,
    pub(crate) seed: u64,
    /// A text for which embedding fails, as a dying process would.
    pub(crate) fails_on: Option<&'static str>,
    /// A text that gets the zero vector.
    pub(crate) zero: Option<&'static str>,
}

impl Trigrams {
    pub(crate) fn new(dimensions: usize) -> Self {
        Self { dimensions, seed: 42, fails_on: None, zero: None }
    }

    pub(crate) fn vector(&self, text: &str) -> Vec<f32> {
        let mut vector = vec![0.0_f32; self.dimensions];
        let characters: Vec<char> = format!("^{text}$").chars().collect();
        for trigram in characters.windows(3.min(characters.len())) {
            let mut hasher = DefaultHasher::new();
            (self.seed, trigram).hash(&mut hasher);
            let mut state = hasher.finish();
            for value in &mut vector {
                // xorshift64: the trigram's row of the random projection.
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                *value += (state >> 40) as f32 / (1_u32 << 24) as f32 - 0.5;
            }
        }
        vector
    }
}

impl Embedder for Trigrams {
    fn fingerprint(&self) -> Digest {
        Digest::of(format!("trigrams {} {}", self.dimensions, self.seed))
    }

    fn dimensions(&self) -> usize {
        self.dimensions
    }

    fn embed(&self, texts: &[&str], _role: TextRole) -> Result<Embeddings> {
        let mut values = Vec::new();
        for text in texts {
            if self.fails_on.is_some_and(|fails| text.contains(fails)) {
                return Err(Error::component("the embedder")("it broke"));
            }
            if self.zero.is_some_and(|zero| text.contains(zero)) {
                values.extend(vec![0.0; self.dimensions]);
            } else {
                values.extend(self.vector(text));
            }
        }
        Embeddings::new(self.dimensions, values)
    }
}

pub(crate) fn document(id: usize, text: String) -> Document {
    Document {
        id: format!("d{id}"),
        kind: Document::TABLE.into(),
        title: format!("t{id}"),
        sha256: Digest::of(&text),
        text,
        source: "test".into(),
        language: "sql".into(),
        meta: Map::new(),
    }
}

/// Tables with columns drawn from a small vocabulary by a seeded generator, so that many resemble
/// each other.
pub(crate) fn documents(count: usize) -> Vec<Document> {
    const WORDS: [&str; 24] = [
        "name",
        "price",
        "order",
        "customer",
        "city",
        "date",
        "team",
        "player",
        "score",
        "region",
        "invoice",
        "ship",
        "engine",
        "course",
        "student",
        "grade",
        "album",
        "track",
        "artist",
        "country",
        "river",
        "length",
        "population",
        "year",
    ];
    let mut state = 7_u64;
    let mut next = |below: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    (0..count)
        .map(|id| {
            let columns: Vec<String> = (0..2 + next(6))
                .map(|_| format!("{}_{} TEXT", WORDS[next(WORDS.len())], WORDS[next(WORDS.len())]))
                .collect();
            document(id, format!("CREATE TABLE table_{id} ({});", columns.join(", ")))
        })
        .collect()
}
