use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use serde::Serialize;

use crate::TokenBatch;

/// How the token states become one vector for the text, as in sentence-transformers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The state of the first token.
    Cls,
    /// The mean over the text's tokens, special tokens included.
    Mean,
    /// The largest value of each dimension over the text's tokens, special tokens included.
    Max,
    /// The state of the last token.
    LastToken,
}

impl Pooling {
    /// Reduces token states, `[batch, tokens, dim]`, to text vectors, `[batch, dim]`.
    pub fn pool<B: Backend>(self, states: Tensor<B, 3>, batch: &TokenBatch<B>) -> Tensor<B, 2> {
        let pooled = match self {
            Self::Cls => states.narrow(1, 0, 1),
            Self::Mean => batch.mean_weights().unsqueeze_dim::<3>(1).matmul(states),
            Self::LastToken => {
                let [_, _, dimensions] = states.dims();
                let last =
                    batch.last_tokens().unsqueeze_dim::<2>(1).expand([-1, dimensions as i64]);
                states.gather(1, last.unsqueeze_dim(1))
            }
            Self::Max => match batch.padding_bias() {
                Some(bias) => (states + bias.unsqueeze_dim::<3>(2)).max_dim(1),
                None => states.max_dim(1),
            },
        };
        pooled.squeeze_dim(1)
    }
}
