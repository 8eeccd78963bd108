use burn::module::{Module, Param};
use burn::nn::{Dropout, DropoutConfig, Embedding, Linear};
use burn::tensor::backend::Backend;
use burn::tensor::module::{embedding, linear};
use burn::tensor::{FloatDType, Int, Tensor, TensorData};

use super::selection::LayerKind;
use super::weights::{LoraWeights, transposed};
use crate::matrix_precision::{MatrixPrecision, rounded};

/// What LoRA adds to a layer: two thin matrices that are trained in place of the layer's weight.
#[derive(Module, Debug)]
pub struct Lora<B: Backend> {
    /// A, `[inputs, rank]`.
    a: Param<Tensor<B, 2>>,
    /// B, `[rank, outputs]`.
    b: Param<Tensor<B, 2>>,
    scale: f64,
    /// On the inputs of A, in training.
    dropout: Dropout,
}

impl<B: Backend> Lora<B> {
    /// Trainable A and B with these values. Dropout is active on backends that differentiate.
    fn new(weights: &LoraWeights, scale: f64, dropout: f64, device: &B::Device) -> Self {
        let [rank, inputs, outputs] = [weights.rank(), weights.inputs(), weights.outputs()];
        let parameter = |values: &[f32], rows, columns| {
            let data = TensorData::new(transposed(values, rows, columns), [columns, rows]);
            Param::from_tensor(Tensor::from_data(data, device))
        };
        Self {
            a: parameter(weights.a(), rank, inputs),
            b: parameter(weights.b(), outputs, rank),
            scale,
            dropout: DropoutConfig::new(dropout).init(),
        }
    }

    /// `scale * (input * A) * B`, `[.., inputs]` to `[.., outputs]`.
    fn forward<const D: usize>(
        &self,
        input: Tensor<B, D>,
        precision: MatrixPrecision,
    ) -> Tensor<B, D> {
        let reduced = precision.linear(self.dropout.forward(input), self.a.val(), None);
        precision.linear(reduced * self.scale, self.b.val(), None)
    }

    /// The same for inputs with a single 1: indices, `[batch, tokens]`, to `[batch, tokens, outputs]`.
    fn look_up(&self, ids: Tensor<B, 2, Int>) -> Tensor<B, 3> {
        linear(embedding(self.a.val(), ids) * self.scale, self.b.val(), None)
    }

    /// What is added to the weight, `[inputs, outputs]`.
    fn product(&self) -> Tensor<B, 2> {
        self.a.val().matmul(self.b.val() * self.scale)
    }

    fn weights(&self, kind: LayerKind) -> Option<LoraWeights> {
        let ([inputs, rank], [_, outputs]) = (self.a.dims(), self.b.dims());
        let read = |tensor: Tensor<B, 2>| {
            let data = tensor.transpose().into_data().convert::<f32>();
            data.into_vec::<f32>().ok()
        };
        LoraWeights::new(kind, rank, [inputs, outputs], read(self.a.val())?, read(self.b.val())?)
    }
}

/// A linear layer that may have LoRA.
///
/// Its output is `input * W + bias + scale * (input * A) * B`; the product of A and B is never formed. While
/// there is LoRA, W and the bias are frozen: backward passes compute no gradient for them.
#[derive(Module, Debug)]
pub struct LoraLinear<B: Backend> {
    base: Linear<B>,
    lora: Option<Lora<B>>,
    #[module(skip)]
    precision: MatrixPrecision,
}

impl<B: Backend> LoraLinear<B> {
    /// `[.., inputs]` to `[.., outputs]`.
    pub fn forward<const D: usize>(&self, input: Tensor<B, D>) -> Tensor<B, D> {
        let base = |input| {
            let (weight, bias) = (self.base.weight.val(), self.base.bias.as_ref());
            self.precision.linear(input, weight, bias.map(|bias| bias.val()))
        };
        match &self.lora {
            None => base(input),
            Some(lora) => base(input.clone()) + lora.forward(input, self.precision),
        }
    }

    /// Has products computed in this format. A weight that is not trained is kept in it.
    pub(crate) fn set_precision(&mut self, precision: MatrixPrecision) {
        self.precision = precision;
        let weight = &self.base.weight;
        if precision == MatrixPrecision::Bf16 && !weight.is_require_grad() {
            self.base.weight = weight.clone().map(rounded);
        }
    }
}

impl<B: Backend> From<Linear<B>> for LoraLinear<B> {
    fn from(base: Linear<B>) -> Self {
        Self { base, lora: None, precision: MatrixPrecision::default() }
    }
}

