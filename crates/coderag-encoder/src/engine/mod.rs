//! The forward pass of text encoders (BERT, RoBERTa, Qwen2, Qwen3) on CPUs: packed sequences, packed
//! weights, own kernels.
//!
//! Sequences of different lengths stand one after the other, `[tokens, dim]`, so nothing is padded and a
//! linear layer is one matrix product over all their tokens. Weights are laid out once, when they are
//! loaded, in the panels that the kernels read. A call with many sequences gives each thread sequences
//! of its own; a call with few divides each step of the pass among the threads. Either way every number
//! is computed by the same operations in the same order, so a text's vector does not depend on what else
//! is in the call.
//!
//! [`TrainingEngine`] is the same for BERT and RoBERTa with a backward pass. [`PackedRows`] lends the kernels to
//! a search among vectors.

mod attention;
mod batch;
mod bert;
mod body;
mod buffer;
mod cpu;
mod elementwise;
mod gated_linear;
mod kernels;
mod linear;
mod matrix;
mod model;
mod packed_rows;
mod pooling;
mod precision;
mod prepared_input;
mod profile;
mod qwen2;
mod team;
mod training;
mod worker;
mod workspace;

pub use cpu::Cpu;
pub use model::{Engine, EngineOptions};
pub use packed_rows::PackedRows;
pub use precision::Precision;
pub use profile::Stage;
pub use training::{
    AdapterLayer, Dropout, ParameterMut, Tape, Trainable, TrainingEngine, TrainingOptions,
    TrainingPrecision, TrainingStage,
};
