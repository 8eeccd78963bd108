use coderag_core::Digest;
use serde::Serialize;

use crate::config::TrainConfig;
use crate::data::{InputFile, Manifest};
use crate::record::EvaluationRecord;

/// A run in figures: what its report and the model card are made of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunSummary {
    /// The run's settings.
    pub config: TrainConfig,
    /// What others call the model that the run began with.
    pub base_model: String,
    /// The version of CodeRAG that trained.
    pub coderag_version: String,
    /// The fingerprint of the model that the run began with.
    pub model_fingerprint: Digest,
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
    pub trained_parameters: u64,
    /// How many parameters the model has, those of adapters included.
    pub total_parameters: u64,
    /// What each stage was trained on.
    pub manifests: Vec<Manifest>,
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
    /// Whether settings were changed while the run was interrupted, so that it cannot simply be run again.
    pub changed_on_the_way: bool,
    /// The most memory in bytes that the program ever had, where the system tells.
    pub peak_memory: Option<u64>,
}

impl RunSummary {
    /// The settings as a file that gives the same run.
    pub(crate) fn config_toml(&self) -> String {
        // Only a number beyond TOML's 64 bits, which no file of settings can have, is refused.
        toml::to_string(&self.config).unwrap_or_else(|error| format!("# {error}\n"))
    }

    /// How a measurement is called, with it: none twice, in the order of time but for the best.
    pub(crate) fn measurements(&self) -> Vec<(&'static str, &EvaluationRecord)> {
        let same = |left: &Option<EvaluationRecord>| match (left, &self.best) {
            (Some(left), Some(best)) => left.step == best.step,
            _ => false,
        };
        let before = self.before.as_ref();
        let after = self.after.as_ref();
        let after = after.filter(|after| before.is_none_or(|before| before.step != after.step));
        let (before_is_best, after_is_best) = (same(&self.before), same(&self.after));
        let best = self.best.as_ref().filter(|_| !before_is_best && !after_is_best);
        let before_name = if before_is_best { "before, the best" } else { "before" };
        let after_name = if after_is_best { "after, the best" } else { "after" };
        let all = [(before_name, before), (after_name, after), ("best", best)];
        all.into_iter().filter_map(|(name, record)| Some((name, record?))).collect()
    }
}
