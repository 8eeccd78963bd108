//! The forward pass of BERT-family encoders on CPUs: packed sequences, packed weights, own kernels.
//!
//! Sequences of different lengths stand one after the other, `[tokens, dim]`, so nothing is padded and a
//! linear layer is one matrix product over all their tokens. Weights are laid out once, when they are
//! loaded, in the panels that the kernels read. A call with many sequences gives each thread sequences
//! of its own; a call with few divides each step of the pass among the threads. Either way every number
//! is computed by the same operations in the same order, so a text's vector does not depend on what else
//! is in the call.

mod attention;
mod buffer;
mod cpu;
mod elementwise;
mod embedding;
mod forward;
mod kernels;
mod layer;
mod linear;
mod matrix;
mod model;
mod pooling;
mod precision;
mod profile;
mod team;
mod worker;
mod workspace;

pub use cpu::Cpu;
pub use model::{Engine, EngineOptions};
pub use precision::Precision;
pub use profile::Stage;
