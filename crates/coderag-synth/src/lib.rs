//! Training pairs written by a language model: tasks, prompts, seeds, gates, and runs that resume.
//!
//! A run makes candidates, one after the other of each task in turn. A candidate starts from a seed (a function, a
//! schema, a topic), is put into a prompt, answered by a [`coderag_core::ChatModel`], taken apart into a pair, and
//! led through gates: it must parse, run, be new, be consistent. What passes is written as Parquet, what does not
//! is kept with the reason. All answers of the model are kept, too, so a run goes on from any stop without asking
//! anything twice. The crate knows nothing of training.
//!
//! ```no_run
//! use std::sync::atomic::AtomicBool;
//!
//! use coderag_core::Silent;
//! use coderag_llm::{GgufModel, GgufOptions};
//! use coderag_synth::{RunContext, SynthConfig, synthesize};
//!
//! let config = SynthConfig::load("configs/synth.toml".as_ref())?;
//! let model = GgufModel::load("model.gguf".as_ref(), config.model.gguf)?;
//! let context = RunContext {
//!     model: &model,
//!     embedder: None,
//!     output: "synth/first".as_ref(),
//!     restart: false,
//!     limit: None,
//!     interrupt: &AtomicBool::new(false),
//!     traffic: None,
//!     progress: &Silent,
//! };
//! synthesize(&config, &context)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod asking;
mod code_language;
pub mod config;
mod data_card;
mod error;
mod gate;
mod making;
mod output;
mod prompt;
mod report;
mod row;
mod run;
mod seed;
mod sql;
mod syntax_tree;
mod task;
#[cfg(test)]
mod testing;

pub use asking::Totals;
pub use code_language::CodeLanguage;
pub use config::SynthConfig;
pub use error::{Error, Result};
pub use gate::{
    Compared, ConsistencySettings, ContaminationConfig, DuplicateSettings, EvaluationSet,
    ExecutionSettings, GateSettings, LabelSettings, LengthConfig, LengthLimits,
};
pub use output::{
    Call, GateCounts, Manifest, OutputFile, Pair, Sample, TaskCounts, read_pairs, read_rejected,
};
pub use row::{Gate, RejectedRow, Row};
pub use run::{Outcome, RunContext, RunRecord, preview, read_manifest, synthesize};
pub use seed::{CodeSeedConfig, SchemaSeedConfig, SeedSettings, TopicSettings};
