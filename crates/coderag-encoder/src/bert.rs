use burn::module::Module;
use burn::nn::{Dropout, EmbeddingConfig, LayerNorm, LayerNormConfig, LinearConfig};
use burn::tensor::activation::{gelu, softmax};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor};
use serde::{Deserialize, Serialize};

use crate::TokenBatch;
use crate::architecture::unusable_size;
use crate::checkpoint::CheckpointNames;
use crate::forward_pass::ForwardPass;
use crate::lora::{LoraEmbedding, LoraLinear, LoraModel, LoraSlot};
use crate::matrix_precision::MatrixPrecision;
use crate::weights::{ModuleNames, checkpoint_name};

/// The sizes of a BERT, by the names they have in a transformers `config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BertConfig {
    /// How many tokens the vocabulary has.
    pub vocab_size: usize,
    /// The width of a token state.
    pub hidden_size: usize,
    /// How many transformer blocks there are.
    pub num_hidden_layers: usize,
    /// How many heads each attention has; they divide `hidden_size`.
    pub num_attention_heads: usize,
    /// The width inside a block's feed-forward network.
    pub intermediate_size: usize,
    /// How many positions have an embedding.
    #[serde(default = "default_max_position_embeddings")]
    pub max_position_embeddings: usize,
    /// How many kinds of segment have an embedding.
    #[serde(default = "default_type_vocab_size")]
    pub type_vocab_size: usize,
    /// Added to the variance in layer normalisation.
    #[serde(default = "default_layer_norm_eps")]
    pub layer_norm_eps: f64,
    /// The padding token of a RoBERTa, whose positions are counted from the number after it; such tokens
    /// in a text are not counted. A BERT has none and counts from 0.
    #[serde(skip_deserializing)]
    pub padding_token: Option<u32>,
}

// What transformers assumes where config.json says nothing.
fn default_max_position_embeddings() -> usize {
    512
}

fn default_type_vocab_size() -> usize {
    2
}

fn default_layer_norm_eps() -> f64 {
    1e-12
}

impl BertConfig {
    /// The longest input in tokens.
    pub fn max_tokens(&self) -> usize {
        self.max_position_embeddings - self.first_position()
    }

    /// The position of a text's first token.
    fn first_position(&self) -> usize {
        self.padding_token.map_or(0, |padding| padding as usize + 1)
    }

    /// The position of each token, as transformers' `create_position_ids_from_input_ids`.
    pub(crate) fn positions<'a>(&self, ids: &'a [u32]) -> impl Iterator<Item = u32> + use<'a> {
        let padding = self.padding_token;
        let mut next = self.first_position() as u32;
        ids.iter().map(move |&id| match padding {
            Some(padding) if id == padding => padding,
            _ => {
                next += 1;
                next - 1
            }
        })
    }

    /// Says what is wrong with the sizes, if anything is.
    pub(crate) fn problem(&self) -> Option<String> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
        ];
        if let Some(problem) = unusable_size(&sizes, self.num_hidden_layers) {
            return Some(problem);
        }
        if self.max_position_embeddings <= self.first_position() {
            return Some(format!(
                "max_position_embeddings {} leaves none after pad_token_id",
                self.max_position_embeddings
            ));
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Some(format!(
                "hidden_size {} is not a multiple of num_attention_heads {}",
                self.hidden_size, self.num_attention_heads
            ));
        }
        None
    }

    /// A BERT with random weights, which are drawn when they are first used.
    pub fn init<B: Backend>(&self, device: &B::Device) -> Bert<B> {
        let embedding = |count| EmbeddingConfig::new(count, self.hidden_size).init(device).into();
        Bert {
            word_embeddings: embedding(self.vocab_size),
            position_embeddings: embedding(self.max_position_embeddings),
            token_type_embeddings: embedding(self.type_vocab_size),
            embedding_norm: self.layer_norm(device),
            dropout: Dropout { prob: 0.0 },
            layers: (0..self.num_hidden_layers).map(|_| self.layer(device)).collect(),
            padding_token: self.padding_token,
        }
    }

    fn layer<B: Backend>(&self, device: &B::Device) -> BertLayer<B> {
        let linear = |input, output| LinearConfig::new(input, output).init(device).into();
        BertLayer {
            query: linear(self.hidden_size, self.hidden_size),
            key: linear(self.hidden_size, self.hidden_size),
            value: linear(self.hidden_size, self.hidden_size),
            attention_output: linear(self.hidden_size, self.hidden_size),
            attention_norm: self.layer_norm(device),
            intermediate: linear(self.hidden_size, self.intermediate_size),
            output: linear(self.intermediate_size, self.hidden_size),
            output_norm: self.layer_norm(device),
            dropout: Dropout { prob: 0.0 },
            attention_dropout: Dropout { prob: 0.0 },
            heads: self.num_attention_heads,
            precision: MatrixPrecision::default(),
        }
    }

    fn layer_norm<B: Backend>(&self, device: &B::Device) -> LayerNorm<B> {
        LayerNormConfig::new(self.hidden_size).with_epsilon(self.layer_norm_eps).init(device)
    }
}

