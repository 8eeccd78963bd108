use super::lane::{Given, Lane};
use super::stream::Stream;
use super::{Order, Rows, SamplerSettings};
use coderag_core::Random;

/// The batches of one epoch. It depends on the settings and its number alone, not on earlier epochs.
#[derive(Debug)]
pub(super) struct Epoch {
    /// One for all sources, or one for each where batches are of one source.
    lanes: Vec<Lane>,
    random: Random,
    /// How many batches it gave.
    pub(super) batches: u64,
    /// Rows that were left out because they did not fill a batch.
    pub(super) left_out: u64,
    /// The rows of the largest batch that was left out.
    pub(super) largest_left_out: usize,
}

impl Epoch {
    /// The epoch with a number, counted from 0. An epoch draws `quotas` rows of each source.
    pub(super) fn new(
        settings: &SamplerSettings,
        sources: &[usize],
        quotas: &[u64],
        number: u64,
    ) -> Self {
        /// Tell these random numbers from others of the same seed.
        const LANE: u64 = 2;
        const CHOICE: u64 = 3;
        let seed = (settings.order == Order::Shuffled).then_some(settings.seed);
        let mut first = 0;
        let streams = sources.iter().zip(quotas).enumerate().map(|(source, (rows, quota))| {
            let rows = *rows as u32;
            let drawn = number.wrapping_mul(*quota);
            let stream = Stream::new(seed, source as u64, first, rows, drawn);
            first += rows;
            (stream, *quota)
        });
        let random = |lane| Random::derived(settings.seed, &[LANE, number, lane]);
        let lanes = if settings.same_source_per_batch {
            (0..).zip(streams).map(|(lane, stream)| Lane::new(vec![stream], random(lane))).collect()
        } else {
            vec![Lane::new(streams.collect(), random(0))]
        };
        Self {
            lanes,
            random: Random::derived(settings.seed, &[CHOICE, number]),
            batches: 0,
            left_out: 0,
            largest_left_out: 0,
        }
    }

    /// The next batch, or nothing at the end of the epoch.
    pub(super) fn next_batch(
        &mut self,
        rows: &impl Rows,
        settings: &SamplerSettings,
    ) -> Option<Vec<u32>> {
        loop {
            let remaining: u64 = self.lanes.iter().map(Lane::remaining).sum();
            if remaining == 0 {
                return None;
            }
            let mut position = match settings.order {
                Order::File => 0,
                Order::Shuffled => self.random.below(remaining),
            };
            let lane = self.lanes.iter_mut().find(|lane| {
                let remaining = lane.remaining();
                let chosen = position < remaining;
                position = position.saturating_sub(remaining);
                chosen
            })?;
            match lane.next_batch(rows, settings) {
                Given::Batch(batch) => {
                    self.batches += 1;
                    return Some(batch);
                }
                Given::End { left_out, largest } => {
                    self.left_out += left_out;
                    self.largest_left_out = self.largest_left_out.max(largest);
                }
            }
        }
    }
}
