//! Training on CPUs: the forward pass again, which remembers what the backward pass needs, and the backward
//! pass.
//!
//! Sequences go through the model in groups of about a hundred tokens, one thread a group, and none waits
//! for another. The backward pass goes through the layers with all groups of a chunk: first each group
//! computes the gradients of its states, then the threads divide the parameters of the layer, and add up
//! their gradients over all tokens. So no gradient is ever added to by two threads, and sums have the same
//! order each time.
//!
//! The tape keeps, for each layer, what would be costly to compute again: the projections of attention and
//! what it gathers, the feed-forward network before its activation, and normalised values. Attention's
//! probabilities, activations and the outputs of normalisations are computed again.

mod adapter;
mod attention;
mod batch;
mod dropout;
mod elementwise;
mod embedding;
mod gradients;
mod kernels;
mod layer;
mod linear;
mod model;
mod norm;
mod options;
mod panels;
mod parameter;
mod pooling;
mod profile;
mod rows;
mod tape;
mod work;

pub use model::TrainingEngine;
pub use options::{AdapterLayer, Dropout, Trainable, TrainingOptions, TrainingPrecision};
pub use parameter::ParameterMut;
pub use profile::TrainingStage;
pub use tape::Tape;
