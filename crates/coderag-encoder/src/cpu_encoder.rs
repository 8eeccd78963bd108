use std::path::Path;

use coderag_core::{Digest, Embedder, Embeddings, Progress, Silent, TextRole, Unit};

use crate::Result;
use crate::dense::CpuDense;
use crate::encoder::{EncodeOptions, Prompt};
use crate::engine::{Engine, EngineOptions};
use crate::pipeline::TextPipeline;

/// A text encoder on the processor, with the same vectors as [`TextEncoder`](crate::TextEncoder), several
/// times as fast: its body is the [`engine`](crate::engine).
#[derive(Debug)]
pub struct CpuEncoder {
    pipeline: TextPipeline,
    engine: Engine,
    /// One for each dense step.
    dense: Vec<CpuDense>,
}

impl CpuEncoder {
    /// Loads a sentence-transformers directory, or a bare transformers directory.
    ///
    /// # Errors
    /// Any of [`Error`](crate::Error)'s variants about files: what is missing, damaged, contradictory or
    /// unsupported; [`Error::Cpu`](crate::Error::Cpu) and [`Error::Threads`](crate::Error::Threads).
    pub fn load(directory: &Path, options: &EngineOptions) -> Result<Self> {
        Self::open(directory, None, options)
    }

    /// Loads a directory with the LoRA adapter of a second one, a PEFT adapter's, merged into the weights.
    ///
    /// # Errors
    /// As [`CpuEncoder::load`], and [`Error::Adapter`](crate::Error::Adapter).
    pub fn load_with_adapter(
        directory: &Path,
        adapter: &Path,
        options: &EngineOptions,
    ) -> Result<Self> {
        Self::open(directory, Some(adapter), options)
    }

    fn open(directory: &Path, adapter: Option<&Path>, options: &EngineOptions) -> Result<Self> {
        let (pipeline, weights) = TextPipeline::read(directory, adapter)?;
        let settings = &pipeline.settings;
        let engine = Engine::new(weights.body, &settings.architecture, settings.pooling, options)?;
        let dense = pipeline.load_dense(weights.dense)?;
        Ok(Self { pipeline, engine, dense })
    }

    /// The longest sequence in tokens, special tokens included; longer texts are cut.
    pub fn max_tokens(&self) -> usize {
        self.pipeline.settings.max_tokens
    }

    /// What computes the vectors: its settings, and how long its stages took.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The token ids of each text with the prompt before it, special tokens included, cut to
    /// [`max_tokens`](Self::max_tokens).
    ///
    /// # Errors
    /// [`Error::UnknownPrompt`](crate::Error::UnknownPrompt) or
    /// [`Error::Tokenization`](crate::Error::Tokenization).
    pub fn tokenize(&self, texts: &[&str], prompt: &Prompt) -> Result<Vec<Vec<u32>>> {
        self.pipeline.tokenize(texts, self.pipeline.prompt(prompt)?)
    }

    /// Embeds texts in order, `[texts.len(), dimensions]`.
    ///
    /// # Errors
    /// [`Error::UnknownPrompt`](crate::Error::UnknownPrompt) or
    /// [`Error::Tokenization`](crate::Error::Tokenization).
    pub fn encode(
        &self,
        texts: &[&str],
        options: &EncodeOptions,
        progress: &dyn Progress,
    ) -> Result<Embeddings> {
        /// Enough for every thread to have work until the end of a call.
        const TEXTS_AT_ONCE: usize = 512;
        let settings = &self.pipeline.settings;
        let prompt = self.pipeline.prompt(&options.prompt)?;
        let dimensions = settings.dimensions();
        let task = progress.task("embedding texts", Some(texts.len() as u64), Unit::Items);
        let mut values = Vec::with_capacity(texts.len() * dimensions);
        for texts in texts.chunks(TEXTS_AT_ONCE) {
            let sequences = self.pipeline.tokenize(texts, prompt)?;
            let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
            let pooled = self.engine.encode(&sequences)?;
            values.extend(self.pipeline.follow_steps(&self.dense, pooled)?);
            task.advance(texts.len() as u64);
        }
        self.pipeline.finish(values, options)
    }
}

impl Embedder for CpuEncoder {
    fn fingerprint(&self) -> Digest {
        self.pipeline.fingerprint()
    }

    fn dimensions(&self) -> usize {
        self.pipeline.settings.dimensions()
    }

    fn embed(&self, texts: &[&str], role: TextRole) -> coderag_core::Result<Embeddings> {
        self.encode(texts, &role.into(), &Silent)
            .map_err(coderag_core::Error::component("the text encoder"))
    }
}
