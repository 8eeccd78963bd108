//! Text encoders in burn: sentence-transformers directories in, L2-normalised vectors out.
//!
//! [`TextEncoder`] reads a directory as sentence-transformers writes it (BERT body, pooling, prompts,
//! length limit) and embeds texts on any burn backend; [`CpuBackend`] is the one for CPUs. The parts are
//! public too, for training: [`BertConfig`] and [`Bert`], [`Pooling`], [`TokenBatch`]. Nothing here knows
//! where models come from, what an index is, or how training goes.
//!
//! ```no_run
//! use coderag_core::{Embedder, TextRole};
//! use coderag_encoder::{CpuBackend, TextEncoder};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let encoder = TextEncoder::<CpuBackend>::load("all-MiniLM-L6-v2".as_ref(), &Default::default())?;
//! let vectors = encoder.embed(&["How many singers do we have?"], TextRole::Query)?;
//! assert_eq!(vectors.dimensions(), 384);
//! # Ok(())
//! # }
//! ```

mod backend;
mod batching;
mod bert;
mod encoder;
mod error;
mod pooling;
mod sentence_transformers;
mod token_batch;
mod tokenization;
mod weights;

pub use backend::CpuBackend;
pub use bert::{Bert, BertConfig};
pub use encoder::{EncodeOptions, Prompt, TextEncoder};
pub use error::{Error, Result};
pub use pooling::Pooling;
pub use token_batch::TokenBatch;
