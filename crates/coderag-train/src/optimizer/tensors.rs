use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::AdamW;

/// What AdamW remembers of a tensor, on a device.
#[derive(Clone, Debug)]
pub(crate) struct TensorMoments<B: Backend> {
    /// The running mean of the gradients, `[numbers]`.
    pub(crate) first: Tensor<B, 1>,
    /// The running mean of their squares, `[numbers]`.
    pub(crate) second: Tensor<B, 1>,
}

impl<B: Backend> TensorMoments<B> {
    /// Those of a tensor that has not been trained; `like` is any of its size.
    pub(crate) fn new(like: &Tensor<B, 1>) -> Self {
        Self { first: like.zeros_like(), second: like.zeros_like() }
    }
}

impl AdamW {
    /// [`step`](Self::step) on a device, with the same operations in the same order: takes a tensor's numbers
    /// and returns what becomes of them.
    pub(crate) fn step_tensor<B: Backend>(
        &self,
        (step, learning_rate): (u64, f64),
        decays: bool,
        numbers: Tensor<B, 1>,
        gradient: Tensor<B, 1>,
        moments: TensorMoments<B>,
    ) -> (Tensor<B, 1>, TensorMoments<B>) {
        let constants = self.constants(step, learning_rate, decays);
        let TensorMoments { first, second } = moments;
        let change = (gradient.clone() - first.clone()) * constants.first_weight;
        let first = first + change;
        let squares = gradient.clone() * constants.second_weight * gradient;
        let second = second * constants.beta2 + squares;
        let denominator = second.clone().sqrt() / constants.second_root + constants.epsilon;
        let change = first.clone() * constants.step_size / denominator;
        (numbers * constants.shrink - change, TensorMoments { first, second })
    }
}

/// The norm of tensors together, each seen as rows, `[rows, columns]`. Computed on the device and read once:
/// in f32 within a tensor and in f64 over tensors.
///
/// # Errors
/// What the device says when it fails.
pub(crate) fn norm<B: Backend>(
    tensors: impl IntoIterator<Item = Tensor<B, 2>>,
) -> Result<f64, burn::tensor::backend::ExecutionError> {
    // Row by row, no sum has so many terms that small ones are lost.
    let sum_of_squares = |rows: Tensor<B, 2>| (rows.clone() * rows).sum_dim(1).sum();
    let sums: Vec<Tensor<B, 1>> = tensors.into_iter().map(sum_of_squares).collect();
    if sums.is_empty() {
        return Ok(0.0);
    }
    let sums = Tensor::cat(sums, 0).try_into_data()?;
    Ok(sums.iter::<f64>().sum::<f64>().sqrt())
}
