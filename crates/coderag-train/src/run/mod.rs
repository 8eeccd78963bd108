//! A run: from its settings to a trained model in a folder.
//!
//! | in the run's folder | content |
//! | --- | --- |
//! | `run.json` | the [`RunRecord`]: settings, model, versions |
//! | `examples/1`, `examples/2`, ... | the examples of each stage, a [`Store`](crate::data::Store) |
//! | `metrics.jsonl` | a line for each step and each evaluation ([`Record`](crate::record::Record)) |
//! | `checkpoints/step-00000100` | what the run goes on from: parameters, the optimizer's moments, where batches stand |
//! | `best/step-00000100` | the parameters that were measured best |
//! | `model` | the trained model in sentence-transformers' layout, an adapter merged into its weights |
//! | `adapter` | the trained adapter in PEFT's layout |
//! | `report.html` | how the run went |
//!
//! A run that was killed goes on from its last checkpoint as if nothing had happened: batches, dropout and the
//! optimizer's state are those of a run without the interruption.

mod artifacts;
mod batch;
mod batches;
mod begin;
mod checkpoint;
mod device;
mod evaluation;
mod folder;
mod memory;
mod objective;
mod settings;
mod stage;
mod throughput;
mod training;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use coderag_core::Progress;
use coderag_encoder::device::Device;

pub use folder::RunRecord;

use crate::Result;
use crate::config::TrainConfig;
use crate::report::RunSummary;

/// What a run needs besides its settings.
pub struct RunContext<'a> {
    /// The folder of the model to begin with.
    pub model: &'a Path,
    /// What others call that model, for the artifacts: its repository on the model hub where there is one.
    pub base_model: &'a str,
    /// The run's folder.
    pub output: &'a Path,
    /// Where the model computes.
    pub device: &'a Device,
    /// How many threads compute; the number of cores by default.
    pub threads: Option<usize>,
    /// Remove what an earlier run left in the folder, instead of going on with it.
    pub restart: bool,
    /// Stop after so many steps of this call, as if interrupted.
    pub stop_after: Option<u64>,
    /// Set by another thread to interrupt the run after its current step.
    pub interrupt: &'a AtomicBool,
    /// Is told how far the run is.
    pub progress: &'a dyn Progress,
}

impl std::fmt::Debug for RunContext<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { model, base_model, output, device, threads, restart, stop_after, .. } = self;
        formatter
            .debug_struct("RunContext")
            .field("model", model)
            .field("base_model", base_model)
            .field("output", output)
            .field("device", device)
            .field("threads", threads)
            .field("restart", restart)
            .field("stop_after", stop_after)
            .finish_non_exhaustive()
    }
}

/// How a call of [`train`] ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The run is over.
    Finished {
        /// The trained model.
        model: PathBuf,
        /// The trained adapter, if adapters were trained.
        adapter: Option<PathBuf>,
        /// How it went.
        summary: Box<RunSummary>,
    },
    /// The run stands at a checkpoint, and the same call goes on from there.
    Interrupted {
        /// The steps that are done.
        step: u64,
        /// The checkpoint.
        checkpoint: PathBuf,
    },
}

/// Trains a model, or goes on with a run that was interrupted.
///
/// # Errors
/// Any of [`Error`](crate::Error)'s variants. What is on disk is whole, and the last checkpoint can be gone on
/// from once the cause is removed.
pub fn train(config: &TrainConfig, context: &RunContext<'_>) -> Result<Outcome> {
    device::train(config, context)
}
