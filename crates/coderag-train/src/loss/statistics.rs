use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};

use super::candidates::Candidates;
use super::device_batch::DeviceBatch;
use super::gradient::{at_least_f32, blocks};
use super::{Direction, LossBatch, Similarity};
use crate::{Error, Result};

/// How well a batch's positives are told from its other documents: the numbers for a training log.
///
/// The margin of an anchor is its positive's similarity less that of the most similar document that is not
/// of its group (see [`LossBatch::with_texts`]). Anchors without such a document are left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchStatistics {
    /// How many anchors the numbers are of.
    pub anchors: usize,
    /// The part of the anchors whose margin is over 0.
    pub accuracy: f64,
    /// The mean similarity of an anchor and its positive.
    pub positive: f64,
    /// The mean similarity of an anchor and the most similar other document.
    pub hardest_negative: f64,
    /// The mean margin.
    pub margin: f64,
    /// The margin's quantiles at [`BatchStatistics::QUANTILES`].
    pub margin_quantiles: [f64; 5],
}

impl BatchStatistics {
    /// Where [`margin_quantiles`](Self::margin_quantiles) are taken.
    pub const QUANTILES: [f64; 5] = [0.05, 0.25, 0.5, 0.75, 0.95];

    /// The statistics of vectors `[texts, dim]`, from `rows_per_block` rows of the similarities at a time;
    /// `None` when no anchor has a negative.
    ///
    /// # Errors
    /// [`Error::LossBatch`] when there are more or fewer vectors than texts, [`Error::Backend`] when the
    /// device fails.
    pub fn of<B: Backend>(
        embeddings: Tensor<B, 2>,
        batch: &LossBatch,
        similarity: Similarity,
        rows_per_block: usize,
    ) -> Result<Option<Self>> {
        batch.check_vectors(embeddings.dims()[0])?;
        let embeddings = at_least_f32(embeddings);
        let on_device = DeviceBatch::new(batch, &embeddings);
        let vectors = similarity.prepare(embeddings);
        let mut similarities = Vec::new();
        for rows in blocks(batch.pairs(), rows_per_block) {
            let candidates = Candidates::new(&on_device, rows);
            let scores = candidates.similarities(&vectors, Direction::AnchorToDocument);
            let not_negative = candidates.not_negative();
            similarities.push(Tensor::cat(
                vec![
                    candidates.of_own_columns(scores.clone()),
                    scores.mask_fill(not_negative, f32::NEG_INFINITY).max_dim(1),
                ],
                1,
            ));
        }
        // Each anchor's similarity to its positive and to its hardest negative, `[pairs, 2]`.
        let data = Tensor::cat(similarities, 0).try_into_data();
        let data = data.map_err(|error| Error::Backend(error.into()))?;
        let values: Vec<f64> = data.iter::<f64>().collect();
        let pairs = values.as_chunks().0.iter().map(|[positive, hardest]| (*positive, *hardest));
        let with_negative = pairs.filter(|(_, hardest)| *hardest > f64::NEG_INFINITY).collect();
        Ok(Self::of_similarities(with_negative))
    }

    /// The statistics of anchors, each with the similarities of its positive and of its hardest negative;
    /// `None` for none.
    pub(crate) fn of_similarities(pairs: Vec<(f64, f64)>) -> Option<Self> {
        if pairs.is_empty() {
            return None;
        }
        let mut margins: Vec<f64> =
            pairs.iter().map(|(positive, other)| positive - other).collect();
        margins.sort_by(f64::total_cmp);
        let anchors = pairs.len();
        let mean = |sum: f64| sum / anchors as f64;
        Some(Self {
            anchors,
            accuracy: mean(margins.iter().filter(|margin| **margin > 0.0).count() as f64),
            positive: mean(pairs.iter().map(|(positive, _)| positive).sum()),
            hardest_negative: mean(pairs.iter().map(|(_, other)| other).sum()),
            margin: mean(margins.iter().sum()),
            margin_quantiles: Self::QUANTILES.map(|at| quantile(&margins, at)),
        })
    }
}

/// A quantile of sorted values, at least one, linear between neighbours as numpy's default.
pub(crate) fn quantile(sorted: &[f64], at: f64) -> f64 {
    let place = at * (sorted.len() - 1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * place.fract()
}
