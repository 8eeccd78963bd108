use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;

use crate::Result;
use crate::loss::{BatchStatistics, Loss, LossBatch, PendingLoss, Similarity, normalize};

/// How many anchors' similarities are held at a time.
const ROWS_PER_BLOCK: usize = 256;

/// A loss of a batch, its gradient with respect to the pooled vectors, and how well positives are told from the
/// other documents. What the backward pass does not need is read, or computed, when it is under way.
pub(super) struct Objective<'a, B: AutodiffBackend> {
    loss: PendingLoss<B::InnerBackend>,
    /// What the loss saw, `[texts, dim]`.
    vectors: Tensor<B::InnerBackend, 2>,
    batch: &'a LossBatch,
}

impl<'a, B: AutodiffBackend> Objective<'a, B> {
    /// The objective for pooled vectors, `[texts, dim]`, which the model itself may normalise before the loss
    /// sees them.
    pub(super) fn of(
        pooled: Tensor<B::InnerBackend, 2>,
        normalizes: bool,
        loss: &Loss,
        batch: &'a LossBatch,
    ) -> Result<Self> {
        let leaf = Tensor::<B, 2>::from_inner(pooled).require_grad();
        let vectors = if normalizes { normalize(leaf.clone()) } else { leaf.clone() };
        let inner = vectors.clone().inner();
        let mut loss = loss.pending::<B>(inner.clone(), batch, ROWS_PER_BLOCK)?;
        if normalizes {
            let product = vectors * Tensor::from_inner(loss.gradient.clone());
            if let Some(through) = leaf.grad_remove(&mut product.sum().backward()) {
                loss.gradient = through;
            }
        }
        Ok(Self { loss, vectors: inner, batch })
    }

    /// Of the loss with respect to the pooled vectors, `[texts, dim]`.
    pub(super) fn gradient(&self) -> Tensor<B::InnerBackend, 2> {
        self.loss.gradient.clone()
    }

    /// The loss and the statistics, once the device has them.
    pub(super) fn read(self) -> Result<(f64, Option<BatchStatistics>)> {
        let Self { loss, vectors, batch } = self;
        let statistics = BatchStatistics::of(vectors, batch, Similarity::Cosine, ROWS_PER_BLOCK)?;
        Ok((loss.read()?.value, statistics))
    }
}
