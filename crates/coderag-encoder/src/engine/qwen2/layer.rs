#![allow(unsafe_code)]

use std::ops::Range;

use super::rms_norm::Norm;
use crate::Qwen2Config;
use crate::checkpoint::Checkpoint;
use crate::engine::Precision;
use crate::engine::attention::{AttentionShape, attend};
use crate::engine::gated_linear::GatedLinear;
use crate::engine::kernels::Kernels;
use crate::engine::linear::{Activation, Linear, LinearPart};
use crate::engine::matrix::Matrix;
use crate::engine::profile::Stage;
use crate::engine::team::Member;
use crate::engine::worker::{MOST_ROWS, Worker};
use crate::engine::workspace::Workspace;

/// One transformer block with normalisation before attention and before the feed-forward network, and a
/// residual stream that is never normalised (pre-LN).
#[derive(Debug)]
pub(super) struct Layer {
    attention_norm: Norm,
    /// Queries, keys and values in one.
    projection: Linear,
    /// Qwen3 normalises each head's queries and keys.
    head_norms: Option<HeadNorms>,
    attention: AttentionShape,
    attention_output: Linear,
    feed_forward_norm: Norm,
    gated: GatedLinear,
    output: Linear,
    hidden_size: usize,
}

/// The normalisation of each head of the queries, and of the keys.
#[derive(Debug)]
struct HeadNorms {
    query: Norm,
    key: Norm,
}

/// What of a layer has been read from a checkpoint, before the weights are laid out.
pub(super) struct LayerParts {
    attention_norm: Norm,
    projection: [LinearPart; 3],
    head_norms: Option<HeadNorms>,
    attention_output: [LinearPart; 1],
    feed_forward_norm: Norm,
    gate: [LinearPart; 1],
    up: [LinearPart; 1],
    output: [LinearPart; 1],
}

impl LayerParts {
    pub(super) fn take(checkpoint: &mut Checkpoint, config: &Qwen2Config, index: usize) -> Self {
        let Qwen2Config { hidden_size, intermediate_size, head_dim, rms_norm_eps, .. } = *config;
        let (queries, keys) = (attention(config).query_width(), attention(config).key_width());
        // Attention wants its queries divided by the root of the head size. A rotation keeps a factor; a
        // normalisation does not.
        let scale = 1.0 / (head_dim as f32).sqrt();
        let (query_scale, norm_scale) =
            if config.query_key_norm { (1.0, scale) } else { (scale, 1.0) };
        let name = |part: &str| format!("layers.{index}.{part}");
        let mut norm = |part: &str, size: usize, factor: f32| {
            Norm::take(checkpoint, &name(part), size, rms_norm_eps, factor)
        };
        let attention_norm = norm("input_layernorm", hidden_size, 1.0);
        let feed_forward_norm = norm("post_attention_layernorm", hidden_size, 1.0);
        let head_norms = config.query_key_norm.then(|| HeadNorms {
            query: norm("self_attn.q_norm", head_dim, norm_scale),
            key: norm("self_attn.k_norm", head_dim, 1.0),
        });
        let mut linear = |part: &str, sizes: [usize; 2], bias: bool, factor: f32| {
            if bias {
                LinearPart::take(checkpoint, &name(part), sizes, factor)
            } else {
                LinearPart::take_without_bias(checkpoint, &name(part), sizes, factor)
            }
        };
        let (bias, output_bias) = (config.attention_bias, config.attention_output_bias);
        let inner = [intermediate_size, hidden_size];
        Self {
            attention_norm,
            projection: [
                linear("self_attn.q_proj", [queries, hidden_size], bias, query_scale),
                linear("self_attn.k_proj", [keys, hidden_size], bias, 1.0),
                linear("self_attn.v_proj", [keys, hidden_size], bias, 1.0),
            ],
            head_norms,
            attention_output: [linear(
                "self_attn.o_proj",
                [hidden_size, queries],
                output_bias,
                1.0,
            )],
            feed_forward_norm,
            gate: [linear("mlp.gate_proj", inner, false, 1.0)],
            up: [linear("mlp.up_proj", inner, false, 1.0)],
            output: [linear("mlp.down_proj", [hidden_size, intermediate_size], false, 1.0)],
        }
    }
}

/// How the heads of a model share keys and values.
pub(super) fn attention(config: &Qwen2Config) -> AttentionShape {
    AttentionShape {
        heads: config.num_attention_heads,
        key_value_heads: config.num_key_value_heads,
        head_size: config.head_dim,
        causal: config.causal,
    }
}

/// The precision of a feed-forward network's second layer. A few of its inputs are a hundred times as large
/// as the rest ("LLM.int8()", Dettmers et al., 2022), which 8 bits for a whole token cannot hold.
pub(super) fn output_precision(precision: Precision) -> Precision {
    match precision {
        Precision::Int8 => Precision::Bf16,
        other => other,
    }
}

