use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;

use crate::Result;
use crate::loss::{
    BatchStatistics, Loss, LossBatch, PendingLoss, PendingStatistics, Similarity, normalize,
};

/// How many anchors' similarities are held at a time.
const ROWS_PER_BLOCK: usize = 256;

/// A loss of a batch, its gradient with respect to the pooled vectors, and how well positives are told from the
/// other documents. All of it is on the device, so that the backward pass is under way before anything is read.
pub(super) struct Objective<B: AutodiffBackend> {
    loss: PendingLoss<B::InnerBackend>,
    statistics: PendingStatistics<B::InnerBackend>,
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
            PendingStatistics::of(inner.clone(), batch, Similarity::Cosine, ROWS_PER_BLOCK)?;
        let mut loss = loss.pending::<B>(inner, batch, ROWS_PER_BLOCK)?;
        if normalizes {
            let product = vectors * Tensor::from_inner(loss.gradient.clone());
            if let Some(through) = leaf.grad_remove(&mut product.sum().backward()) {
                loss.gradient = through;
            }
        }
        Ok(Self { loss, statistics })
    }

    /// Of the loss with respect to the pooled vectors, `[texts, dim]`.
    pub(super) fn gradient(&self) -> Tensor<B::InnerBackend, 2> {
        self.loss.gradient.clone()
    }

    /// The loss and the statistics, once the device has them.
    pub(super) fn read(self) -> Result<(f64, Option<BatchStatistics>)> {
        Ok((self.loss.read()?.value, self.statistics.read()?))
    }
}
