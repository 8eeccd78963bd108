#![allow(unsafe_code)]

use std::ops::Range;

use super::layer_norm::Norm;
use crate::BertConfig;
use crate::checkpoint::Checkpoint;
use crate::engine::Precision;
use crate::engine::attention::{AttentionShape, attend};
use crate::engine::kernels::Kernels;
use crate::engine::linear::{Activation, Linear, LinearPart};
use crate::engine::matrix::Matrix;
use crate::engine::team::Member;
use crate::engine::worker::{MOST_ROWS, Worker};
use crate::engine::workspace::Workspace;

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
    attention: AttentionShape,
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

/// The heads of a model, each with keys and values of its own.
pub(super) fn attention(config: &BertConfig) -> AttentionShape {
    AttentionShape {
        heads: config.num_attention_heads,
        key_value_heads: config.num_attention_heads,
        head_size: config.hidden_size / config.num_attention_heads,
        causal: false,
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
            attention: attention(config),
        }
    }

    /// How many weights the linear layers have.
    pub(super) fn weights(&self) -> usize {
        let linears = [&self.projection, &self.attention_output, &self.intermediate, &self.output];
        linears.map(Linear::weights).iter().sum()
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
            attend(worker, workspace, sequences, self.attention);
            if worker.is_alone() {
                // A few rows go through the rest of the block before the next, and stay in the cache.
                for start in (0..tokens).step_by(MOST_ROWS) {
                    let rows = start..tokens.min(start + MOST_ROWS);
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
