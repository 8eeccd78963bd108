//! The body of Qwen2 and Qwen3 as encoders.

#![allow(unsafe_code)]

mod layer;
mod rms_norm;
mod rotation;

use layer::{Layer, LayerParts};
use rms_norm::Norm;
use rotation::Rotation;

use super::Precision;
use super::batch::Batch;
use super::body::pack_layers;
use super::kernels::Kernels;
use super::matrix::Matrix;
use super::profile::Stage;
use super::team::{Member, Team};
use super::worker::Worker;
use super::workspace::{Widths, Workspace};
use crate::checkpoint::{Checkpoint, Tensor};
use crate::{Qwen2Config, Result};

/// The weights of a Qwen2 or Qwen3.
#[derive(Debug)]
pub(super) struct Qwen2 {
    /// `[vocab_size, hidden_size]`, left in the file: a call reads few of its rows.
    words: Option<Tensor>,
    rotation: Rotation,
    layers: Vec<Layer>,
    norm: Norm,
    widths: Widths,
}

impl Qwen2 {
    pub(super) fn load(
        mut checkpoint: Checkpoint,
        config: &Qwen2Config,
        precision: Precision,
        kernels: &Kernels,
        team: &Team,
    ) -> Result<Self> {
        let Qwen2Config { vocab_size, hidden_size, head_dim, .. } = *config;
        let words = checkpoint.take("embed_tokens.weight", &[vocab_size, hidden_size]);
        let parts: Vec<LayerParts> = (0..config.num_hidden_layers)
            .map(|index| LayerParts::take(&mut checkpoint, config, index))
            .collect();
        let norm = Norm::take(&mut checkpoint, "norm", hidden_size, config.rms_norm_eps, 1.0);
        checkpoint.finish()?;
        let layers = pack_layers(team, parts, |parts| {
            Layer::pack(parts, config, precision, kernels, Member::alone())
        });
        let widths = Widths {
            hidden: hidden_size,
            intermediate: config.intermediate_size,
            attention: layer::attention(config),
            rotation: head_dim,
            widest_input: layer::output_precision(precision),
        };
        let rotation = Rotation::new(head_dim, config.rope_theta);
        Ok(Self { words, rotation, layers, norm, widths })
    }

    pub(super) fn widths(&self) -> Widths {
        self.widths
    }

    /// How many weights the linear layers have.
    pub(super) fn weights(&self) -> usize {
        self.layers.iter().map(Layer::weights).sum()
    }

    /// Computes the state of each token after the last block, normalised; they stand in the matrix that
    /// it returns.
    ///
    /// # Safety
    /// All members of the team call it alike with the same workspace, which holds the batch and which
    /// nobody else uses. Every token id is one of the model's.
    pub(super) unsafe fn forward<'a>(
        &self,
        worker: &Worker<'_>,
        batch: &Batch,
        workspace: &'a Workspace,
    ) -> &'a Matrix {
        let Workspace { states, attended, rotations, .. } = workspace;
        let tokens = batch.tokens();
        // SAFETY: the team goes through these steps together, and each step's tasks write to rows of
        // their own.
        unsafe {
            worker.for_each(Stage::Embedding, tokens.len(), |row| {
                if let Some(words) = &self.words {
                    let state = states.row_mut(row, 0..self.widths.hidden);
                    words.read_row(tokens[row].id as usize, state);
                }
            });
            self.rotation.prepare(worker, tokens, rotations);
            for layer in &self.layers {
                layer.forward(worker, workspace, batch.sequences());
            }
            self.norm.apply(worker, 0..tokens.len(), states, attended);
        }
        attended
    }
}
