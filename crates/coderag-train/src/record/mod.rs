//! What a run writes down as it goes: `metrics.jsonl`, an object a line.

mod log;
mod too_easy;

use serde::{Deserialize, Deserializer, Serialize};

pub use log::MetricsLog;
pub use too_easy::{TOO_EASY_STEPS, too_easy};

use crate::evaluation::Scores;
use crate::loss::BatchStatistics;

/// A line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Record {
    /// A step of the optimizer.
    Step(StepRecord),
    /// A measurement of the model.
    Evaluation(EvaluationRecord),
}

impl Record {
    /// The step that it is of, if it is of one.
    pub fn as_step(&self) -> Option<&StepRecord> {
        match self {
            Self::Step(record) => Some(record),
            Self::Evaluation(_) => None,
        }
    }

    /// The measurement that it is, if it is one.
    pub fn as_evaluation(&self) -> Option<&EvaluationRecord> {
        match self {
            Self::Step(_) => None,
            Self::Evaluation(record) => Some(record),
        }
    }

    /// How many steps were done when it was written.
    pub fn step(&self) -> u64 {
        match self {
            Self::Step(record) => record.step,
            Self::Evaluation(record) => record.step,
        }
    }
}

/// A step of the optimizer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// How many steps of the run are done with this one; the first is 1.
    pub step: u64,
    /// The number of its stage, counted from 0.
    pub stage: usize,
    /// The epoch of its first batch, counted from 0 within the stage.
    pub epoch: u64,
    /// The mean loss of its batches. Not finite values are written as `null` and read as NaN.
    #[serde(deserialize_with = "number_or_null")]
    pub loss: f64,
    /// The learning rate that it was taken with.
    pub learning_rate: f64,
    /// The length of all gradients together, before clipping. Not finite values as for the loss.
    #[serde(deserialize_with = "number_or_null")]
    pub gradient_norm: f64,
    /// How many examples it saw.
    pub pairs: u64,
    /// How many tokens their texts have.
    pub tokens: u64,
    /// How long it took.
    pub seconds: f64,
    /// How well the positives of its last batch were told from the other documents, where that was computed.
    pub statistics: Option<BatchStatistics>,
}

/// A measurement of the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRecord {
    /// How many steps of the run were done; 0 before the first.
    pub step: u64,
    /// What was measured.
    pub scores: Scores,
    /// How long it took.
    pub seconds: f64,
}

/// JSON has no NaN and no infinity; `null` stands for both.
fn number_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}
