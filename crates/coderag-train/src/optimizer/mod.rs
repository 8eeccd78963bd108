//! The arithmetic of a training step: learning rates, AdamW, and clipping of gradients.
//!
//! Equal to what transformers' trainer does with torch (`scripts/reference_optimizer.py`). Parameters,
//! gradients and state are slices of f32, or tensors of a burn backend.

mod adamw;
mod clipping;
mod schedule;
mod tensors;

pub use adamw::{AdamW, Moments, decays};
pub(crate) use clipping::clip_factor;
pub use clipping::clip_gradient_norm;
pub use schedule::{Decay, Schedule, WarmUp};
pub(crate) use tensors::{TensorMoments, norm};

/// How many numbers a thread takes at a time: 64 KiB of each slice. Slices that are no longer stay on the
/// calling thread.
const CHUNK: usize = 16 * 1024;
