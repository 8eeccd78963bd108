use crate::Result;
use crate::data::{Sampler, SamplerState, Store};

use super::batch::{TokenizedBatch, Tokenizer};
use super::stage::Stage;

/// A stage's batches, one of them drawn and cut into tokens while a device is at work on the one before.
pub(super) struct Batches<'a, 's> {
    stage: &'a Stage<'s>,
    sampler: Sampler<&'a Store>,
    /// What goes wrong with a batch is told when its turn comes.
    ahead: Option<Result<Drawn>>,
}

/// A batch for a model.
pub(super) struct Drawn {
    pub(super) texts: TokenizedBatch,
    pub(super) pairs: u64,
    pub(super) epoch: u64,
    /// Where the sampler stands behind the batch.
    pub(super) sampler: SamplerState,
}

impl<'a, 's> Batches<'a, 's> {
    /// The batches behind a state of the sampler, or from the first.
    pub(super) fn of(stage: &'a Stage<'s>, state: Option<&SamplerState>) -> Result<Self> {
        Ok(Self { stage, sampler: stage.sampler(state)?, ahead: None })
    }

    pub(super) fn next(&mut self, tokenizer: &Tokenizer<'_>) -> Result<Drawn> {
        match self.ahead.take() {
            Some(drawn) => drawn,
            None => self.draw(tokenizer),
        }
    }

    /// Draws the next batch already.
    pub(super) fn draw_ahead(&mut self, tokenizer: &Tokenizer<'_>) {
        self.ahead = Some(self.draw(tokenizer));
    }

    fn draw(&mut self, tokenizer: &Tokenizer<'_>) -> Result<Drawn> {
        let batch = self.sampler.next_batch()?;
        let examples = self.stage.examples(&batch.rows)?;
        Ok(Drawn {
            texts: TokenizedBatch::new(&examples, tokenizer)?,
            pairs: examples.len() as u64,
            epoch: batch.epoch,
            sampler: self.sampler.state(),
        })
    }
}
