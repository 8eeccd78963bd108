//! A training run, as a file such as `configs/train.toml` describes it.

use std::path::Path;

use coderag_encoder::engine::TrainingPrecision;
use serde::{Deserialize, Serialize};

use crate::data::{OnBadRow, SamplerSettings, Source};
use crate::loss::Loss;
use crate::optimizer::{AdamW, Schedule};
use crate::{Error, Result};

/// A training run. Paths in it are relative to the folder in which the program runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// The model to begin with: a name from the registry, or a folder.
    pub model: String,
    /// What everything that is drawn at random is drawn from.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Where texts are cut, special tokens included; by default at the model's own limit.
    pub max_tokens: Option<usize>,
    /// The number format of the large matrix products.
    #[serde(default)]
    pub precision: TrainingPrecision,
    /// Computes again in the backward pass what happened inside a layer, instead of remembering it: about a
    /// third slower, with much less memory and the same gradients.
    #[serde(default)]
    pub gradient_checkpointing: bool,
    /// Low-rank adapters in place of all parameters.
    pub lora: Option<LoraSettings>,
    /// What is put before texts.
    #[serde(default)]
    pub prompts: Prompts,
    /// How likely values are left out.
    #[serde(default)]
    pub dropout: DropoutSettings,
    /// What becomes of rows that no example can be made of.
    #[serde(default)]
    pub on_bad_row: OnBadRow,
    /// What is trained on, one stage after the other; each goes on with the parameters of the one before.
    #[serde(rename = "stage")]
    pub stages: Vec<StageConfig>,
    /// When and on what the model is measured.
    pub evaluation: Option<EvaluationSettings>,
    /// From where a run can go on.
    #[serde(default)]
    pub checkpoints: CheckpointSettings,
}

fn default_seed() -> u64 {
    42
}

/// A stage of a run: its data, its loss, and how parameters change.
///
/// The optimizer and the schedule of the learning rate begin anew with each stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageConfig {
    /// The name in logs and reports.
    pub name: String,
    /// The files of examples.
    #[serde(rename = "source")]
    pub sources: Vec<Source>,
    /// How many steps the optimizer takes; or give `epochs`.
    pub steps: Option<u64>,
    /// How often the examples are gone through; or give `steps`.
    pub epochs: Option<u64>,
    /// How batches are drawn.
    #[serde(default)]
    pub batches: SamplerSettings,
    /// How many batches make a step.
    #[serde(default = "one")]
    pub accumulate: usize,
    /// Embeds a batch this many texts at a time, in constant memory for any batch and with the same gradients
    /// (GradCache: Gao et al., 2021, arXiv:2101.06983); by default all at once.
    pub texts_at_once: Option<usize>,
    /// What is minimised.
    pub loss: Loss,
    /// The learning rate at its highest.
    pub learning_rate: f64,
    /// How the learning rate goes.
    #[serde(default)]
    pub schedule: Schedule,
    /// The optimizer.
    #[serde(default)]
    pub adamw: AdamW,
    /// The longest that all gradients together may be; no limit by default.
    pub max_gradient_norm: Option<f64>,
}

fn one() -> usize {
    1
}

/// Low-rank adapters, by PEFT's names for the settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraSettings {
    /// The rank.
    pub r: usize,
    /// The product of A and B is scaled by this over the rank.
    pub lora_alpha: f64,
    /// How likely an input of A is set to 0.
    #[serde(default)]
    pub lora_dropout: f64,
    /// Scale by alpha over the root of the rank instead.
    #[serde(default)]
    pub use_rslora: bool,
    /// The layers by the ends of their names, such as `query` and `value`; `["all-linear"]` is every linear
    /// layer. Embeddings get an adapter only where they are named.
    #[serde(default = "all_linear")]
    pub target_modules: Vec<String>,
}

fn all_linear() -> Vec<String> {
    vec!["all-linear".to_owned()]
}

