use serde::Serialize;

use crate::checkpoint::CheckpointNames;

/// The sizes of a Qwen2 or Qwen3 body, by the names they have in a transformers `config.json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Qwen2Config {
    /// How many tokens the vocabulary has.
    pub vocab_size: usize,
    /// The width of a token state.
    pub hidden_size: usize,
    /// How many transformer blocks there are.
    pub num_hidden_layers: usize,
    /// How many heads the queries of each attention have.
    pub num_attention_heads: usize,
    /// How many heads its keys and values have; they divide `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// The width of a head, an even number.
    pub head_dim: usize,
    /// The width inside a block's feed-forward network.
    pub intermediate_size: usize,
    /// Added to the mean square in root-mean-square normalisation.
    pub rms_norm_eps: f64,
    /// The base of the rotary position embedding's wavelengths.
    pub rope_theta: f64,
    /// The longest input in tokens.
    pub max_position_embeddings: usize,
    /// Whether the projections to queries, keys and values have a bias, as in Qwen2.
    pub attention_bias: bool,
    /// Whether the projection of what attention gathers has one.
    pub attention_output_bias: bool,
    /// Whether each head's queries and keys are normalised, as in Qwen3.
    pub query_key_norm: bool,
    /// Whether a token sees only itself and those before it.
    pub causal: bool,
}

/// How transformers' Qwen2 and Qwen3 checkpoints call their tensors.
pub(crate) const QWEN2_CHECKPOINT: CheckpointNames =
    CheckpointNames { prefix: "model.", ignored: &["lm_head."] };

impl Qwen2Config {
    /// Says what is wrong with the sizes, if anything is.
    pub(crate) fn problem(&self) -> Option<String> {
        // Far beyond any such model, and small enough that a damaged file cannot exhaust the memory.
        const MOST_LAYERS: usize = 1000;
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("head_dim", self.head_dim),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
        ];
        if let Some((name, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Some(format!("{name} is 0"));
        }
        if self.num_hidden_layers > MOST_LAYERS {
            return Some(format!("num_hidden_layers is {}", self.num_hidden_layers));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Some(format!("head_dim {} is odd", self.head_dim));
        }
        if !self.num_attention_heads.is_multiple_of(self.num_key_value_heads) {
            return Some(format!(
                "num_attention_heads {} is not a multiple of num_key_value_heads {}",
                self.num_attention_heads, self.num_key_value_heads
            ));
        }
        if !(self.rope_theta.is_finite() && self.rope_theta > 0.0) {
            return Some(format!("rope_theta is {}", self.rope_theta));
        }
        None
    }
}
