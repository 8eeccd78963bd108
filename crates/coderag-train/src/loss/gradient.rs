use std::ops::Range;

use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{DType, FloatDType, Tensor};

use super::device_batch::DeviceBatch;
use super::{Loss, LossBatch};
use crate::{Error, Result};

/// A loss and how it changes with the vectors.
#[derive(Clone, Debug)]
pub struct ValueAndGradient<B: Backend> {
    /// The loss.
    pub value: f64,
    /// Its gradient with respect to the vectors, `[texts, dim]`.
    pub gradient: Tensor<B, 2>,
}

/// A loss as long as it is on the device: what reads it waits for all that the device has to do before.
#[derive(Debug)]
pub(crate) struct PendingLoss<B: Backend> {
    /// `[1]`.
    pub(crate) value: Tensor<B, 1>,
    /// Of the loss with respect to the vectors, `[texts, dim]`.
    pub(crate) gradient: Tensor<B, 2>,
}

impl<B: Backend> PendingLoss<B> {
    /// The loss, once the device has it.
    pub(crate) fn read(self) -> Result<ValueAndGradient<B>> {
        let value = self.value.try_into_data().map_err(|error| Error::Backend(error.into()))?;
        let value = value.iter::<f64>().sum();
        Ok(ValueAndGradient { value, gradient: self.gradient })
    }
}

impl Loss {
    /// The loss of vectors `[texts, dim]` and its gradient, as [`value`](Self::value) and autodiff give
    /// them, but for `rows_per_block` anchors at a time: the largest matrix held has `rows_per_block`
    /// rows and as many columns as the batch has candidates. The order of the sums is the only difference.
    ///
    /// Computed in f32 at least: vectors of half precision are converted, and the gradient is of f32.
    ///
    /// # Errors
    /// [`Error::LossBatch`] when the batch or the vectors do not fit the loss, [`Error::Backend`] when the
    /// device fails.
    pub fn value_and_gradient<B: AutodiffBackend>(
        &self,
        embeddings: Tensor<B::InnerBackend, 2>,
        batch: &LossBatch,
        rows_per_block: usize,
    ) -> Result<ValueAndGradient<B::InnerBackend>> {
        self.pending::<B>(embeddings, batch, rows_per_block)?.read()
    }

    /// As [`value_and_gradient`](Self::value_and_gradient), with the value still on the device.
    pub(crate) fn pending<B: AutodiffBackend>(
        &self,
        embeddings: Tensor<B::InnerBackend, 2>,
        batch: &LossBatch,
        rows_per_block: usize,
    ) -> Result<PendingLoss<B::InnerBackend>> {
        self.check(batch, embeddings.dims())?;
        let embeddings = at_least_f32(embeddings);
        let on_device = DeviceBatch::new(batch, &Tensor::<B, 2>::from_inner(embeddings.clone()));
        let mut gradient = embeddings.zeros_like();
        let mut value = Tensor::zeros([1], (&embeddings.device(), embeddings.dtype()));
        for term in self.terms() {
            for rows in blocks(batch.pairs(), rows_per_block) {
                let leaf = Tensor::<B, 2>::from_inner(embeddings.clone()).require_grad();
                let part = term.rows(leaf.clone(), &on_device, rows);
                let mut gradients = part.backward();
                value = value + part.inner();
                if let Some(part) = leaf.grad_remove(&mut gradients) {
                    gradient = gradient + part;
                }
            }
        }
        Ok(PendingLoss { value, gradient })
    }
}

/// Vectors in f32, or f64 where they are.
pub(super) fn at_least_f32<B: Backend>(vectors: Tensor<B, 2>) -> Tensor<B, 2> {
    match vectors.dtype() {
        DType::F32 | DType::F64 => vectors,
        _ => vectors.cast(FloatDType::F32),
    }
}

/// The numbers `0..rows` in blocks.
pub(super) fn blocks(rows: usize, per_block: usize) -> impl Iterator<Item = Range<usize>> {
    let per_block = per_block.max(1);
    (0..rows).step_by(per_block).map(move |start| start..rows.min(start + per_block))
}
