//! What training of text encoders stands on.
//!
//! - [`data`]: examples, their store, and the batches they come in;
//! - [`loss`]: losses over the vectors of a batch, and their gradients;
//! - [`optimizer`]: learning rates, AdamW and clipping.
//!
//! The vectors, and the gradients of a model's parameters, are `coderag-encoder`'s. The crate knows nothing of
//! models or of SQL.

pub mod data;
pub mod loss;
pub mod optimizer;

mod error;

pub use error::{Error, Result};
