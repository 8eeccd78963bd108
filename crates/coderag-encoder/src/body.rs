use burn::module::{Module, ParamId};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::bert::BERT_MODULES;
use crate::checkpoint::Checkpoint;
use crate::forward_pass::ForwardPass;
use crate::lora::{LoraModel, LoraPlace, LoraSlot};
use crate::matrix_precision::MatrixPrecision;
use crate::qwen2::QWEN2_MODULES;
use crate::weights::{ParameterPlace, load_into, take_tensors, trained_parameters};
use crate::{Architecture, Bert, CpuBackend, Qwen2, Result, TokenBatch};

/// The transformer of a text encoder, of any [`Architecture`].
#[derive(Module, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "a process has few of them, and burn has no boxed modules"
)]
pub enum Body<B: Backend> {
    /// See [`Bert`].
    Bert(Bert<B>),
    /// See [`Qwen2`].
    Qwen2(Qwen2<B>),
}

impl<B: Backend> Body<B> {
    /// A body with random weights, which are drawn when they are first used.
    pub fn init(architecture: &Architecture, device: &B::Device) -> Self {
        match architecture {
            Architecture::Bert(config) => Self::Bert(config.init(device)),
            Architecture::Qwen2(config) => Self::Qwen2(config.init(device)),
        }
    }

    /// Reads the weights.
    pub(crate) fn load(
        architecture: &Architecture,
        mut checkpoint: Checkpoint,
        device: &B::Device,
    ) -> Result<Self> {
        let body = match Self::init(architecture, device) {
            Self::Bert(bert) => Self::Bert(load_into(bert, &mut checkpoint, BERT_MODULES, device)),
            Self::Qwen2(qwen2) => {
                Self::Qwen2(load_into(qwen2, &mut checkpoint, QWEN2_MODULES, device))
            }
        };
        checkpoint.finish()?;
        Ok(body)
    }

    /// The state of every token after the last block, `[batch, tokens, hidden_size]`; what stands at
    /// padded positions means nothing. No sequence may be longer than the architecture's `max_tokens`.
    pub fn forward(&self, batch: &TokenBatch<B>) -> Tensor<B, 3> {
        match self {
            Self::Bert(bert) => bert.forward(batch),
            Self::Qwen2(qwen2) => qwen2.forward(batch),
        }
    }

    /// [`forward`](Self::forward) in steps.
    pub fn pass(&self, batch: &TokenBatch<B>) -> Box<dyn ForwardPass<B> + '_> {
        match self {
            Self::Bert(bert) => Box::new(bert.pass(batch)),
            Self::Qwen2(qwen2) => Box::new(qwen2.pass(batch)),
        }
    }

    /// Has matrix products computed in this format. Weights that have no gradients are kept in it; those that
    /// are trained stay in f32 and are rounded for each product.
    #[must_use]
    pub fn with_precision(mut self, precision: MatrixPrecision) -> Self {
        match &mut self {
            Self::Bert(bert) => bert.set_attention_precision(precision),
            Self::Qwen2(qwen2) => qwen2.set_attention_precision(precision),
        }
        for (_, slot) in self.lora_slots() {
            if let LoraSlot::Linear(layer) = slot {
                layer.set_precision(precision);
            }
        }
        self
    }

    /// The parameters that have gradients, always in the same order, and where they are in checkpoints.
    pub fn trained_parameters(&self) -> Vec<(ParamId, ParameterPlace)> {
        match self {
            Self::Bert(bert) => trained_parameters(bert, BERT_MODULES),
            Self::Qwen2(qwen2) => trained_parameters(qwen2, QWEN2_MODULES),
        }
    }
}

impl<B: Backend> LoraModel<B> for Body<B> {
    fn lora_slots(&mut self) -> Vec<(String, LoraSlot<'_, B>)> {
        match self {
            Self::Bert(bert) => bert.lora_slots(),
            Self::Qwen2(qwen2) => qwen2.lora_slots(),
        }
    }
}

/// Checks that a checkpoint is an architecture's, without reading the weights.
pub(crate) fn check_weights(architecture: &Architecture, mut checkpoint: Checkpoint) -> Result<()> {
    // As in `lora_places`, nothing is drawn.
    let device = Default::default();
    match Body::<CpuBackend>::init(architecture, &device) {
        Body::Bert(bert) => take_tensors(bert, &mut checkpoint, BERT_MODULES, &device),
        Body::Qwen2(qwen2) => take_tensors(qwen2, &mut checkpoint, QWEN2_MODULES, &device),
    }
    checkpoint.finish()
}

/// The layers of a body where LoRA can be.
pub(crate) fn lora_places(architecture: &Architecture) -> Vec<LoraPlace> {
    // Nothing is drawn: the parameters of a new module are made when they are first used.
    Body::<CpuBackend>::init(architecture, &Default::default()).lora_places()
}
