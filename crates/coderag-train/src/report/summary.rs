use coderag_core::Digest;

use crate::config::TrainConfig;
use crate::data::{InputFile, Manifest};
use crate::record::EvaluationRecord;

/// A run in figures: what its report and the model card are made of.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSummary {
    /// The version of CodeRAG that trained.
    pub coderag_version: String,
    /// The run's settings.
    pub config: TrainConfig,
    /// The name of the model that the run began with, as others would look for it.
    pub model: String,
    /// The fingerprint of that model.
    pub fingerprint: Digest,
    /// When the run began, by RFC 3339.
    pub started: String,
    /// How long it took, the time of interruptions aside.
    pub seconds: f64,
    /// The steps that were done.
    pub steps: u64,
    /// The steps that were planned.
    pub planned_steps: u64,
    /// The examples that were seen, each as often as it was.
    pub pairs: u64,
    /// The tokens of their texts.
    pub tokens: u64,
    /// How many parameters were trained.
    pub trainable_parameters: u64,
    /// How many parameters the model has, those of adapters included.
    pub total_parameters: u64,
    /// What each stage was trained on.
    pub data: Vec<Manifest>,
    /// What the model was measured on.
    pub development_files: Vec<InputFile>,
    /// The scores before the first step.
    pub before: Option<EvaluationRecord>,
    /// The scores after the last step.
    pub after: Option<EvaluationRecord>,
    /// The best scores, which are those of the model that is kept.
    pub best: Option<EvaluationRecord>,
    /// What a reader must know before the figures are believed.
    pub warnings: Vec<String>,
    /// The most memory that the program ever had, where the system tells.
    pub peak_memory_bytes: Option<u64>,
}