impl Layer {
    pub(super) fn pack(
        parts: LayerParts,
        config: &Qwen2Config,
        precision: Precision,
        kernels: &Kernels,
        member: Member<'_>,
    ) -> Self {
        let attention = attention(config);
        let (hidden_size, intermediate_size) = (config.hidden_size, config.intermediate_size);
        let pack =
            |parts: &[LinearPart], inputs| Linear::pack(parts, inputs, precision, kernels, member);
        Self {
            attention_norm: parts.attention_norm,
            projection: pack(&parts.projection, hidden_size),
            head_norms: parts.head_norms,
            attention,
            attention_output: pack(&parts.attention_output, attention.query_width()),
            feed_forward_norm: parts.feed_forward_norm,
            gated: GatedLinear {
                gate: pack(&parts.gate, hidden_size),
                up: pack(&parts.up, hidden_size),
            },
            output: Linear::pack(
                &parts.output,
                intermediate_size,
                output_precision(precision),
                kernels,
                member,
            ),
            hidden_size,
        }
    }

    /// How many weights the linear layers have.
    pub(super) fn weights(&self) -> usize {
        let GatedLinear { gate, up } = &self.gated;
        let linears = [&self.projection, &self.attention_output, gate, up, &self.output];
        linears.map(Linear::weights).iter().sum()
    }

    /// Adds what this block computes to the states of all tokens.
    ///
    /// # Safety
    /// All members of the team call it alike, and nobody else uses the workspace, which holds the tokens'
    /// rotations.
    pub(super) unsafe fn forward(
        &self,
        worker: &Worker<'_>,
        workspace: &Workspace,
        sequences: &[Range<usize>],
    ) {
        let tokens = sequences.last().map_or(0, |last| last.end);
        let Workspace { states, attended: normalized, projected, prepared, .. } = workspace;
        // SAFETY: the team goes through these steps together, and each step's tasks write to rows and
        // columns of their own.
        unsafe {
            let all = 0..tokens;
            self.attention_norm.apply(worker, all.clone(), states, normalized);
            self.projection.apply(
                worker,
                all.clone(),
                normalized,
                prepared,
                projected,
                Activation::None,
            );
            self.rotate(worker, all.clone(), workspace);
            attend(worker, workspace, sequences, self.attention);
            if worker.is_alone() {
                // A few rows go through the rest of the block before the next, and stay in the cache.
                for start in all.step_by(MOST_ROWS) {
                    self.finish(worker, workspace, start..tokens.min(start + MOST_ROWS));
                }
            } else {
                self.finish(worker, workspace, all);
            }
        }
    }

    /// Turns the queries and keys of some tokens by their positions.
    ///
    /// # Safety
    /// As [`Layer::forward`].
    unsafe fn rotate(&self, worker: &Worker<'_>, rows: Range<usize>, workspace: &Workspace) {
        let AttentionShape { head_size, .. } = self.attention;
        let queries = self.attention.query_width();
        let turned = 0..queries + self.attention.key_width();
        worker.for_each(Stage::Rotation, rows.len(), |row| {
            let row = rows.start + row;
            // SAFETY: each task has its own row; nobody writes to the rotations.
            let (turned, rotation) = unsafe {
                let turned = workspace.projected.row_mut(row, turned.clone());
                (turned, workspace.rotations.row(row, 0..head_size))
            };
            if let Some(norms) = &self.head_norms {
                let (queries, keys) = turned.split_at_mut(queries);
                for (heads, norm) in [(queries, &norms.query), (keys, &norms.key)] {
                    for head in heads.chunks_exact_mut(head_size) {
                        worker.kernels.normalize_rms(head, norm.view());
                    }
                }
            }
            let (cosines, sines) = rotation.split_at(head_size / 2);
            worker.kernels.rotate(turned, cosines, sines);
        });
    }

    /// What follows attention, for some rows.
    ///
    /// # Safety
    /// As [`Layer::forward`].
    unsafe fn finish(&self, worker: &Worker<'_>, workspace: &Workspace, rows: Range<usize>) {
        let Workspace { states, context, attended, expanded, prepared, gates, .. } = workspace;
        let apply = |linear: &Linear, input: &Matrix| {
            let (rows, activation) = (rows.clone(), Activation::None);
            // SAFETY: as in `forward`.
            unsafe { linear.apply(worker, rows, input, prepared, attended, activation) }
        };
        // SAFETY: as in `forward`.
        unsafe {
            apply(&self.attention_output, context);
            worker.for_each(Stage::Normalization, rows.len(), |row| {
                let row = rows.start + row;
                self.add(worker, row, attended, states);
                self.feed_forward_norm.apply_to_row(worker, row, states, attended);
            });
            self.gated.apply(worker, rows.clone(), attended, prepared, expanded, gates);
            apply(&self.output, expanded);
            worker.for_each(Stage::Normalization, rows.len(), |row| {
                self.add(worker, rows.start + row, attended, states);
            });
        }
    }

    /// Adds a row to that of the states.
    ///
    /// # Safety
    /// Nobody else uses the row of the states or writes to that of the addend.
    unsafe fn add(&self, worker: &Worker<'_>, row: usize, addend: &Matrix, states: &Matrix) {
        let columns = 0..self.hidden_size;
        // SAFETY: the caller vouches for the rows.
        unsafe {
            let state = states.row_mut(row, columns.clone());
            worker.kernels.add_scaled(state, addend.row(row, columns), 1.0);
        }
    }
}
