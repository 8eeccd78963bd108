//! Text encoders: sentence-transformers directories in, vectors out.
//!
//! [`CpuEncoder`] reads a directory as sentence-transformers writes it (BERT, RoBERTa, Qwen2 or Qwen3 body,
//! pooling, dense layers, prompts, length limit) and embeds texts on the processor, with kernels of its own
//! ([`engine`]). [`TextEncoder`] does the same on any burn backend and is what the engine is tested against;
//! its parts are public for training: [`Architecture`] and [`Body`], [`Pooling`], [`TokenBatch`].
//! [`engine::TrainingEngine`] has the backward pass of BERT and RoBERTa on the processor. Nothing here knows
//! where models come from, what an index is, or how training goes.
//!
//! ```
//! use coderag_core::{Embedder, TextRole};
//! use coderag_encoder::CpuEncoder;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/small-bert");
//! let encoder = CpuEncoder::load(directory.as_ref(), &Default::default())?;
//! let vectors = encoder.embed(&["How many singers do we have?"], TextRole::Query)?;
//! assert_eq!((vectors.len(), vectors.dimensions()), (1, encoder.dimensions()));
//! # Ok(())
//! # }
//! ```

pub mod card;
pub mod device;
pub mod engine;
pub mod lora;

mod architecture;
mod backend;
mod batching;
mod bert;
mod body;
mod checkpoint;
mod cpu_encoder;
mod dense;
mod encoder;
mod error;
mod export;
mod forward_pass;
mod matrix_precision;
mod model_directory;
mod pipeline;
mod pooling;
mod qwen2;
mod rotary_embedding;
mod sentence_transformers;
mod tensor_file;
mod token_batch;
mod tokenization;
mod weights;

pub use architecture::Architecture;
pub use backend::CpuBackend;
pub use batching::batches_by_length;
pub use bert::{Bert, BertConfig};
pub use body::Body;
pub use cpu_encoder::CpuEncoder;
pub use encoder::{EncodeOptions, Prompt, TextEncoder};
pub use error::{Error, Result};
pub use export::ModelExport;
pub use forward_pass::ForwardPass;
pub use matrix_precision::MatrixPrecision;
pub use model_directory::ModelDirectory;
pub use pooling::Pooling;
pub use qwen2::{Qwen2, Qwen2Config};
pub use token_batch::TokenBatch;
pub use weights::ParameterPlace;