/// How transformers' BERT checkpoints call their tensors.
pub(crate) const BERT_CHECKPOINT: CheckpointNames = CheckpointNames {
    prefix: "bert.",
    // The pooler serves next-sentence prediction; the position ids are 0, 1, 2 and so on.
    ignored: &["pooler.", "embeddings.position_ids"],
};

/// How transformers' RoBERTa checkpoints call their tensors.
pub(crate) const ROBERTA_CHECKPOINT: CheckpointNames =
    CheckpointNames { prefix: "roberta.", ..BERT_CHECKPOINT };

/// How checkpoints call the fields of [`Bert`].
pub(crate) const BERT_MODULES: ModuleNames = &[
    ("word_embeddings", "embeddings.word_embeddings"),
    ("position_embeddings", "embeddings.position_embeddings"),
    ("token_type_embeddings", "embeddings.token_type_embeddings"),
    ("embedding_norm", "embeddings.LayerNorm"),
    ("layers", "encoder.layer"),
    ("query", "attention.self.query"),
    ("key", "attention.self.key"),
    ("value", "attention.self.value"),
    ("attention_output", "attention.output.dense"),
    ("attention_norm", "attention.output.LayerNorm"),
    ("intermediate", "intermediate.dense"),
    ("output", "output.dense"),
    ("output_norm", "output.LayerNorm"),
];

/// The encoder of "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding"
/// (Devlin et al., 2019), as in transformers' `BertModel`, without its pooler.
#[derive(Module, Debug)]
pub struct Bert<B: Backend> {
    word_embeddings: LoraEmbedding<B>,
    position_embeddings: LoraEmbedding<B>,
    token_type_embeddings: LoraEmbedding<B>,
    embedding_norm: LayerNorm<B>,
    dropout: Dropout,
    layers: Vec<BertLayer<B>>,
    #[module(skip)]
    padding_token: Option<u32>,
}

impl<B: Backend> Bert<B> {
    /// The state of every token after the last block, `[batch, tokens, hidden_size]`; what stands at
    /// padded positions means nothing. Every token is of segment 0.
    ///
    /// No sequence may be longer than [`BertConfig::max_tokens`].
    pub fn forward(&self, batch: &TokenBatch<B>) -> Tensor<B, 3> {
        self.pass(batch).run()
    }

    /// [`forward`](Self::forward) in steps.
    pub(crate) fn pass(&self, batch: &TokenBatch<B>) -> BertPass<'_, B> {
        let [sequences, tokens] = batch.shape();
        let bias = batch.padding_bias();
        let bias = bias.map(|bias| bias.reshape([sequences, 1, 1, tokens]));
        BertPass { bert: self, input_ids: batch.input_ids(), bias }
    }

    /// Leaves values out at random where the backend differentiates, at transformers' places: of the
    /// normalised embeddings and of what attention and feed-forward network add to the states with the
    /// probability `hidden`, of attention's probabilities with `attention`; both from 0 to below 1.
    #[must_use]
    pub fn with_dropout(mut self, hidden: f64, attention: f64) -> Self {
        self.dropout.prob = hidden;
        for layer in &mut self.layers {
            layer.dropout.prob = hidden;
            layer.attention_dropout.prob = attention;
        }
        self
    }

    /// Has the products of attention computed in this format.
    pub(crate) fn set_attention_precision(&mut self, precision: MatrixPrecision) {
        for layer in &mut self.layers {
            layer.precision = precision;
        }
    }

    /// The sum of the three embeddings, normalised, `[batch * tokens, hidden_size]`.
    fn embed(&self, input_ids: Tensor<B, 2, Int>) -> Tensor<B, 2> {
        let [_, tokens] = input_ids.dims();
        let segment = self.token_type_embeddings.first_rows(1);
        let positions: Tensor<B, 3> = match self.padding_token {
            None => self.position_embeddings.first_rows(tokens).unsqueeze(),
            Some(padding) => {
                // As `BertConfig::positions`.
                let counted = input_ids.clone().not_equal_elem(padding).int();
                let positions = counted.clone().cumsum(1) * counted + i64::from(padding);
                self.position_embeddings.forward(positions)
            }
        };
        let states = self.word_embeddings.forward(input_ids) + (positions + segment.unsqueeze());
        self.dropout.forward(self.embedding_norm.forward(states.flatten(0, 1)))
    }
}