/// A table of embeddings that may have LoRA, as [`LoraLinear`] for inputs with a single 1. There is no
/// dropout, as in PEFT.
#[derive(Module, Debug)]
pub struct LoraEmbedding<B: Backend> {
    base: Embedding<B>,
    lora: Option<Lora<B>>,
}

impl<B: Backend> LoraEmbedding<B> {
    /// The rows at these indices, `[batch, tokens]` to `[batch, tokens, dim]`.
    pub fn forward(&self, ids: Tensor<B, 2, Int>) -> Tensor<B, 3> {
        match &self.lora {
            None => self.base.forward(ids),
            Some(lora) => self.base.forward(ids.clone()) + lora.look_up(ids),
        }
    }

    /// The first `count` rows, `[count, dim]`.
    pub fn first_rows(&self, count: usize) -> Tensor<B, 2> {
        let rows = self.base.weight.val().narrow(0, 0, count);
        match &self.lora {
            None => rows,
            Some(lora) => {
                let reduced = lora.a.val().narrow(0, 0, count) * lora.scale;
                rows + reduced.matmul(lora.b.val())
            }
        }
    }
}

impl<B: Backend> From<Embedding<B>> for LoraEmbedding<B> {
    fn from(base: Embedding<B>) -> Self {
        Self { base, lora: None }
    }
}

/// A place in a model where LoRA can be.
#[derive(Debug)]
pub enum LoraSlot<'a, B: Backend> {
    /// A linear layer.
    Linear(&'a mut LoraLinear<B>),
    /// A table of embeddings.
    Embedding(&'a mut LoraEmbedding<B>),
}

impl<'a, B: Backend> From<&'a mut LoraLinear<B>> for LoraSlot<'a, B> {
    fn from(layer: &'a mut LoraLinear<B>) -> Self {
        Self::Linear(layer)
    }
}

impl<'a, B: Backend> From<&'a mut LoraEmbedding<B>> for LoraSlot<'a, B> {
    fn from(layer: &'a mut LoraEmbedding<B>) -> Self {
        Self::Embedding(layer)
    }
}

impl<B: Backend> LoraSlot<'_, B> {
    pub(super) fn kind(&self) -> LayerKind {
        match self {
            Self::Linear(_) => LayerKind::Linear,
            Self::Embedding(_) => LayerKind::Embedding,
        }
    }

    /// How many inputs and outputs the layer has.
    pub(super) fn sizes(&self) -> [usize; 2] {
        self.weight().lazy_shape().dims()
    }

    /// The base's weight, `[inputs, outputs]`.
    fn weight(&self) -> &Param<Tensor<B, 2>> {
        match self {
            Self::Linear(layer) => &layer.base.weight,
            Self::Embedding(layer) => &layer.base.weight,
        }
    }

    fn weight_mut(&mut self) -> &mut Param<Tensor<B, 2>> {
        match self {
            Self::Linear(layer) => &mut layer.base.weight,
            Self::Embedding(layer) => &mut layer.base.weight,
        }
    }

    fn lora_mut(&mut self) -> &mut Option<Lora<B>> {
        match self {
            Self::Linear(layer) => &mut layer.lora,
            Self::Embedding(layer) => &mut layer.lora,
        }
    }

    /// Takes LoRA out of the layer.
    pub(super) fn detach(&mut self) {
        *self.lora_mut() = None;
    }

    /// Puts LoRA into the layer.
    pub(super) fn attach(&mut self, weights: &LoraWeights, scale: f64, dropout: f64) {
        let device = self.weight().lazy_device();
        *self.lora_mut() = Some(Lora::new(weights, scale, dropout, &device));
    }

    /// The A and B of the layer.
    pub(super) fn weights(&mut self) -> Option<LoraWeights> {
        let kind = self.kind();
        self.lora_mut().as_ref()?.weights(kind)
    }

    /// Replaces the base's weight by these values, `[inputs, outputs]` row by row.
    pub(super) fn load(&mut self, values: Vec<f32>) {
        let data = TensorData::new(values, self.sizes());
        self.change(|weight| Tensor::from_data(data, &weight.device()));
    }

    fn change(&mut self, change: impl FnOnce(Tensor<B, 2>) -> Tensor<B, 2>) {
        let weight = self.weight_mut();
        *weight = weight.clone().map(|weight| {
            let trainable = weight.is_require_grad();
            change(weight).detach().set_require_grad(trainable)
        });
    }

    /// Adds the LoRA to the base's weight and takes it away.
    pub(super) fn merge(&mut self) {
        if let Some(lora) = self.lora_mut().take() {
            // A frozen weight may be in bfloat16.
            self.change(|weight| weight.cast(FloatDType::F32) + lora.product());
        }
    }
}
