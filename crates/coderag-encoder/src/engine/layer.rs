#![allow(unsafe_code)]

use std::ops::Range;

use super::Precision;
use super::attention::attend;
use super::elementwise::LayerNorm;
use super::kernels::Kernels;
use super::linear::{Activation, Linear, LinearPart};
use super::matrix::Matrix;
use super::profile::Stage;
use super::team::Member;
use super::worker::Worker;
use super::workspace::Workspace;
use crate::BertConfig;
use crate::checkpoint::Checkpoint;

/// One transformer block with normalisation after each residual sum (post-LN).
#[derive(Debug)]
pub(super) struct Layer {
    /// Queries, keys and values in one; the queries divided by the root of the head size.
    projection: Linear,
    attention_output: Linear,
    attention_norm: Norm,
    intermediate: Linear,
    output: Linear,
    output_norm: Norm,
    hidden_size: usize,
    heads: usize,
}

/// What of a layer has been read from a checkpoint, before the weights are laid out.
pub(super) struct LayerParts {
    projection: [LinearPart; 3],
    attention_output: [LinearPart; 1],
    attention_norm: Norm,
    intermediate: [LinearPart; 1],
    output: [LinearPart; 1],
    output_norm: Norm,
}

impl LayerParts {
    pub(super) fn take(checkpoint: &mut Checkpoint, config: &BertConfig, index: usize) -> Self {
        let BertConfig { hidden_size, intermediate_size, num_attention_heads, .. } = *config;
        let scale = 1.0 / ((hidden_size / num_attention_heads) as f32).sqrt();
        let name = |part: &str| format!("encoder.layer.{index}.{part}");
        let mut linear = |part: &str, sizes: [usize; 2], factor: f32| {
            LinearPart::take(checkpoint, &name(part), sizes, factor)
        };
        let square = [hidden_size; 2];
        Self {
            projection: [
                linear("attention.self.query", square, scale),
                linear("attention.self.key", square, 1.0),
                linear("attention.self.value", square, 1.0),
            ],
            attention_output: [linear("attention.output.dense", square, 1.0)],
            intermediate: [linear("intermediate.dense", [intermediate_size, hidden_size], 1.0)],
            output: [linear("output.dense", [hidden_size, intermediate_size], 1.0)],
            attention_norm: Norm::take(checkpoint, &name("attention.output.LayerNorm"), config),
            output_norm: Norm::take(checkpoint, &name("output.LayerNorm"), config),
        }
    }
}

impl Layer {
    pub(super) fn pack(
        parts: LayerParts,
        config: &BertConfig,
        precision: Precision,
        kernels: &Kernels,
        member: Member<'_>,
    ) -> Self {
        let BertConfig { hidden_size, intermediate_size, .. } = *config;
        let pack =
            |parts: &[LinearPart], inputs| Linear::pack(parts, inputs, precision, kernels, member);
        Self {
            projection: pack(&parts.projection, hidden_size),
            attention_output: pack(&parts.attention_output, hidden_size),
            attention_norm: parts.attention_norm,
            intermediate: pack(&parts.intermediate, hidden_size),
            output: pack(&parts.output, intermediate_size),
            output_norm: parts.output_norm,
            hidden_size,
            heads: config.num_attention_heads,
        }
    }

    /// Replaces the states of all tokens by those after this block.
    ///
    /// # Safety
    /// All members of the team call it alike, and nobody else uses the workspace.
    pub(super) unsafe fn forward(
        &self,
        worker: &Worker<'_>,
        workspace: &Workspace,
        sequences: &[Range<usize>],
    ) {
        let tokens = sequences.last().map_or(0, |last| last.end);
        let Workspace { states, projected, prepared, .. } = workspace;
        // SAFETY: the team goes through these steps together, and each step's tasks write to rows and
        // columns of their own.
        unsafe {
            let all = 0..tokens;
            self.projection.apply(
                worker,
                all.clone(),
                states,
                prepared,
                projected,
                Activation::None,
            );
            attend(worker, workspace, sequences, [self.hidden_size, self.heads]);
            if worker.is_alone() {
                // A few rows go through the rest of the block before the next, and stay in the cache.
                for start in (0..tokens).step_by(ROWS_AT_ONCE) {
                    let rows = start..tokens.min(start + ROWS_AT_ONCE);
                    self.finish(worker, workspace, rows);
                }
            } else {
                self.finish(worker, workspace, all);
            }
        }
    }

    /// What follows attention, for some rows.
    ///
    /// # Safety
    /// As [`Layer::forward`].
    unsafe fn finish(&self, worker: &Worker<'_>, workspace: &Workspace, rows: Range<usize>) {
        let Workspace { states, context, attended, expanded, prepared, .. } = workspace;
        let apply = |linear: &Linear, input: &Matrix, output: &Matrix, activation: Activation| {
            // SAFETY: as in `forward`.
            unsafe {
                linear.apply(worker, rows.clone(), input, prepared, output, activation);
            }
        };
        let normalize = |norm: &Norm, sums: &Matrix, residual: &Matrix| {
            // SAFETY: as in `forward`.
            unsafe { norm.apply(worker, rows.clone(), sums, residual) }
        };
        apply(&self.attention_output, context, attended, Activation::None);
        normalize(&self.attention_norm, attended, states);
        apply(&self.intermediate, attended, expanded, Activation::Gelu);
        apply(&self.output, expanded, states, Activation::None);
        normalize(&self.output_norm, states, attended);
    }
}

/// The rows that go through a block's feed-forward network together when a thread works alone: few
/// enough for the second-level cache, many enough that reading the weights costs little.
const ROWS_AT_ONCE: usize = 112;

/// A layer normalisation.
#[derive(Debug)]
pub(super) struct Norm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    epsilon: f32,
}

impl Norm {
    pub(super) fn take(checkpoint: &mut Checkpoint, name: &str, config: &BertConfig) -> Self {
        let mut vector =
            |part| checkpoint.take_vector(&format!("{name}.{part}"), config.hidden_size);
        Self {
            weight: vector("weight"),
            bias: vector("bias"),
            epsilon: config.layer_norm_eps as f32,
        }
    }

    pub(super) fn view(&self) -> LayerNorm<'_> {
        LayerNorm { weight: &self.weight, bias: &self.bias, epsilon: self.epsilon }
    }

    /// Adds the residual to some rows and normalises them.
    ///
    /// # Safety
    /// All members of the team call it alike, and nobody else uses the rows or writes to the residual.
    unsafe fn apply(
        &self,
        worker: &Worker<'_>,
        rows: Range<usize>,
        sums: &Matrix,
        residual: &Matrix,
    ) {
        let columns = 0..self.weight.len();
        worker.for_each(Stage::Normalization, rows.len(), |row| {
            let row = rows.start + row;
            // SAFETY: each task has its own row.
            unsafe {
                let residual = residual.row(row, columns.clone());
                let sums = sums.row_mut(row, columns.clone());
                worker.kernels.add_and_normalize(sums, residual, self.view());
            }
        });
    }
}