/// A [`Bert`] and a batch. Blocks work on `[batch * tokens, dim]`: a matrix product of a 3-D input would be one
/// product for each sequence.
pub(crate) struct BertPass<'a, B: Backend> {
    bert: &'a Bert<B>,
    input_ids: Tensor<B, 2, Int>,
    /// Hides padding, `[batch, 1, 1, tokens]`.
    bias: Option<Tensor<B, 4>>,
}

impl<B: Backend> ForwardPass<B> for BertPass<'_, B> {
    fn embeddings(&self) -> Tensor<B, 2> {
        self.bert.embed(self.input_ids.clone())
    }

    fn layers(&self) -> usize {
        self.bert.layers.len()
    }

    fn layer(&self, index: usize, states: Tensor<B, 2>) -> Tensor<B, 2> {
        self.bert.layers[index].forward(states, self.input_ids.dims(), self.bias.as_ref())
    }

    fn finish(&self, states: Tensor<B, 2>) -> Tensor<B, 3> {
        let ([sequences, tokens], [_, hidden_size]) = (self.input_ids.dims(), states.dims());
        states.reshape([sequences, tokens, hidden_size])
    }
}

impl<B: Backend> LoraModel<B> for Bert<B> {
    fn lora_slots(&mut self) -> Vec<(String, LoraSlot<'_, B>)> {
        let name = |field| checkpoint_name(BERT_MODULES, field);
        let embeddings = [
            ("word_embeddings", &mut self.word_embeddings),
            ("position_embeddings", &mut self.position_embeddings),
            ("token_type_embeddings", &mut self.token_type_embeddings),
        ];
        let mut slots: Vec<(String, LoraSlot<'_, B>)> = Vec::new();
        for (field, embedding) in embeddings {
            slots.push((name(field).to_owned(), embedding.into()));
        }
        for (index, layer) in self.layers.iter_mut().enumerate() {
            let linears = [
                ("query", &mut layer.query),
                ("key", &mut layer.key),
                ("value", &mut layer.value),
                ("attention_output", &mut layer.attention_output),
                ("intermediate", &mut layer.intermediate),
                ("output", &mut layer.output),
            ];
            for (field, linear) in linears {
                let module = format!("{}.{index}.{}", name("layers"), name(field));
                slots.push((module, linear.into()));
            }
        }
        slots
    }
}

/// One transformer block with normalisation after each residual sum (post-LN).
#[derive(Module, Debug)]
struct BertLayer<B: Backend> {
    query: LoraLinear<B>,
    key: LoraLinear<B>,
    value: LoraLinear<B>,
    attention_output: LoraLinear<B>,
    attention_norm: LayerNorm<B>,
    intermediate: LoraLinear<B>,
    output: LoraLinear<B>,
    output_norm: LayerNorm<B>,
    dropout: Dropout,
    attention_dropout: Dropout,
    heads: usize,
    #[module(skip)]
    precision: MatrixPrecision,
}

impl<B: Backend> BertLayer<B> {
    /// `[batch * tokens, hidden_size]` to the same; `bias`, `[batch, 1, 1, tokens]`, is added to the
    /// attention scores of each key.
    fn forward(
        &self,
        states: Tensor<B, 2>,
        shape: [usize; 2],
        bias: Option<&Tensor<B, 4>>,
    ) -> Tensor<B, 2> {
        let attended = self.attention_output.forward(self.attend(&states, shape, bias));
        let states = self.attention_norm.forward(self.dropout.forward(attended) + states);
        let expanded = gelu(self.intermediate.forward(states.clone()));
        let output = self.dropout.forward(self.output.forward(expanded));
        self.output_norm.forward(output + states)
    }

    /// Multi-head self-attention before its output projection, `[batch * tokens, hidden_size]`.
    fn attend(
        &self,
        states: &Tensor<B, 2>,
        [sequences, tokens]: [usize; 2],
        bias: Option<&Tensor<B, 4>>,
    ) -> Tensor<B, 2> {
        let [_, hidden_size] = states.dims();
        let head_size = hidden_size / self.heads;
        // [batch * tokens, hidden_size] to [batch, heads, tokens, head_size].
        let split = |projected: Tensor<B, 2>| {
            projected.reshape([sequences, tokens, self.heads, head_size]).swap_dims(1, 2)
        };
        // Scaling the queries costs less than scaling the scores and gives the same.
        let query = self.query.forward(states.clone()) / (head_size as f64).sqrt();
        let key = split(self.key.forward(states.clone()));
        let value = split(self.value.forward(states.clone()));
        let mut scores = self.precision.product(split(query), key.transpose());
        if let Some(bias) = bias {
            scores = scores + bias.clone();
        }
        let weights = self.attention_dropout.forward(softmax(scores, 3));
        let context = self.precision.product(weights, value);
        context.swap_dims(1, 2).reshape([sequences * tokens, hidden_size])
    }
}
