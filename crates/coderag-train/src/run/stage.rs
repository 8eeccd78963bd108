use std::path::Path;

use coderag_core::{Progress, Random};

use crate::config::StageConfig;
use crate::data::{Example, Manifest, OnBadRow, Sampler, SamplerSettings, SamplerState, Store};
use crate::{Error, Result};

/// A stage with its examples.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    pub(super) config: &'a StageConfig,
    pub(super) store: Store,
    settings: SamplerSettings,
    /// How many steps the stage has.
    pub(super) steps: u64,
}

impl<'a> Stage<'a> {
    /// Reads the examples into a folder, unless an interrupted run has done so.
    pub(super) fn open(
        number: usize,
        config: &'a StageConfig,
        seed: u64,
        on_bad_row: OnBadRow,
        folder: &Path,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let store = if folder.exists() {
            Store::resume(folder, &config.sources)?
        } else {
            Store::build(folder, &config.sources, on_bad_row, progress)?
        };
        if store.manifest().bad_rows.total > 0 {
            tracing::warn!("stage `{}`: {} left out", config.name, store.manifest().bad_rows);
        }
        if !config.loss.ranks() {
            check_teacher(&config.name, store.manifest())?;
        }
        let seed = Random::derived(seed, &[number as u64]).next_u64();
        let settings = SamplerSettings { seed, ..config.batches.clone() };
        let mut stage = Self { config, store, settings, steps: 0 };
        stage.steps = match (config.steps, config.epochs) {
            (Some(steps), _) => steps,
            (None, epochs) => {
                let batches = stage.sampler(None)?.count_batches(epochs.unwrap_or(1));
                if batches == 0 {
                    // Says why.
                    stage.sampler(None)?.next_batch()?;
                }
                batches / config.accumulate as u64
            }
        };
        if stage.steps == 0 {
            let problem = format!(
                "stage `{}`: its epochs have fewer batches than one step accumulates",
                config.name
            );
            return Err(Error::Setting { setting: "epochs", problem });
        }
        Ok(stage)
    }

    /// The sampler where it stood, or at its first batch.
    pub(super) fn sampler(&self, state: Option<&SamplerState>) -> Result<Sampler<&Store>> {
        let weights: Vec<Option<f64>> =
            self.config.sources.iter().map(|source| source.weight).collect();
        let settings = self.settings.clone();
        match state {
            Some(state) => Sampler::resume(&self.store, settings, &weights, state),
            None => Sampler::new(&self.store, settings, &weights),
        }
    }

    pub(super) fn examples(&self, rows: &[usize]) -> Result<Vec<Example>> {
        rows.iter().map(|row| self.store.example(*row)).collect()
    }

    /// The learning rate at a step of the stage, counted from 0.
    pub(super) fn learning_rate(&self, step: u64) -> f64 {
        self.config.learning_rate * self.config.schedule.factor(step, self.steps)
    }
}

/// Refuses examples that there is nothing to distil from.
fn check_teacher(stage: &str, manifest: &Manifest) -> Result<()> {
    for source in &manifest.sources {
        let without_scores = source.rows - source.scored_rows;
        let problem = if without_scores > 0 {
            format!(
                "stage `{stage}`: {without_scores} of the {} examples of `{}` have no teacher's scores; \
                 name their column with `columns = {{ scores = \"scores\" }}` or take another loss",
                source.rows, source.name
            )
        } else if source.fewest_negatives == 0 {
            format!(
                "stage `{stage}`: there are examples of `{}` without negatives, which this loss compares \
                 with the positive; `coderag mine` finds some",
                source.name
            )
        } else {
            continue;
        };
        return Err(Error::Setting { setting: "loss", problem });
    }
    Ok(())
}
