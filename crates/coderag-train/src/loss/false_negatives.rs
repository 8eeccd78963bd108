use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};

/// Which negatives are so near to the anchor that they are likely to be answers themselves, and do not
/// count.
///
/// The scores compared are those of a [`Guide`](super::Guide), or the model's own (without gradient)
/// where the batch has none. As `margin_strategy` and `margin` of sentence-transformers' `GISTEmbedLoss`
/// (Solatorio 2024, arXiv:2402.16829) and, for the relative margin, TopK-PercPos of NV-Retriever (Moreira
/// et al. 2024, arXiv:2407.15831), whose 95 % is a margin of 0.05.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FalseNegatives {
    /// What the margin is measured in.
    pub strategy: MarginStrategy,
    /// How far below its positive's score the score of a negative that counts must be.
    pub margin: f64,
}

/// What a margin is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarginStrategy {
    /// The score: negatives over `positive - margin` do not count.
    Absolute,
    /// The positive's score: negatives over `positive - |positive| · margin` do not count.
    Relative,
}

impl FalseNegatives {
    /// The greatest scores with which negatives count, of the positives' scores; both `[rows, 1]`.
    pub(super) fn thresholds<B: Backend>(&self, positives: Tensor<B, 2>) -> Tensor<B, 2> {
        match self.strategy {
            MarginStrategy::Absolute => positives - self.margin,
            MarginStrategy::Relative => positives.clone() - positives.abs() * self.margin,
        }
    }
}
