//! The body of BERT and RoBERTa.

#![allow(unsafe_code)]

mod embedding;
mod layer;
mod layer_norm;

use embedding::TokenEmbedding;
use layer::{Layer, LayerParts};

use super::Precision;
use super::batch::Batch;
use super::body::pack_layers;
use super::kernels::Kernels;
use super::matrix::Matrix;
use super::team::{Member, Team};
use super::worker::Worker;
use super::workspace::{Widths, Workspace};
use crate::checkpoint::Checkpoint;
use crate::{BertConfig, Result};

/// The weights of a BERT.
#[derive(Debug)]
pub(super) struct Bert {
    embedding: TokenEmbedding,
    layers: Vec<Layer>,
    widths: Widths,
}

impl Bert {
    pub(super) fn load(
        mut checkpoint: Checkpoint,
        config: &BertConfig,
        precision: Precision,
        kernels: &Kernels,
        team: &Team,
    ) -> Result<Self> {
        let embedding = TokenEmbedding::take(&mut checkpoint, config);
        let parts: Vec<LayerParts> = (0..config.num_hidden_layers)
            .map(|index| LayerParts::take(&mut checkpoint, config, index))
            .collect();
        checkpoint.finish()?;
        let layers = pack_layers(team, parts, |parts| {
            Layer::pack(parts, config, precision, kernels, Member::alone())
        });
        let widths = Widths {
            hidden: config.hidden_size,
            intermediate: config.intermediate_size,
            attention: layer::attention(config),
            rotation: 0,
            widest_input: precision,
        };
        Ok(Self { embedding, layers, widths })
    }

    pub(super) fn widths(&self) -> Widths {
        self.widths
    }

    /// How many weights the linear layers have.
    pub(super) fn weights(&self) -> usize {
        self.layers.iter().map(Layer::weights).sum()
    }

    /// Computes the state of each token after the last block; they stand in the matrix that it returns.
    ///
    /// # Safety
    /// All members of the team call it alike with the same workspace, which holds the batch and which
    /// nobody else uses. Every token id and position is one of the model's.
    pub(super) unsafe fn forward<'a>(
        &self,
        worker: &Worker<'_>,
        batch: &Batch,
        workspace: &'a Workspace,
    ) -> &'a Matrix {
        // SAFETY: the team goes through these steps together, and each step's tasks write to rows of
        // their own.
        unsafe {
            self.embedding.embed(worker, batch.tokens(), &workspace.states);
            for layer in &self.layers {
                layer.forward(worker, workspace, batch.sequences());
            }
        }
        &workspace.states
    }
}
