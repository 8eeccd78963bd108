use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;

use crate::Result;
use crate::loss::{BatchStatistics, Loss, LossBatch, Similarity, ValueAndGradient, normalize};

/// How many anchors' similarities are held at a time.
const ROWS_PER_BLOCK: usize = 256;

/// A loss of a batch, its gradient with respect to the pooled vectors, and how well positives are told from the
/// other documents.
pub(super) struct Objective<B: AutodiffBackend> {
    pub(super) value: f64,
    /// `[texts, dim]`.
    pub(super) gradient: Tensor<B::InnerBackend, 2>,
    pub(super) statistics: Option<BatchStatistics>,
}

impl<B: AutodiffBackend> Objective<B> {
    /// The objective for pooled vectors, `[texts, dim]`, which the model itself may normalise before the loss
    /// sees them.
    pub(super) fn of(
        pooled: Tensor<B::InnerBackend, 2>,
        normalizes: bool,
        loss: &Loss,
        batch: &LossBatch,
    ) -> Result<Self> {
        let leaf = Tensor::<B, 2>::from_inner(pooled).require_grad();
        let vectors = if normalizes { normalize(leaf.clone()) } else { leaf.clone() };
        let inner = vectors.clone().inner();
        let statistics =
            BatchStatistics::of(inner.clone(), batch, Similarity::Cosine, ROWS_PER_BLOCK)?;
        let ValueAndGradient { value, mut gradient } =
            loss.value_and_gradient::<B>(inner, batch, ROWS_PER_BLOCK)?;
        if normalizes {
            let product = vectors * Tensor::from_inner(gradient.clone());
            if let Some(through) = leaf.grad_remove(&mut product.sum().backward()) {
                gradient = through;
            }
        }
        Ok(Self { value, gradient, statistics })
    }
}
