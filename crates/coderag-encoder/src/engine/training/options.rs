use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::engine::Cpu;

/// How a [`TrainingEngine`](super::TrainingEngine) computes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrainingOptions {
    /// The number format of the large matrix products.
    pub precision: TrainingPrecision,
    /// How many threads work on a call, the caller's included; the number of cores by default.
    pub threads: Option<usize>,
    /// The instruction set of the kernels, or the portable ones on a machine that lacks it;
    /// [`Cpu::detect`] by default.
    pub cpu: Option<Cpu>,
    /// Remember of a forward pass only what enters each layer, and compute the rest again in the backward
    /// pass (gradient checkpointing: Chen et al., 2016): a third more time, much less memory, the same
    /// gradients.
    pub recompute: bool,
    /// What is left out at random.
    pub dropout: Dropout,
}

/// The number format of the products with weights, those of adapters included, and of the model's own
/// weights' gradients. Everything else is f32: parameters, gradients, sums, states, normalisation and attention, and the gradients of adapters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrainingPrecision {
    /// 32-bit floating point, as the reference implementations compute.
    #[default]
    F32,
    /// Operands rounded to bfloat16, sums in f32.
    Bf16,
}

impl TrainingPrecision {
    /// How many values stand in one 32-bit unit of an operand.
    pub(super) fn values_per_unit(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Bf16 => 2,
        }
    }
}

impl fmt::Display for TrainingPrecision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}

impl FromStr for TrainingPrecision {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            _ => Err(format!("`{name}` is not a precision of training; they are f32 and bf16")),
        }
    }
}

/// How likely a value is left out in training (Srivastava et al., 2014), at the places where transformers
/// and PEFT have a dropout; what is kept is scaled up. All 0 by default.
///
/// What is left out depends on the seed of a forward pass and the places of the value and its sequence in
/// the call, on nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Dropout {
    /// `hidden_dropout_prob`: of the normalised embeddings, and of what attention and feed-forward network
    /// add to the states.
    pub hidden: f32,
    /// `attention_probs_dropout_prob`.
    pub attention: f32,
    /// `lora_dropout`: of the inputs of adapters.
    pub adapter: f32,
}

/// What of a model is trained.
#[derive(Clone, Debug, PartialEq)]
pub enum Trainable {
    /// Every parameter.
    Everything,
    /// Low-rank adapters of linear layers; the model's own parameters stay as they are.
    Adapters(Vec<AdapterLayer>),
}

/// A low-rank adapter of a linear layer (LoRA: Hu et al., 2022), which adds `scale * x A^T B^T` to the
/// layer's outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterLayer {
    /// The layer's name in checkpoints, such as `encoder.layer.0.attention.self.query`.
    pub layer: String,
    /// The inner dimension.
    pub rank: usize,
    /// The factor of the product.
    pub scale: f32,
    /// A, `[rank, inputs]`, row by row.
    pub a: Vec<f32>,
    /// B, `[outputs, rank]`, row by row.
    pub b: Vec<f32>,
}
