use std::path::{Path, PathBuf};

use burn::tensor::backend::Backend;
use coderag_core::Digest;

use crate::body::lora_places;
use crate::checkpoint::{Checkpoint, Tensor};
use crate::encoder::Prompt;
use crate::lora::LoraPlace;
use crate::pipeline::TextPipeline;
use crate::{Architecture, Body, Error, Pooling, Result};

/// A sentence-transformers directory, or a bare transformers directory, from which training begins: all that
/// is known of the model but its weights laid out.
#[derive(Debug)]
pub struct ModelDirectory {
    path: PathBuf,
    pipeline: TextPipeline,
}

impl ModelDirectory {
    /// Opens a directory; sequences are cut to `max_tokens`, by default to the model's own limit.
    ///
    /// # Errors
    /// Any of [`Error`]'s variants about files, and [`Error::Unsupported`] for a model with Dense layers,
    /// which cannot be trained.
    pub fn open(path: &Path, max_tokens: Option<usize>) -> Result<Self> {
        let (pipeline, _) = TextPipeline::read_base(path, max_tokens)?;
        if !pipeline.settings.steps.is_empty() {
            return Err(Error::Unsupported {
                path: path.join("modules.json"),
                what: "a model with Dense layers after its pooling cannot be trained".into(),
            });
        }
        Ok(Self { path: path.to_owned(), pipeline })
    }

    /// Where the directory is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The body's family and sizes.
    pub fn architecture(&self) -> &Architecture {
        &self.pipeline.settings.architecture
    }

    /// How token states become one vector.
    pub fn pooling(&self) -> Pooling {
        self.pipeline.settings.pooling
    }

    /// Whether vectors are scaled to length 1 after pooling.
    pub fn normalizes(&self) -> bool {
        self.pipeline.settings.normalize
    }

    /// The weights: a safetensors file, or the index of several.
    pub fn weights(&self) -> &Path {
        &self.pipeline.settings.weights
    }

    /// How many parameters the file of weights has.
    ///
    /// # Errors
    /// As for the weights in [`ModelDirectory::open`].
    pub fn parameters(&self) -> Result<u64> {
        let checkpoint = Checkpoint::open(self.weights(), self.architecture().checkpoint_names())?;
        let tensors = checkpoint.into_tensors().into_values().filter(Tensor::is_float);
        Ok(tensors.map(|tensor| tensor.shape().iter().product::<usize>() as u64).sum())
    }

    /// The longest sequence in tokens, special tokens included.
    pub fn max_tokens(&self) -> usize {
        self.pipeline.settings.max_tokens
    }

    /// The digest of all that decides the vectors. The first call reads all weights.
    pub fn fingerprint(&self) -> Digest {
        self.pipeline.fingerprint()
    }

    /// The transformer with its weights.
    ///
    /// # Errors
    /// [`Error::Core`], [`Error::Damaged`] or [`Error::Weights`] about the file of the weights.
    pub fn body<B: Backend>(&self, device: &B::Device) -> Result<Body<B>> {
        let architecture = self.architecture();
        let weights = Checkpoint::open(self.weights(), architecture.checkpoint_names())?;
        Body::load(architecture, weights, device)
    }

    /// The layers where LoRA can be.
    pub fn lora_places(&self) -> Vec<LoraPlace> {
        lora_places(self.architecture())
    }

    /// The token ids of each text with the prompt before it, special tokens included, cut to
    /// [`max_tokens`](Self::max_tokens).
    ///
    /// # Errors
    /// [`Error::UnknownPrompt`] or [`Error::Tokenization`].
    pub fn tokenize(&self, texts: &[&str], prompt: &Prompt) -> Result<Vec<Vec<u32>>> {
        self.pipeline.tokenize(texts, self.pipeline.prompt(prompt)?)
    }
}
