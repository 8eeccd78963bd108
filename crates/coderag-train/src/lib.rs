//! Training of text encoders: pairs in, checkpoints that sentence-transformers and PEFT load out.
//!
//! The crate knows nothing of SQL.

pub mod data;
pub mod loss;
pub mod optimizer;

mod error;

pub use error::{Error, Result};
