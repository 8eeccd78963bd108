use burn::module::Module;
use burn::nn::{Dropout, EmbeddingConfig, LinearConfig, RmsNorm, RmsNormConfig};
use burn::tensor::activation::{silu, softmax};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};
use serde::Serialize;

use crate::TokenBatch;
use crate::architecture::unusable_size;
use crate::checkpoint::CheckpointNames;
use crate::forward_pass::ForwardPass;
use crate::lora::{LoraEmbedding, LoraLinear, LoraModel, LoraSlot};
use crate::matrix_precision::MatrixPrecision;
use crate::rotary_embedding::RotaryEmbedding;
use crate::weights::{ModuleNames, checkpoint_name};

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
        if let Some(problem) = unusable_size(&sizes, self.num_hidden_layers) {
            return Some(problem);
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
        // No file agrees with such sizes, but their product could pass for a small one.
        if self.num_attention_heads.checked_mul(self.head_dim).is_none() {
            return Some(format!(
                "num_attention_heads {} times head_dim {} is too large",
                self.num_attention_heads, self.head_dim
            ));
        }
        if !(self.rms_norm_eps.is_finite() && self.rms_norm_eps > 0.0) {
            return Some(format!("rms_norm_eps is {}", self.rms_norm_eps));
        }
        if !(self.rope_theta.is_finite() && self.rope_theta > 0.0) {
            return Some(format!("rope_theta is {}", self.rope_theta));
        }
        None
    }

    /// A body with random weights, which are drawn when they are first used.
    pub fn init<B: Backend>(&self, device: &B::Device) -> Qwen2<B> {
        Qwen2 {
            token_embeddings: EmbeddingConfig::new(self.vocab_size, self.hidden_size)
                .init(device)
                .into(),
            layers: (0..self.num_hidden_layers).map(|_| self.layer(device)).collect(),
            norm: self.norm(self.hidden_size, device),
            rope_theta: self.rope_theta,
            head_dim: self.head_dim,
            causal: self.causal,
        }
    }

    fn layer<B: Backend>(&self, device: &B::Device) -> Qwen2Layer<B> {
        let linear = |input, output, bias| {
            LinearConfig::new(input, output).with_bias(bias).init(device).into()
        };
        let hidden = self.hidden_size;
        // Of a damaged file, sizes may be anything; tensors of such sizes are then missing.
        let query = self.num_attention_heads.saturating_mul(self.head_dim);
        let key_value = self.num_key_value_heads.saturating_mul(self.head_dim);
        let head_norm = || self.query_key_norm.then(|| self.norm(self.head_dim, device));
        Qwen2Layer {
            attention_norm: self.norm(hidden, device),
            query: linear(hidden, query, self.attention_bias),
            key: linear(hidden, key_value, self.attention_bias),
            value: linear(hidden, key_value, self.attention_bias),
            query_norm: head_norm(),
            key_norm: head_norm(),
            attention_output: linear(query, hidden, self.attention_output_bias),
            feed_forward_norm: self.norm(hidden, device),
            gate: linear(hidden, self.intermediate_size, false),
            up: linear(hidden, self.intermediate_size, false),
            down: linear(self.intermediate_size, hidden, false),
            attention_dropout: Dropout { prob: 0.0 },
            heads: self.num_attention_heads,
            key_value_heads: self.num_key_value_heads,
            head_dim: self.head_dim,
            precision: MatrixPrecision::default(),
        }
    }

    fn norm<B: Backend>(&self, size: usize, device: &B::Device) -> RmsNorm<B> {
        RmsNormConfig::new(size).with_epsilon(self.rms_norm_eps).init(device)
    }
}

/// The checkpoints' names of the parameters of [`Qwen2`].
pub(crate) const QWEN2_MODULES: ModuleNames = &[
    ("token_embeddings", "embed_tokens"),
    ("attention_norm", "input_layernorm"),
    ("query", "self_attn.q_proj"),
    ("key", "self_attn.k_proj"),
    ("value", "self_attn.v_proj"),
    ("query_norm", "self_attn.q_norm"),
    ("key_norm", "self_attn.k_norm"),
    ("attention_output", "self_attn.o_proj"),
    ("feed_forward_norm", "post_attention_layernorm"),
    ("gate", "mlp.gate_proj"),
    ("up", "mlp.up_proj"),
    ("down", "mlp.down_proj"),
];

/// The most queries whose attention scores are in memory at once.
const QUERY_BLOCK: usize = 512;

/// The body of "Qwen2 Technical Report" (Yang et al., 2024) and, with its norms of queries and keys, of
/// "Qwen3 Technical Report" (Yang et al., 2025), as in transformers' `Qwen2Model` and `Qwen3Model`,
/// without cache and sliding window.
#[derive(Module, Debug)]
pub struct Qwen2<B: Backend> {
    token_embeddings: LoraEmbedding<B>,
    layers: Vec<Qwen2Layer<B>>,
    norm: RmsNorm<B>,
    rope_theta: f64,
    head_dim: usize,
    causal: bool,
}

