use burn::tensor::backend::Backend;
use burn::tensor::module::linear;
use burn::tensor::{FloatDType, Tensor};

use crate::engine::TrainingPrecision;

/// The number format of matrix products on a burn backend. Everything else, sums between layers and
/// normalizations included, is in f32, as under `torch.autocast`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MatrixPrecision {
    /// 32-bit floating point.
    #[default]
    F32,
    /// Factors and results rounded to bfloat16.
    Bf16,
}

impl From<TrainingPrecision> for MatrixPrecision {
    fn from(precision: TrainingPrecision) -> Self {
        match precision {
            TrainingPrecision::F32 => Self::F32,
            TrainingPrecision::Bf16 => Self::Bf16,
        }
    }
}

impl MatrixPrecision {
    /// `left * right`, `[.., rows, inner]` by `[.., inner, columns]`.
    pub(crate) fn product<B: Backend, const D: usize>(
        self,
        left: Tensor<B, D>,
        right: Tensor<B, D>,
    ) -> Tensor<B, D> {
        match self {
            Self::F32 => left.matmul(right),
            Self::Bf16 => rounded(left).matmul(rounded(right)).cast(FloatDType::F32),
        }
    }

    /// `input * weight + bias`, `[.., inputs]` to `[.., outputs]`; the weight is `[inputs, outputs]`.
    pub(crate) fn linear<B: Backend, const D: usize>(
        self,
        input: Tensor<B, D>,
        weight: Tensor<B, 2>,
        bias: Option<Tensor<B, 1>>,
    ) -> Tensor<B, D> {
        match self {
            Self::F32 => linear(input, weight, bias),
            Self::Bf16 => {
                let output = linear(rounded(input), rounded(weight), None).cast(FloatDType::F32);
                match bias {
                    Some(bias) => output + bias.unsqueeze(),
                    None => output,
                }
            }
        }
    }
}

/// The nearest numbers of bfloat16.
pub(crate) fn rounded<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Tensor<B, D> {
    tensor.cast(FloatDType::BF16)
}
