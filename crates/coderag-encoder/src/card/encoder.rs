use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::thread;

use coderag_core::{Digest, Embedder, Embeddings, Progress, TextRole, Unit};

use super::engine::{CardEngine, CardOptions};
use crate::Result;
use crate::dense::CpuDense;
use crate::device::CudaCard;
use crate::encoder::EncodeOptions;
use crate::pipeline::TextPipeline;

/// How many texts are cut into tokens while the card computes others.
const TEXTS_AT_ONCE: usize = 2048;

/// A BERT or RoBERTa text encoder on a card, with the same vectors as [`CpuEncoder`](crate::CpuEncoder).
#[derive(Debug)]
pub struct CardEncoder {
    pipeline: TextPipeline,
    engine: CardEngine,
    /// One for each dense step, on the processor.
    dense: Vec<CpuDense>,
}

impl CardEncoder {
    /// Loads a sentence-transformers directory, or a bare transformers directory, with the LoRA adapter of a second
    /// one, a PEFT adapter's, merged into the weights.
    ///
    /// # Errors
    /// As [`CpuEncoder::load_with_adapter`](crate::CpuEncoder::load_with_adapter) about files, and those of
    /// [`CardEngine::load`].
    pub fn load(
        directory: &Path,
        adapter: Option<&Path>,
        card: &CudaCard,
        options: CardOptions,
    ) -> Result<Self> {
        let (pipeline, weights) = TextPipeline::read(directory, adapter)?;
        let settings = &pipeline.settings;
        let (architecture, pooling) = (&settings.architecture, settings.pooling);
        let engine = CardEngine::new(card, weights.body, architecture, pooling, None, options)?;
        let dense = pipeline.load_dense(weights.dense)?;
        Ok(Self { pipeline, engine, dense })
    }

    /// Embeds texts in order, `[texts.len(), dimensions]`. While the card computes, the next texts are cut into
    /// tokens.
    ///
    /// # Errors
    /// As [`CpuEncoder::encode`](crate::CpuEncoder::encode), and [`Error::Cuda`](crate::Error::Cuda).
    pub fn encode(
        &self,
        texts: &[&str],
        options: &EncodeOptions,
        progress: &dyn Progress,
    ) -> Result<Embeddings> {
        let settings = &self.pipeline.settings;
        let prompt = self.pipeline.prompt(&options.prompt)?;
        let dimensions = settings.dimensions();
        let task = progress.task("embedding texts", Some(texts.len() as u64), Unit::Items);
        let mut values = Vec::with_capacity(texts.len() * dimensions);
        thread::scope(|scope| {
            let (sender, receiver) = sync_channel(1);
            scope.spawn(move || {
                for texts in texts.chunks(TEXTS_AT_ONCE) {
                    // The receiver is gone when it has met an error.
                    if sender.send(self.pipeline.tokenize(texts, prompt)).is_err() {
                        return;
                    }
                }
            });
            for sequences in receiver {
                let sequences = sequences?;
                let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
                let pooled = self.engine.encode(&sequences)?;
                values.extend(self.pipeline.follow_steps(&self.dense, pooled)?);
                task.advance(sequences.len() as u64);
            }
            Ok::<_, crate::Error>(())
        })?;
        self.pipeline.finish(values, options)
    }
}

impl Embedder for CardEncoder {
    fn fingerprint(&self) -> Digest {
        self.pipeline.fingerprint()
    }

    fn dimensions(&self) -> usize {
        self.pipeline.settings.dimensions()
    }

    fn embed(&self, texts: &[&str], role: TextRole) -> coderag_core::Result<Embeddings> {
        self.encode(texts, &role.into(), &coderag_core::Silent)
            .map_err(coderag_core::Error::component("the text encoder"))
    }
}
