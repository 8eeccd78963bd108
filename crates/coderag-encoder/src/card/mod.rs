//! BERT, RoBERTa and Qwen2 on NVIDIA's cards: the forward pass, the backward pass and AdamW, with kernels of our own between
//! the matrix products of cuBLASLt.
//!
//! The kernels (`kernels/*.cu`) are compiled for the model at hand when it is loaded, by libnvrtc; nothing of CUDA is
//! needed to build this crate. Sequences lie one after the other without padding. States are stored in the number
//! format of the products; sums, statistics, parameters, their gradients and AdamW's memory are in f32. Nothing but
//! what a caller asks for is read from the card, and the same calls give the same bits.
//!
//! The tape keeps, of each layer, the projections of attention and what it gathers, the feed-forward network before
//! its activation, and the sums before normalisations with what came out of them; or with recomputation what leaves
//! each layer and nothing else. Attention's probabilities are never in memory.

mod arena;
mod batch;
mod bert;
mod body;
mod encoder;
mod engine;
mod launch;
mod linear;
mod memory;
mod open;
mod operations;
mod parameters;
mod product;
mod qwen2;

pub use encoder::CardEncoder;
pub use engine::{CardEngine, CardOptions, CardParameter, CardStep};
