//! Which rows form a batch, and in which order batches come.

mod distinct;
mod epoch;
mod lane;
mod quotas;
mod sampler;
mod settings;
mod stream;

pub use sampler::{Batch, Rows, Sampler, SamplerState};
pub use settings::{LastBatch, Order, SamplerSettings};
