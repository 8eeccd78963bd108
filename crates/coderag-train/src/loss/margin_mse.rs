use std::ops::Range;

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};

use super::Similarity;
use super::device_batch::DeviceBatch;
use super::similarity::pairwise;

/// Distillation of margins: the positive's score less a negative's must be what it is for the teacher.
///
/// ```text
/// mean over the negatives n of anchor a with positive p of
///     ((s(a, p) - s(a, n)) - (t(p) - t(n)))²
/// ```
///
/// Hofstätter et al. 2020, arXiv:2010.02666; equal to sentence-transformers' `MarginMSELoss`, where every
/// anchor has as many negatives as the others. The scores are those of
/// [`LossBatch::with_teacher_scores`](super::LossBatch::with_teacher_scores).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MarginMse {
    /// How texts are compared.
    pub similarity: Similarity,
}

impl Default for MarginMse {
    fn default() -> Self {
        Self { similarity: Similarity::Dot }
    }
}

impl MarginMse {
    /// What the anchors `rows` add to the loss, of vectors `[texts, dim]`.
    pub(super) fn rows<B: Backend>(
        &self,
        embeddings: Tensor<B, 2>,
        batch: &DeviceBatch<'_, B>,
        rows: Range<usize>,
    ) -> Tensor<B, 1> {
        let pairs = batch.batch.pairs();
        let owners = batch.batch.negative_owners();
        let negatives: Vec<usize> = batch.batch.negatives_of(rows).collect();
        if negatives.is_empty() {
            return embeddings.sum() * 0.0;
        }
        let vectors = self.similarity.prepare(embeddings);
        let select = |texts: Vec<usize>| vectors.clone().select(0, batch.indices(texts));
        let anchors = select(negatives.iter().map(|&negative| owners[negative]).collect());
        let positives =
            select(negatives.iter().map(|&negative| pairs + owners[negative]).collect());
        let others = select(negatives.iter().map(|&negative| 2 * pairs + negative).collect());
        let margins = pairwise(anchors.clone(), positives) - pairwise(anchors, others);

        let scores = batch.batch.teacher_scores().unwrap_or_default();
        let margin = |negative: usize| {
            f64::from(scores[owners[negative]]) - f64::from(scores[pairs + negative])
        };
        let taught: Vec<f64> = negatives.iter().map(|&negative| margin(negative)).collect();
        let taught = batch.matrix(taught, [1, negatives.len()]).squeeze_dim::<1>(0);
        (margins - taught).square().sum() / owners.len() as f64
    }
}
