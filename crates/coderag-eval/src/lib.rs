//! Scores for text-to-SQL, retrieval and text.
//!
//! - [`spider`]: Spider's exact set match, equal to the official scripts question by question;
//! - [`execution`]: execution accuracy over test suites of databases;
//! - [`scoring`] and [`summary`]: both of them for files of predictions, and our own match beside them;
//! - [`structure`]: exact match of syntax trees after rewrites that can never change a result;
//! - [`bird`]: execution accuracy, Soft-F1 and R-VES as BIRD defines them;
//! - [`defog`]: result comparison with several acceptable queries, as sql-eval does it;
//! - [`retrieval`]: recall, precision, MRR, nDCG and MAP, equal to trec_eval's;
//! - [`text`]: BLEU, ROUGE and edit distance;
//! - [`report`]: the scores as one HTML file.
//!
//! The crate knows nothing of how predictions were made.

pub mod bird;
pub mod defog;
pub mod execution;
pub mod files;
pub mod report;
pub mod retrieval;
pub mod scoring;
pub mod spider;
pub mod structure;
pub mod summary;
pub mod text;

mod compatibility;
mod error;
mod outcome;
mod parallel;
mod python_text;
mod python_value;
mod trees;

pub use compatibility::Compatibility;
pub use error::{Error, Result};
pub use outcome::Outcome;
pub use trees::trees;
