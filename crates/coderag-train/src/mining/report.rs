use serde::{Deserialize, Serialize};

use super::{Mined, Pairs, Removed, Written};
use crate::loss::quantile;

/// Where the quantiles of a [`MiningReport`] are taken.
pub const QUANTILES: [f64; 5] = [0.05, 0.25, 0.5, 0.75, 0.95];

/// What a run of mining found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MiningReport {
    /// Different pairs.
    pub pairs: usize,
    /// Different anchors.
    pub anchors: usize,
    /// Different documents that were compared with each anchor.
    pub documents: usize,
    /// What became of the candidates.
    pub removed: Removed,
    /// What was written.
    pub written: Written,
    /// Quantiles of the similarities of anchors and their positives, at [`QUANTILES`].
    pub positive_scores: [f64; 5],
    /// Quantiles of the similarities of anchors and their negatives, at [`QUANTILES`]; none without negatives.
    pub negative_scores: Option<[f64; 5]>,
}

impl MiningReport {
    /// Puts the numbers together.
    pub fn new(pairs: &Pairs, mined: &Mined, written: Written) -> Self {
        let positives = mined.anchors.iter().flat_map(|anchor| &anchor.positives);
        let negatives = mined.anchors.iter().flat_map(|anchor| &anchor.negatives);
        Self {
            pairs: pairs.len(),
            anchors: pairs.anchors().len(),
            documents: pairs.documents().len(),
            removed: mined.removed,
            written,
            positive_scores: quantiles(positives.copied()).unwrap_or_default(),
            negative_scores: quantiles(negatives.map(|negative| negative.score)),
        }
    }
}

fn quantiles(scores: impl Iterator<Item = f32>) -> Option<[f64; 5]> {
    let mut scores: Vec<f64> = scores.map(f64::from).collect();
    scores.sort_unstable_by(f64::total_cmp);
    (!scores.is_empty()).then(|| QUANTILES.map(|at| quantile(&scores, at)))
}
