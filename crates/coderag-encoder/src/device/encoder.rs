use std::path::Path;

use coderag_core::{Digest, Embedder, Embeddings, Progress, TextRole};

#[cfg(feature = "cuda")]
use super::CudaCard;
use super::Device;
use crate::card::{CardEncoder, CardOptions};
use crate::encoder::EncodeOptions;
use crate::engine::{EngineOptions, Precision, TrainingPrecision};
use crate::{CpuEncoder, Error, Result};
#[cfg(feature = "cuda")]
use crate::{MatrixPrecision, TextEncoder};

/// A text encoder on the device that was chosen.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a process has few of them")]
pub enum DeviceEncoder {
    /// On the processor.
    Cpu(CpuEncoder),
    /// A BERT or RoBERTa on a card.
    Card(CardEncoder),
    /// Any model on a card in burn, in builds with the feature `cuda`.
    #[cfg(feature = "cuda")]
    Burn(TextEncoder<burn::backend::Cuda>),
}

/// A card has too little to do with fewer tokens at once.
#[cfg(feature = "cuda")]
const TOKENS_AT_ONCE: usize = 32_768;

impl DeviceEncoder {
    /// Loads a sentence-transformers directory, or a bare transformers directory, with the LoRA adapter of a
    /// second one, a PEFT adapter's, merged into the weights. The threads are the processor's.
    ///
    /// # Errors
    /// As [`CpuEncoder::load_with_adapter`] and [`CardEncoder::load`], and `Error::Cuda` for a precision that a card
    /// has not.
    pub fn load(
        directory: &Path,
        adapter: Option<&Path>,
        device: &Device,
        options: &EngineOptions,
    ) -> Result<Self> {
        let on_processor = || -> Result<Self> {
            Ok(Self::Cpu(match adapter {
                Some(adapter) => CpuEncoder::load_with_adapter(directory, adapter, options)?,
                None => CpuEncoder::load(directory, options)?,
            }))
        };
        let Device::Cuda { card, required } = device else { return on_processor() };
        let precision = match options.precision {
            Precision::F32 => TrainingPrecision::F32,
            Precision::Bf16 => TrainingPrecision::Bf16,
            Precision::Int8 if !required => return on_processor(),
            Precision::Int8 => {
                let problem = "models compute in f32 or bf16 there; int8 is the processor's".into();
                return Err(Error::Cuda { index: card.index(), problem });
            }
        };
        let options = CardOptions { precision, recompute: false };
        match CardEncoder::load(directory, adapter, card, options) {
            #[cfg(feature = "cuda")]
            Err(Error::Training(_)) => Self::load_in_burn(directory, adapter, card, precision),
            #[cfg(not(feature = "cuda"))]
            Err(Error::Training(problem)) if !required => {
                tracing::warn!("computing on the processor: {problem}");
                on_processor()
            }
            loaded => Ok(Self::Card(loaded?)),
        }
    }

    #[cfg(feature = "cuda")]
    fn load_in_burn(
        directory: &Path,
        adapter: Option<&Path>,
        card: &CudaCard,
        precision: TrainingPrecision,
    ) -> Result<Self> {
        let device = card.burn_device()?;
        let encoder = match adapter {
            Some(adapter) => TextEncoder::load_with_adapter(directory, adapter, &device)?,
            None => TextEncoder::load(directory, &device)?,
        };
        Ok(Self::Burn(encoder.with_precision(MatrixPrecision::from(precision))))
    }

    /// Embeds texts in order, `[texts.len(), dimensions]`. On a card at least 32,768 tokens are in a batch.
    ///
    /// # Errors
    /// As [`CpuEncoder::encode`] and [`CardEncoder::encode`].
    pub fn encode(
        &self,
        texts: &[&str],
        options: &EncodeOptions,
        progress: &dyn Progress,
    ) -> Result<Embeddings> {
        match self {
            Self::Cpu(encoder) => encoder.encode(texts, options, progress),
            Self::Card(encoder) => encoder.encode(texts, options, progress),
            #[cfg(feature = "cuda")]
            Self::Burn(encoder) => {
                let max_batch_tokens = options.max_batch_tokens.max(TOKENS_AT_ONCE);
                let options = EncodeOptions { max_batch_tokens, ..options.clone() };
                encoder.encode(texts, &options, progress)
            }
        }
    }

    fn embedder(&self) -> &dyn Embedder {
        match self {
            Self::Cpu(encoder) => encoder,
            Self::Card(encoder) => encoder,
            #[cfg(feature = "cuda")]
            Self::Burn(encoder) => encoder,
        }
    }
}

impl Embedder for DeviceEncoder {
    fn fingerprint(&self) -> Digest {
        self.embedder().fingerprint()
    }

    fn dimensions(&self) -> usize {
        self.embedder().dimensions()
    }

    fn embed(&self, texts: &[&str], role: TextRole) -> coderag_core::Result<Embeddings> {
        self.encode(texts, &role.into(), &coderag_core::Silent)
            .map_err(coderag_core::Error::component("the text encoder"))
    }
}
