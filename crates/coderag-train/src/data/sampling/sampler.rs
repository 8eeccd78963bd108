use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::SamplerSettings;
use super::epoch::Epoch;
use super::quotas::quotas;
use crate::{Error, Result};

/// Rows to draw batches from, numbered from 0; those of a source are consecutive.
pub trait Rows {
    /// How many rows each source has.
    fn sources(&self) -> Vec<usize>;

    /// Puts what tells a row's texts apart into `fingerprints`: the anchor's, the positive's, then each
    /// negative's. Equal texts have equal fingerprints.
    fn fingerprints(&self, row: usize, fingerprints: &mut Vec<u64>);

    /// The length of a row's longest text in characters.
    fn characters(&self, row: usize) -> u32;
}

impl<R: Rows + ?Sized> Rows for &R {
    fn sources(&self) -> Vec<usize> {
        (**self).sources()
    }

    fn fingerprints(&self, row: usize, fingerprints: &mut Vec<u64>) {
        (**self).fingerprints(row, fingerprints);
    }

    fn characters(&self, row: usize) -> u32 {
        (**self).characters(row)
    }
}

impl<R: Rows + ?Sized> Rows for Arc<R> {
    fn sources(&self) -> Vec<usize> {
        (**self).sources()
    }

    fn fingerprints(&self, row: usize, fingerprints: &mut Vec<u64>) {
        (**self).fingerprints(row, fingerprints);
    }

    fn characters(&self, row: usize) -> u32 {
        (**self).characters(row)
    }
}

/// The rows of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The epoch it belongs to, counted from 0.
    pub epoch: u64,
    /// The numbers of its rows.
    pub rows: Vec<usize>,
}

/// Draws batches without end, epoch after epoch.
///
/// An epoch draws as many rows as there are: each once, or by the sources' weights. It needs 4 bytes a
/// row, and the rows put off at most as many again.
#[derive(Debug)]
pub struct Sampler<R> {
    rows: R,
    settings: SamplerSettings,
    sources: Vec<usize>,
    quotas: Vec<u64>,
    number: u64,
    epoch: Epoch,
}

/// Where a sampler stands, to be stored with a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplerState {
    /// The current epoch, counted from 0.
    pub epoch: u64,
    /// How many batches of it were drawn.
    pub batch: u64,
    /// How the batches are drawn.
    pub settings: SamplerSettings,
    /// How many rows an epoch draws of each source.
    pub quotas: Vec<u64>,
}

impl<R: Rows> Sampler<R> {
    /// A sampler at its first batch. `weights` are the sources'.
    ///
    /// # Errors
    /// [`Error::Setting`] for settings that are out of range or contradict each other.
    pub fn new(rows: R, settings: SamplerSettings, weights: &[Option<f64>]) -> Result<Self> {
        settings.check(weights)?;
        let sources = rows.sources();
        let refused = |problem| Err(Error::Setting { setting: "sources", problem });
        if weights.len() != sources.len() {
            return refused(format!("{} weights for {} sources", weights.len(), sources.len()));
        }
        if sources.is_empty() || sources.contains(&0) {
            return refused("each must have an example".to_owned());
        }
        let total = sources.iter().try_fold(0_usize, |sum, rows| sum.checked_add(*rows));
        if total.is_none_or(|total| u32::try_from(total).is_err()) {
            return refused(format!("more than {} examples", u32::MAX));
        }
        let quotas = quotas(&sources, weights, settings.temperature)?;
        settings.check_quotas(&quotas)?;
        let epoch = Epoch::new(&settings, &sources, &quotas, 0);
        Ok(Self { rows, settings, sources, quotas, number: 0, epoch })
    }

    /// A sampler that goes on where another stood.
    ///
    /// # Errors
    /// As [`Sampler::new`]; [`Error::BatchesChanged`] where the settings or the sources are not the
    /// other's.
    pub fn resume(
        rows: R,
        settings: SamplerSettings,
        weights: &[Option<f64>],
        state: &SamplerState,
    ) -> Result<Self> {
        let mut sampler = Self::new(rows, settings, weights)?;
        let changed = |problem| Err(Error::BatchesChanged { problem });
        if sampler.settings != state.settings {
            return changed(state.settings.differences(&sampler.settings));
        }
        if sampler.quotas != state.quotas {
            let (is, was) = (&sampler.quotas, &state.quotas);
            return changed(format!("an epoch draws {is:?} rows of the sources and drew {was:?}"));
        }
        sampler.number = state.epoch;
        sampler.epoch =
            Epoch::new(&sampler.settings, &sampler.sources, &sampler.quotas, state.epoch);
        // Batches are cheap to draw again: only fingerprints are read, no texts.
        for batch in 0..state.batch {
            if sampler.epoch.next_batch(&sampler.rows, &sampler.settings).is_none() {
                let epoch = state.epoch;
                return changed(format!("epoch {epoch} has {batch} batches, had {}", state.batch));
            }
        }
        Ok(sampler)
    }

    /// Where the sampler stands: [`Sampler::resume`] with it draws what this sampler draws next.
    pub fn state(&self) -> SamplerState {
        SamplerState {
            epoch: self.number,
            batch: self.epoch.batches,
            settings: self.settings.clone(),
            quotas: self.quotas.clone(),
        }
    }

    /// Draws a batch.
    ///
    /// # Errors
    /// [`Error::NoBatch`] when an epoch has no full batch and smaller ones are not kept.
    pub fn next_batch(&mut self) -> Result<Batch> {
        loop {
            if let Some(rows) = self.epoch.next_batch(&self.rows, &self.settings) {
                let rows = rows.into_iter().map(|row| row as usize).collect();
                return Ok(Batch { epoch: self.number, rows });
            }
            self.end_epoch()?;
            self.number += 1;
            self.epoch = Epoch::new(&self.settings, &self.sources, &self.quotas, self.number);
        }
    }

    /// Checks and reports what the epoch left out.
    fn end_epoch(&self) -> Result<()> {
        let (rows, left_out) = (self.quotas.iter().sum::<u64>(), self.epoch.left_out);
        let batch_size = self.settings.batch_size;
        if self.epoch.batches == 0 {
            return Err(Error::NoBatch { batch_size, rows, largest: self.epoch.largest_left_out });
        }
        if left_out >= batch_size as u64 {
            tracing::warn!(
                "epoch {}: {left_out} of {rows} examples were left out because they do not fill a \
                 batch{}",
                self.number + 1,
                if self.settings.no_duplicates { " of different texts" } else { "" },
            );
        }
        Ok(())
    }

    /// How many batches the first `epochs` epochs have. Draws them all, which is quick but not free.
    pub fn count_batches(&self, epochs: u64) -> u64 {
        let count = |number| {
            let mut epoch = Epoch::new(&self.settings, &self.sources, &self.quotas, number);
            while epoch.next_batch(&self.rows, &self.settings).is_some() {}
            epoch.batches
        };
        (0..epochs).map(count).sum()
    }
}
