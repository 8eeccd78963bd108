use std::ops::Range;

use crate::Architecture;

/// A token and its place in its sequence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) id: u32,
    pub(super) position: u32,
}

/// Sequences that go through the model together, one after the other without padding.
pub(super) struct Batch {
    tokens: Vec<Token>,
    /// Which tokens each sequence has.
    sequences: Vec<Range<usize>>,
}

impl Batch {
    pub(super) fn new<'a>(
        sequences: impl Iterator<Item = &'a [u32]>,
        architecture: &Architecture,
    ) -> Self {
        let mut batch = Self { tokens: Vec::new(), sequences: Vec::new() };
        for ids in sequences {
            match architecture {
                Architecture::Bert(config) => batch.add(ids, config.positions(ids)),
                Architecture::Qwen2(_) => batch.add(ids, 0..),
            }
        }
        batch
    }

    fn add(&mut self, ids: &[u32], positions: impl Iterator<Item = u32>) {
        let start = self.tokens.len();
        let tokens = ids.iter().zip(positions).map(|(&id, position)| Token { id, position });
        self.tokens.extend(tokens);
        self.sequences.push(start..self.tokens.len());
    }

    pub(super) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    pub(super) fn sequences(&self) -> &[Range<usize>] {
        &self.sequences
    }
}
