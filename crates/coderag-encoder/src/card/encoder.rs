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
/// How many tokens go through the model together: enough for a card to be busy.
const TOKENS_AT_ONCE: usize = 65_536;

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
        let normalize = options.normalize.unwrap_or(settings.normalize);
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
                for batch in batches(&sequences) {
                    let pooled = self.engine.encode(&batch)?;
                    values.extend(self.pipeline.follow_steps(&self.dense, pooled)?);
                    task.advance(batch.len() as u64);
                }
            }
            Ok::<_, crate::Error>(())
        })?;
        let mut embeddings = Embeddings::new(dimensions, values)?;
        if normalize {
            embeddings.normalize();
        }
        Ok(embeddings)
    }
}

/// Sequences in order, in parts of at most [`TOKENS_AT_ONCE`] tokens, or a single sequence.
fn batches(sequences: &[Vec<u32>]) -> Vec<Vec<&[u32]>> {
    let mut batches: Vec<Vec<&[u32]>> = Vec::new();
    let mut tokens = 0;
    for ids in sequences {
        tokens += ids.len();
        match batches.last_mut() {
            Some(batch) if tokens <= TOKENS_AT_ONCE => batch.push(ids),
            _ => {
                tokens = ids.len();
                batches.push(vec![ids]);
            }
        }
    }
    batches
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_hold_so_many_tokens_and_every_sequence_in_order() {
        let sequences: Vec<Vec<u32>> =
            [40_000, 20_000, 6_000, 70_000, 3].map(|length| vec![7; length]).to_vec();
        let lengths: Vec<Vec<usize>> = batches(&sequences)
            .iter()
            .map(|batch| batch.iter().map(|ids| ids.len()).collect())
            .collect();
        assert_eq!(lengths, [vec![40_000, 20_000], vec![6_000], vec![70_000], vec![3]]);
    }
}
