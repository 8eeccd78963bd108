#![allow(unsafe_code)]

use super::layer_norm::Norm;
use crate::BertConfig;
use crate::checkpoint::{Checkpoint, Tensor};
use crate::engine::batch::Token;
use crate::engine::elementwise::LayerNorm;
use crate::engine::matrix::Matrix;
use crate::engine::profile::Stage;
use crate::engine::worker::Worker;

/// The sum of the word, position and segment embeddings, normalised.
#[derive(Debug)]
pub(super) struct TokenEmbedding {
    /// `[vocab_size, hidden_size]`, left in the file: a call reads few of its rows.
    words: Option<Tensor>,
    /// `[max_position_embeddings, hidden_size]`, with the embedding of segment 0 added.
    positions: Vec<f32>,
    norm: Norm,
    hidden_size: usize,
}

impl TokenEmbedding {
    pub(super) fn take(checkpoint: &mut Checkpoint, config: &BertConfig) -> Self {
        let BertConfig {
            vocab_size, hidden_size, max_position_embeddings, type_vocab_size, ..
        } = *config;
        let words =
            checkpoint.take("embeddings.word_embeddings.weight", &[vocab_size, hidden_size]);
        let mut positions = Vec::new();
        let name = "embeddings.position_embeddings.weight";
        let stored = checkpoint.take(name, &[max_position_embeddings, hidden_size]);
        let name = "embeddings.token_type_embeddings.weight";
        let segments = checkpoint.take(name, &[type_vocab_size, hidden_size]);
        if let (Some(stored), Some(segments)) = (stored, segments) {
            positions.resize(max_position_embeddings * hidden_size, 0.0);
            let mut segment = vec![0.0; hidden_size];
            segments.read_row(0, &mut segment);
            for (row, position) in positions.chunks_exact_mut(hidden_size).enumerate() {
                stored.read_row(row, position);
                position.iter_mut().zip(&segment).for_each(|(value, segment)| *value += segment);
            }
        }
        let norm = Norm::take(checkpoint, "embeddings.LayerNorm", config);
        Self { words, positions, norm, hidden_size }
    }

    /// Fills the first rows of `states`, one for each token.
    ///
    /// # Safety
    /// All members of the team call it alike, and nobody else uses the states.
    pub(super) unsafe fn embed(&self, worker: &Worker<'_>, tokens: &[Token], states: &Matrix) {
        let Some(words) = &self.words else { return };
        let norm: LayerNorm<'_> = self.norm.view();
        worker.for_each(Stage::Embedding, tokens.len(), |row| {
            let token = tokens[row];
            // SAFETY: each task has its own row.
            let state = unsafe { states.row_mut(row, 0..self.hidden_size) };
            words.read_row(token.id as usize, state);
            let position = token.position as usize * self.hidden_size;
            let position = &self.positions[position..][..self.hidden_size];
            worker.kernels.add_and_normalize(state, position, norm);
        });
    }
}