impl<B: Backend> Qwen2<B> {
    /// The state of every token after the last block and its norm, `[batch, tokens, hidden_size]`; what
    /// stands at padded positions means nothing.
    pub fn forward(&self, batch: &TokenBatch<B>) -> Tensor<B, 3> {
        self.pass(batch).run()
    }

    /// [`forward`](Self::forward) in steps.
    pub(crate) fn pass(&self, batch: &TokenBatch<B>) -> Qwen2Pass<'_, B> {
        let [sequences, tokens] = batch.shape();
        let input_ids = batch.input_ids();
        let device = input_ids.device();
        let rotary = RotaryEmbedding::new(tokens, self.head_dim, self.rope_theta, &device);
        let visibility = if self.causal {
            // Padding is behind all tokens that count, so none of them sees it.
            Visibility::Past(hidden_future(tokens, &device))
        } else {
            let bias = batch.padding_bias();
            Visibility::All(bias.map(|bias| bias.reshape([sequences, 1, 1, tokens])))
        };
        Qwen2Pass { qwen2: self, input_ids, rotary, visibility }
    }

    /// Has the products of attention computed in this format.
    pub(crate) fn set_attention_precision(&mut self, precision: MatrixPrecision) {
        for layer in &mut self.layers {
            layer.precision = precision;
        }
    }

    /// Leaves attention's probabilities out at random where the backend differentiates, as transformers does
    /// with `attention_dropout`; from 0 to below 1.
    #[must_use]
    pub fn with_attention_dropout(mut self, probability: f64) -> Self {
        for layer in &mut self.layers {
            layer.attention_dropout.prob = probability;
        }
        self
    }
}

/// A [`Qwen2`] and a batch. As in BERT, blocks work on `[batch * tokens, dim]`.
pub(crate) struct Qwen2Pass<'a, B: Backend> {
    qwen2: &'a Qwen2<B>,
    input_ids: Tensor<B, 2, Int>,
    rotary: RotaryEmbedding<B>,
    visibility: Visibility<B>,
}

impl<B: Backend> ForwardPass<B> for Qwen2Pass<'_, B> {
    fn embeddings(&self) -> Tensor<B, 2> {
        self.qwen2.token_embeddings.forward(self.input_ids.clone()).flatten(0, 1)
    }

    fn layers(&self) -> usize {
        self.qwen2.layers.len()
    }

    fn layer(&self, index: usize, states: Tensor<B, 2>) -> Tensor<B, 2> {
        let layer = &self.qwen2.layers[index];
        layer.forward(states, self.input_ids.dims(), &self.rotary, &self.visibility)
    }

    fn finish(&self, states: Tensor<B, 2>) -> Tensor<B, 3> {
        let ([sequences, tokens], [_, hidden_size]) = (self.input_ids.dims(), states.dims());
        self.qwen2.norm.forward(states).reshape([sequences, tokens, hidden_size])
    }
}

impl<B: Backend> LoraModel<B> for Qwen2<B> {
    fn lora_slots(&mut self) -> Vec<(String, LoraSlot<'_, B>)> {
        let name = |field| checkpoint_name(QWEN2_MODULES, field);
        let embeddings = (&mut self.token_embeddings).into();
        let mut slots = vec![(name("token_embeddings").to_owned(), embeddings)];
        for (index, layer) in self.layers.iter_mut().enumerate() {
            let linears = [
                ("query", &mut layer.query),
                ("key", &mut layer.key),
                ("value", &mut layer.value),
                ("attention_output", &mut layer.attention_output),
                ("gate", &mut layer.gate),
                ("up", &mut layer.up),
                ("down", &mut layer.down),
            ];
            for (field, linear) in linears {
                slots.push((format!("layers.{index}.{}", name(field)), linear.into()));
            }
        }
        slots
    }
}

/// Which tokens a token attends to.
pub(crate) enum Visibility<B: Backend> {
    /// Itself and those before it; the bias is [`hidden_future`]'s.
    Past(Tensor<B, 2>),
    /// Every token of its sequence; the bias, `[batch, 1, 1, tokens]`, hides padding where there is any.
    All(Option<Tensor<B, 4>>),
}

/// Minus infinity where a query must not see a key, 0 elsewhere, for the last [`QUERY_BLOCK`] queries of
/// `tokens`: `[min(QUERY_BLOCK, tokens), tokens]`. Earlier queries find theirs further right in the same
/// tensor, see [`Visibility::hide`].
fn hidden_future<B: Backend>(tokens: usize, device: &B::Device) -> Tensor<B, 2> {
    let queries = tokens.min(QUERY_BLOCK);
    let mut values = Vec::with_capacity(queries * tokens);
    for row in 0..queries {
        values.resize(row * tokens + tokens - queries + row + 1, 0.0);
        values.resize((row + 1) * tokens, f32::NEG_INFINITY);
    }
    Tensor::from_data(TensorData::new(values, [queries, tokens]), device)
}

impl<B: Backend> Visibility<B> {
    /// How many keys, from the first on, the queries before `end` see of all `tokens`.
    fn keys(&self, end: usize, tokens: usize) -> usize {
        match self {
            Self::Past(_) => end,
            Self::All(_) => tokens,
        }
    }

