use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};

/// How alike two vectors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Similarity {
    /// The cosine of the angle between them.
    Cosine,
    /// Their dot product.
    Dot,
}

impl Similarity {
    /// Vectors, `[texts, dim]`, whose dot products are the similarities.
    pub(super) fn prepare<B: Backend>(self, embeddings: Tensor<B, 2>) -> Tensor<B, 2> {
        match self {
            Self::Cosine => normalize(embeddings),
            Self::Dot => embeddings,
        }
    }
}

/// Rows of unit length, `x / max(‖x‖, 1e-12)`, as `torch.nn.functional.normalize`.
pub(crate) fn normalize<B: Backend>(vectors: Tensor<B, 2>) -> Tensor<B, 2> {
    /// The square of torch's 1e-12. Clamped before the root, whose slope at 0 is infinite.
    const LEAST_SQUARE: f64 = 1e-24;
    let norms = vectors.clone().square().sum_dim(1).clamp_min(LEAST_SQUARE).sqrt();
    vectors / norms
}

/// The dot products of the rows of two matrices of one shape, `[rows]`.
pub(super) fn pairwise<B: Backend>(left: Tensor<B, 2>, right: Tensor<B, 2>) -> Tensor<B, 1> {
    (left * right).sum_dim(1).squeeze_dim(1)
}
