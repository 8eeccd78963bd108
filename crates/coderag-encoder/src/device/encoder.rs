use std::path::Path;

use coderag_core::{Digest, Embedder, Embeddings, Progress, TextRole};

use super::Device;
use crate::encoder::EncodeOptions;
use crate::engine::EngineOptions;
#[cfg(feature = "cuda")]
use crate::engine::Precision;
use crate::{CpuEncoder, Result};
#[cfg(feature = "cuda")]
use crate::{Error, MatrixPrecision, TextEncoder};

/// A text encoder on the device that was chosen.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a process has few of them")]
pub enum DeviceEncoder {
    /// On the processor.
    Cpu(CpuEncoder),
    /// On a card, in builds with the feature `cuda`.
    #[cfg(feature = "cuda")]
    Cuda(TextEncoder<burn::backend::Cuda>),
}

/// A card has too little to do with fewer tokens at once.
#[cfg(feature = "cuda")]
const TOKENS_AT_ONCE: usize = 32_768;

impl DeviceEncoder {
    /// Loads a sentence-transformers directory, or a bare transformers directory, with the LoRA adapter of a
    /// second one, a PEFT adapter's, merged into the weights. The threads are the processor's.
    ///
    /// # Errors
    /// As [`CpuEncoder::load_with_adapter`], and `Error::Cuda` for a precision that a card has not.
    pub fn load(
        directory: &Path,
        adapter: Option<&Path>,
        device: &Device,
        options: &EngineOptions,
    ) -> Result<Self> {
        match device {
            Device::Cpu => Ok(Self::Cpu(match adapter {
                Some(adapter) => CpuEncoder::load_with_adapter(directory, adapter, options)?,
                None => CpuEncoder::load(directory, options)?,
            })),
            #[cfg(feature = "cuda")]
            Device::Cuda(card) => {
                let device = card.device();
                let encoder = match adapter {
                    Some(adapter) => TextEncoder::load_with_adapter(directory, adapter, &device)?,
                    None => TextEncoder::load(directory, &device)?,
                };
                let precision = match options.precision {
                    Precision::F32 => MatrixPrecision::F32,
                    Precision::Bf16 => MatrixPrecision::Bf16,
                    Precision::Int8 => {
                        let problem =
                            "models compute in f32 or bf16 there; int8 is the processor's";
                        return Err(Error::Cuda {
                            index: card.index(),
                            problem: problem.to_owned(),
                        });
                    }
                };
                Ok(Self::Cuda(encoder.with_precision(precision)))
            }
        }
    }

    /// Embeds texts in order, `[texts.len(), dimensions]`. On a card at least 32,768 tokens are in a batch.
    ///
    /// # Errors
    /// As [`CpuEncoder::encode`] and [`TextEncoder::encode`](crate::TextEncoder::encode).
    pub fn encode(
        &self,
        texts: &[&str],
        options: &EncodeOptions,
        progress: &dyn Progress,
    ) -> Result<Embeddings> {
        match self {
            Self::Cpu(encoder) => encoder.encode(texts, options, progress),
            #[cfg(feature = "cuda")]
            Self::Cuda(encoder) => {
                let max_batch_tokens = options.max_batch_tokens.max(TOKENS_AT_ONCE);
                let options = EncodeOptions { max_batch_tokens, ..options.clone() };
                encoder.encode(texts, &options, progress)
            }
        }
    }

    fn embedder(&self) -> &dyn Embedder {
        match self {
            Self::Cpu(encoder) => encoder,
            #[cfg(feature = "cuda")]
            Self::Cuda(encoder) => encoder,
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
