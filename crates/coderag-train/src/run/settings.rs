use serde_json::Value;

use crate::config::TrainConfig;
use crate::{Error, Result};

/// What a run may go on with although it differs from what the run began with.
const CHANGEABLE: [&str; 5] =
    ["checkpoints", "gradient_checkpointing", "on_bad_row", "precision", "dropout"];

/// What of the evaluation may differ: what is measured stays, or measurements could not be compared.
const CHANGEABLE_IN_EVALUATION: [&str; 2] = ["every", "patience"];

/// What of a stage may differ.
const CHANGEABLE_IN_STAGE: [&str; 8] = [
    "name",
    "steps",
    "epochs",
    "texts_at_once",
    "learning_rate",
    "schedule",
    "adamw",
    "max_gradient_norm",
];

/// The settings that differ, as `` `stage.learning_rate` was 0.1 and is 0.01 ``, when a run that began with `was`
/// can go on with `is`.
///
/// # Errors
/// [`Error::SettingsChanged`] when it cannot.
pub(super) fn changes(was: &TrainConfig, is: &TrainConfig) -> Result<Vec<String>> {
    let mut changes = Vec::new();
    let mut refused = Vec::new();
    let mut compare = |prefix: &str, was: Value, is: Value, changeable: &[&str]| {
        let (Value::Object(was), Value::Object(is)) = (was, is) else { return };
        for (key, was) in was {
            let is = is.get(&key).cloned().unwrap_or_default();
            // Stages and the evaluation come apart, and examples are compared by what is in their files.
            let is_elsewhere = match prefix {
                "" => key == "stage" || key == "evaluation",
                "stage." => key == "source",
                _ => false,
            };
            if was == is || is_elsewhere {
                continue;
            }
            let change = format!("`{prefix}{key}` was {was} and is {is}");
            let list = if changeable.contains(&&*key) { &mut changes } else { &mut refused };
            list.push(change);
        }
    };
    compare("", value(was), value(is), &CHANGEABLE);
    for (was, is) in was.stages.iter().zip(&is.stages) {
        compare("stage.", value(was), value(is), &CHANGEABLE_IN_STAGE);
    }
    if let (Some(was), Some(is)) = (&was.evaluation, &is.evaluation) {
        compare("evaluation.", value(was), value(is), &CHANGEABLE_IN_EVALUATION);
    }
    if was.evaluation.is_some() != is.evaluation.is_some() {
        let change = if is.evaluation.is_some() { "there was none before" } else { "it is gone" };
        refused.push(format!("`evaluation`: {change}"));
    }
    let (had, has) = (was.stages.len(), is.stages.len());
    if had != has {
        let list = if had > has { &mut refused } else { &mut changes };
        list.push(format!("there were {had} stages and are {has}"));
    }
    if refused.is_empty() { Ok(changes) } else { Err(Error::SettingsChanged { changes: refused }) }
}

fn value(settings: &impl serde::Serialize) -> Value {
    // Settings are plain values with keys of text, which JSON always has a form for.
    serde_json::to_value(settings).unwrap_or_default()
}