/// The names of the model's prompts for each side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Prompts {
    /// For anchors, such as `query`; by default nothing is put before them.
    pub anchor: Option<String>,
    /// For positives and negatives, such as `document`; by default nothing is put before them.
    pub document: Option<String>,
}

/// How likely values are left out in training, at transformers' places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DropoutSettings {
    /// Of the states.
    pub hidden: f32,
    /// Of attention's probabilities.
    pub attention: f32,
}

/// On what the model is measured, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationSettings {
    /// Pairs: anchors are the queries; the positives and negatives of all pairs are what is searched.
    pub source: Source,
    /// How many pairs, from the first, are asked; the documents of the others are still searched. All by
    /// default.
    pub queries: Option<usize>,
    /// How many steps are between two measurements; there is also one before the run and one after it.
    pub every: u64,
    /// Stops the run after so many measurements in a row that were no better than the best; never by default.
    pub patience: Option<u64>,
}

/// From where a run can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointSettings {
    /// How many steps are between two checkpoints.
    pub every: u64,
    /// How many of the last are kept.
    pub keep: usize,
}

impl Default for CheckpointSettings {
    fn default() -> Self {
        Self { every: 100, keep: 2 }
    }
}

impl TrainConfig {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Core`] when it cannot be read or has a key or type that it should not have,
    /// [`Error::Setting`] for a value that makes no sense.
    pub fn load(path: &Path) -> Result<Self> {
        let config: Self = coderag_core::config::load(path)?;
        config.check()?;
        Ok(config)
    }

    /// Refuses values that make no sense.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn check(&self) -> Result<()> {
        refuse(self.stages.is_empty(), "stage", "there is none; add [[stage]]")?;
        refuse(self.max_tokens == Some(0), "max_tokens", "must be at least 1")?;
        refuse(self.checkpoints.every == 0, "checkpoints.every", "must be at least 1")?;
        refuse(self.checkpoints.keep == 0, "checkpoints.keep", "must be at least 1")?;
        if let Some(evaluation) = &self.evaluation {
            refuse(evaluation.every == 0, "evaluation.every", "must be at least 1")?;
            refuse(evaluation.queries == Some(0), "evaluation.queries", "must be at least 1")?;
            refuse(evaluation.patience == Some(0), "evaluation.patience", "must be at least 1")?;
        }
        for (name, value) in
            [("dropout.hidden", self.dropout.hidden), ("dropout.attention", self.dropout.attention)]
        {
            refuse(!(0.0..1.0).contains(&value), name, "must be from 0 to below 1")?;
        }
        self.stages.iter().try_for_each(StageConfig::check)
    }
}

impl StageConfig {
    fn check(&self) -> Result<()> {
        let rate = self.learning_rate;
        refuse(!(rate.is_finite() && rate > 0.0), "learning_rate", "must be a number above 0")?;
        refuse(
            self.max_gradient_norm.is_some_and(|norm| norm.is_nan() || norm <= 0.0),
            "max_gradient_norm",
            "must be above 0",
        )?;
        refuse(self.batches.seed != 0, "batches.seed", "is not for a run; set the run's `seed`")?;
        refuse(self.accumulate == 0, "accumulate", "must be at least 1")?;
        refuse(self.texts_at_once == Some(0), "texts_at_once", "must be at least 1")?;
        refuse(
            self.sources.is_empty(),
            "source",
            "there is none; add [[stage.source]] with `name` and `files`",
        )?;
        refuse(
            self.steps.is_some() == self.epochs.is_some(),
            "steps",
            "a stage has `steps` or `epochs`, one of them",
        )?;
        refuse(self.steps == Some(0), "steps", "must be at least 1")?;
        refuse(self.epochs == Some(0), "epochs", "must be at least 1")
    }
}

fn refuse(refused: bool, setting: &'static str, problem: &str) -> Result<()> {
    if refused { Err(Error::Setting { setting, problem: problem.to_owned() }) } else { Ok(()) }
}
