use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use coderag_core::{Error as CoreError, atomic};
use coderag_encoder::ModelExport;
use coderag_encoder::lora::Adapter;

use super::Outcome;
use super::training::Training;
use crate::record::{EvaluationRecord, MetricsLog, Record, StepRecord, too_easy};
use crate::report::{RunSummary, write_html};
use crate::trainee::{Trainee, TraineeState};
use crate::{Error, Result, model_card};

/// Writes what a run is for: the model, the adapter if there is one, and the report.
pub(super) fn write<T: Trainee>(
    mut training: Training<'_, T>,
    adapter: Option<&Adapter>,
) -> Result<Outcome> {
    let state = training.trainee.state()?;
    let records = MetricsLog::read(&training.folder.metrics())?;
    let summary = summary(&training, &state, &records)?;
    let trained = match adapter {
        Some(adapter) => Some(
            adapter
                .with_trained(state.iter().map(|(name, parameter)| (&**name, &*parameter.value)))?,
        ),
        None => None,
    };
    let folder = &training.folder;
    if let Some(trained) = &trained {
        trained.write(&folder.adapter())?;
        write_text(&folder.adapter().join(CARD), &model_card::of_adapter(&summary))?;
    }
    let changed = match &trained {
        Some(_) => BTreeMap::new(),
        None => state.iter().map(|(name, parameter)| (&**name, &*parameter.value)).collect(),
    };
    let export = ModelExport {
        base: training.model.path(),
        adapter: trained.as_ref(),
        changed,
        max_tokens: training.model.max_tokens(),
    };
    export.write(&folder.model(), |folder| {
        let path = folder.join(CARD);
        fs::write(&path, model_card::of_model(&summary)).map_err(CoreError::io("write", &path))?;
        Ok::<(), Error>(())
    })?;
    write_html(&folder.report(), &summary, &records)?;
    Ok(Outcome::Finished {
        model: folder.model(),
        adapter: trained.map(|_| folder.adapter()),
        summary: Box::new(summary),
    })
}

/// Where hubs and readers look for what a model is.
const CARD: &str = "README.md";

fn write_text(path: &Path, text: &str) -> Result<()> {
    atomic::write_file(path, |file| {
        file.write_all(text.as_bytes()).map_err(CoreError::io("write", path))
    })?;
    Ok(())
}

fn summary<T: Trainee>(
    training: &Training<'_, T>,
    state: &TraineeState,
    records: &[Record],
) -> Result<RunSummary> {
    let evaluations: Vec<&EvaluationRecord> =
        records.iter().filter_map(Record::as_evaluation).collect();
    let position = &training.position;
    let best = position.best.and_then(|best| {
        evaluations.iter().find(|evaluation| evaluation.step == best.step).copied().cloned()
    });
    let trained = state.values().map(|parameter| parameter.value.len() as u64).sum();
    let of_adapter = if training.config.lora.is_some() { trained } else { 0 };
    Ok(RunSummary {
        config: training.config.clone(),
        base_model: training.context.base_model.to_owned(),
        coderag_version: training.record.coderag_version.clone(),
        model_fingerprint: training.record.model_fingerprint,
        started: training.record.started.clone(),
        seconds: position.seconds,
        steps: position.step,
        planned_steps: training.planned_steps(),
        pairs: position.pairs,
        tokens: position.tokens,
        trained_parameters: trained,
        total_parameters: training.model.parameters()? + of_adapter,
        manifests: training.stages.iter().map(|stage| stage.store.manifest().clone()).collect(),
        development_files: training
            .development
            .as_ref()
            .map_or(Vec::new(), |set| set.files().to_vec()),
        before: evaluations.first().copied().cloned(),
        after: evaluations.last().copied().cloned(),
        best,
        warnings: warnings(training, records),
        peak_memory: position.peak_memory,
        changed_on_the_way: !training.record.changes.is_empty(),
    })
}

/// What a reader of the results should know.
fn warnings<T: Trainee>(training: &Training<'_, T>, records: &[Record]) -> Vec<String> {
    let change = |change| format!("{change}: the run was interrupted and went on with it");
    let mut warnings: Vec<String> = training.record.changes.iter().map(change).collect();
    let steps: Vec<&StepRecord> = records.iter().filter_map(Record::as_step).collect();
    for (number, stage) in training.stages.iter().enumerate() {
        let of_stage: Vec<StepRecord> =
            steps.iter().filter(|step| step.stage == number).copied().cloned().collect();
        let warning = too_easy(&of_stage).filter(|_| stage.config.loss.ranks());
        warnings.extend(warning.map(|warning| format!("stage `{}`: {warning}", stage.config.name)));
    }
    if training.position.best.is_some_and(|best| best.step == 0) && training.position.step > 0 {
        warnings.push(
            "no measurement was better than the one before training, so the model is the one that \
             training began with"
                .to_owned(),
        );
    }
    warnings
}