    /// Takes hidden keys out of attention scores, `[batch, heads, queries, keys]`, of consecutive queries;
    /// the keys are those of [`Self::keys`].
    fn hide(&self, scores: Tensor<B, 4>) -> Tensor<B, 4> {
        let [_, _, queries, keys] = scores.dims();
        match self {
            Self::Past(bias) => {
                // The last query sees all keys, the one before all but one, and so on: the lower right
                // corner, whatever the block.
                let [rows, columns] = bias.dims();
                let bias = bias.clone().narrow(0, rows - queries, queries);
                scores + bias.narrow(1, columns - keys, keys).unsqueeze()
            }
            Self::All(Some(bias)) => scores + bias.clone(),
            Self::All(None) => scores,
        }
    }
}

/// One transformer block with normalisation before each of its two parts (pre-norm).
#[derive(Module, Debug)]
struct Qwen2Layer<B: Backend> {
    attention_norm: RmsNorm<B>,
    query: LoraLinear<B>,
    key: LoraLinear<B>,
    value: LoraLinear<B>,
    /// Qwen3's, over each head.
    query_norm: Option<RmsNorm<B>>,
    key_norm: Option<RmsNorm<B>>,
    attention_output: LoraLinear<B>,
    feed_forward_norm: RmsNorm<B>,
    gate: LoraLinear<B>,
    up: LoraLinear<B>,
    down: LoraLinear<B>,
    attention_dropout: Dropout,
    heads: usize,
    key_value_heads: usize,
    head_dim: usize,
    #[module(skip)]
    precision: MatrixPrecision,
}

impl<B: Backend> Qwen2Layer<B> {
    /// `[batch * tokens, hidden_size]` to the same.
    fn forward(
        &self,
        states: Tensor<B, 2>,
        shape: [usize; 2],
        rotary: &RotaryEmbedding<B>,
        visibility: &Visibility<B>,
    ) -> Tensor<B, 2> {
        let normed = self.attention_norm.forward(states.clone());
        let attended = self.attend(normed, shape, rotary, visibility);
        let states = states + self.attention_output.forward(attended);
        let normed = self.feed_forward_norm.forward(states.clone());
        // SwiGLU of "GLU Variants Improve Transformer" (Shazeer, 2020).
        let gated = silu(self.gate.forward(normed.clone())) * self.up.forward(normed);
        states + self.down.forward(gated)
    }

    /// Grouped-query self-attention ("GQA", Ainslie et al., 2023) before its output projection,
    /// `[batch * tokens, heads * head_dim]`: `heads / key_value_heads` consecutive query heads share a head
    /// of keys and values.
    fn attend(
        &self,
        states: Tensor<B, 2>,
        [sequences, tokens]: [usize; 2],
        rotary: &RotaryEmbedding<B>,
        visibility: &Visibility<B>,
    ) -> Tensor<B, 2> {
        let Self { heads, key_value_heads, head_dim, .. } = *self;
        // [batch * tokens, heads * head_dim] to [batch, heads, tokens, head_dim].
        let split = |projected: Tensor<B, 2>, heads, norm: &Option<RmsNorm<B>>| {
            let split = projected.reshape([sequences, tokens, heads, head_dim]);
            let split = match norm {
                Some(norm) => norm.forward(split),
                None => split,
            };
            split.swap_dims(1, 2)
        };
        let query = split(self.query.forward(states.clone()), heads, &self.query_norm);
        let key = split(self.key.forward(states.clone()), key_value_heads, &self.key_norm);
        let value = split(self.value.forward(states), key_value_heads, &None);
        // Scaling the queries costs less than scaling the scores and gives the same.
        let query = rotary.rotate(query) / (head_dim as f64).sqrt();
        let key = rotary.rotate(key);

        let mut blocks = Vec::with_capacity(tokens.div_ceil(QUERY_BLOCK));
        for start in (0..tokens).step_by(QUERY_BLOCK) {
            let queries = QUERY_BLOCK.min(tokens - start);
            let keys = visibility.keys(start + queries, tokens);
            // The query heads of a group, one below the other, are one matrix against their shared keys, so
            // keys and values need no copies.
            let shared = [sequences, key_value_heads, heads / key_value_heads * queries];
            let [sequences, groups, rows] = shared;
            let query = query.clone().narrow(2, start, queries);
            let query = query.reshape([sequences, groups, rows, head_dim]);
            let keys_seen = key.clone().narrow(2, 0, keys).transpose();
            let scores = self.precision.product(query, keys_seen);
            let scores = visibility.hide(scores.reshape([sequences, heads, queries, keys]));
            let weights = self.attention_dropout.forward(softmax(scores, 3));
            let weights = weights.reshape([sequences, groups, rows, keys]);
            let context = self.precision.product(weights, value.clone().narrow(2, 0, keys));
            blocks.push(context.reshape([sequences, heads, queries, head_dim]));
        }
        let context = Tensor::cat(blocks, 2).swap_dims(1, 2);
        context.reshape([sequences * tokens, heads * head_dim])
    }
}
