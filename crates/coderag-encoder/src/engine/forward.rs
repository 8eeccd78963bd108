#![allow(unsafe_code)]

use std::ops::Range;

use super::embedding::{Token, TokenEmbedding};
use super::layer::Layer;
use super::profile::Stage;
use super::worker::Worker;
use super::workspace::Workspace;
use crate::{BertConfig, Pooling};

/// Sequences that go through the model together, one after the other without padding.
pub(super) struct Batch {
    tokens: Vec<Token>,
    /// Which tokens each sequence has.
    sequences: Vec<Range<usize>>,
}

impl Batch {
    pub(super) fn new<'a>(sequences: impl Iterator<Item = &'a [u32]>, config: &BertConfig) -> Self {
        let mut batch = Self { tokens: Vec::new(), sequences: Vec::new() };
        for ids in sequences {
            let start = batch.tokens.len();
            let positions = config.positions(ids);
            let tokens = ids.iter().zip(positions).map(|(&id, position)| Token { id, position });
            batch.tokens.extend(tokens);
            batch.sequences.push(start..batch.tokens.len());
        }
        batch
    }

    pub(super) fn tokens(&self) -> usize {
        self.tokens.len()
    }

    pub(super) fn sequences(&self) -> usize {
        self.sequences.len()
    }
}

/// The weights of a model.
#[derive(Debug)]
pub(super) struct Weights {
    pub(super) embedding: TokenEmbedding,
    pub(super) layers: Vec<Layer>,
}

impl Weights {
    /// Computes the vector of each sequence, in the rows of `workspace.pooled`.
    ///
    /// # Safety
    /// All members of the team call it alike with the same workspace, which holds the batch and which
    /// nobody else uses. Every token id and position is one of the model's.
    pub(super) unsafe fn forward(
        &self,
        worker: &Worker<'_>,
        batch: &Batch,
        workspace: &Workspace,
        config: &BertConfig,
        pooling: Pooling,
    ) {
        let columns = 0..config.hidden_size;
        // SAFETY: the team goes through these steps together, and each step's tasks write to rows of
        // their own.
        unsafe {
            self.embedding.embed(worker, &batch.tokens, &workspace.states);
            for layer in &self.layers {
                layer.forward(worker, workspace, &batch.sequences);
            }
            worker.for_each(Stage::Pooling, batch.sequences.len(), |sequence| {
                let tokens = batch.sequences[sequence].clone();
                let pooled = workspace.pooled.row_mut(sequence, columns.clone());
                for (position, row) in tokens.clone().enumerate() {
                    let state = workspace.states.row(row, columns.clone());
                    pooling.add(worker.kernels, pooled, state, position, tokens.len());
                }
            });
        }
    }
}
