//! Training of text encoders.
//!
//! - [`data`]: examples, their store, and the batches they come in;
//! - [`loss`]: losses over the vectors of a batch, and their gradients;
//! - [`mining`]: hard negatives for pairs;
//! - [`optimizer`]: learning rates, AdamW and clipping;
//! - [`trainee`]: models in training, on the processor or any burn backend;
//! - [`config`]: a run, as its file describes it;
//! - [`evaluation`]: how well a model finds documents;
//! - [`record`]: what a run writes down as it goes;
//! - [`report`] and [`model_card`]: what is told of it afterwards;
//! - [`run`]: a run from its settings to a trained model.
//!
//! The models are `coderag-encoder`'s. The crate knows nothing of SQL.

pub mod config;
pub mod data;
pub mod evaluation;
pub mod loss;
pub mod mining;
pub mod model_card;
pub mod optimizer;
pub mod record;
pub mod report;
pub mod run;
pub mod trainee;

mod error;

pub use error::{Error, Result};
