use std::path::Path;

use burn::module::Module as _;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use coderag_core::{Digest, Embedder, Embeddings, Progress, Silent, TextRole, Unit};

use crate::batching::batches_by_length;
use crate::body::Body;
use crate::dense::Dense;
use crate::lora::{Adapter, LoraModel};
use crate::matrix_precision::MatrixPrecision;
use crate::pipeline::TextPipeline;
use crate::sentence_transformers::Step;
use crate::{Error, Result, TokenBatch};

/// A text encoder: tokenizer, transformer, pooling and normalisation.
#[derive(Debug)]
pub struct TextEncoder<B: Backend> {
    pipeline: TextPipeline,
    body: Body<B>,
    /// One for each dense step.
    dense: Vec<Dense<B>>,
    device: B::Device,
}

/// What is put before each text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Prompt {
    /// The prompt that the model names as its default, if it does.
    #[default]
    Default,
    /// The model's prompt of this name.
    Named(String),
    /// This text.
    Text(String),
    /// Nothing.
    None,
}

/// How texts are embedded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodeOptions {
    /// What is put before each text.
    pub prompt: Prompt,
    /// Whether vectors are scaled to length 1; the model decides by default.
    pub normalize: Option<bool>,
    /// The most tokens in a batch, padding included; a longer text is a batch of its own. It bounds the
    /// memory, and changes the vectors by no more than floating-point noise. [`CpuEncoder`] has no use for
    /// it.
    ///
    /// [`CpuEncoder`]: crate::CpuEncoder
    pub max_batch_tokens: usize,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        // Of 1024 to 8192 the fastest, or near it, on two Zen 4 cores.
        Self { prompt: Prompt::default(), normalize: None, max_batch_tokens: 2048 }
    }
}

/// With the prompt that sentence-transformers' `encode_query` and `encode_document` take.
impl From<TextRole> for EncodeOptions {
    fn from(role: TextRole) -> Self {
        let name = match role {
            TextRole::Query => "query",
            TextRole::Document => "document",
        };
        Self { prompt: Prompt::Named(name.into()), ..Self::default() }
    }
}

impl<B: Backend> TextEncoder<B> {
    /// Loads a sentence-transformers directory, or a bare transformers directory.
    ///
    /// # Errors
    /// Any of [`Error`]'s variants about files: what is missing, damaged, contradictory or unsupported.
    pub fn load(directory: &Path, device: &B::Device) -> Result<Self> {
        Self::open(directory, None, device)
    }

    /// Loads a directory with the LoRA adapter of a second one, a PEFT adapter's, merged into the weights.
    ///
    /// # Errors
    /// As [`TextEncoder::load`], and [`Error::Adapter`].
    pub fn load_with_adapter(directory: &Path, adapter: &Path, device: &B::Device) -> Result<Self> {
        Self::open(directory, Some(adapter), device)
    }

    fn open(directory: &Path, adapter: Option<&Path>, device: &B::Device) -> Result<Self> {
        let (pipeline, weights) = TextPipeline::read(directory, adapter)?;
        let body = Body::load(&pipeline.settings.architecture, weights.body, device)?;
        let mut dense = Vec::new();
        for (config, weights) in pipeline.settings.dense().zip(weights.dense) {
            dense.push(Dense::load(config, weights, device)?);
        }
        Ok(Self { pipeline, body, dense, device: device.clone() })
    }

    /// Adds a LoRA adapter that stays apart from the weights: see [`LoraModel::with_adapter`].
    ///
    /// # Errors
    /// [`Error::Adapter`] when the adapter is not for this model.
    pub fn with_adapter(mut self, adapter: &Adapter) -> Result<Self> {
        let places = self.body.lora_places();
        self.pipeline.include(&adapter.place(&places)?);
        self.body = self.body.with_adapter(adapter)?;
        Ok(self)
    }

    /// Has the body's matrix products computed in this format.
    #[must_use]
    pub fn with_precision(mut self, precision: MatrixPrecision) -> Self {
        self.body = self.body.no_grad().with_precision(precision);
        self
    }

    /// The longest sequence in tokens, special tokens included; longer texts are cut.
    pub fn max_tokens(&self) -> usize {
        self.pipeline.settings.max_tokens
    }

    /// The transformer, before pooling.
    pub fn body(&self) -> &Body<B> {
        &self.body
    }

    /// Embeds texts in order, `[texts.len(), dimensions]`.
    ///
    /// # Errors
    /// [`Error::UnknownPrompt`], [`Error::Tokenization`] or [`Error::Backend`].
    pub fn encode(
        &self,
        texts: &[&str],
        options: &EncodeOptions,
        progress: &dyn Progress,
    ) -> Result<Embeddings> {
        let prompt = self.pipeline.prompt(&options.prompt)?;
        let normalize = options.normalize.unwrap_or(self.pipeline.settings.normalize);
        let dimensions = self.pipeline.settings.dimensions();
        let task = progress.task("embedding texts", Some(texts.len() as u64), Unit::Items);

        let sequences = self.pipeline.tokenize(texts, prompt)?;
        let lengths: Vec<usize> = sequences.iter().map(Vec::len).collect();
        let mut values = vec![0.0; texts.len() * dimensions];
        for batch in batches_by_length(&lengths, options.max_batch_tokens) {
            let chosen: Vec<&[u32]> = batch.iter().map(|&index| &*sequences[index]).collect();
            let vectors = self.embed_batch(&chosen, normalize)?;
            for (&index, vector) in batch.iter().zip(vectors.chunks_exact(dimensions)) {
                values[index * dimensions..][..dimensions].copy_from_slice(vector);
            }
            task.advance(batch.len() as u64);
        }
        Ok(Embeddings::new(dimensions, values)?)
    }

    /// The vectors of one batch, row by row.
    fn embed_batch(&self, sequences: &[&[u32]], normalize: bool) -> Result<Vec<f32>> {
        let batch = TokenBatch::new(sequences, &self.device);
        let states = self.body.forward(&batch);
        let mut vectors = self.pipeline.settings.pooling.pool(states, &batch);
        let mut dense = self.dense.iter();
        for step in &self.pipeline.settings.steps {
            match step {
                Step::Normalize => vectors = normalize_rows(vectors),
                Step::Dense { .. } => {
                    if let Some(layer) = dense.next() {
                        vectors = layer.forward(vectors);
                    }
                }
            }
        }
        if normalize {
            vectors = normalize_rows(vectors);
        }
        let data = vectors.try_into_data().map_err(|error| Error::Backend(error.into()))?;
        data.convert::<f32>()
            .into_vec()
            .map_err(|error| Error::Backend(format!("{error:?}").into()))
    }
}

impl<B: Backend> Embedder for TextEncoder<B> {
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

/// Divides each row of `[batch, dim]` by its length, as `torch.nn.functional.normalize`: a row of zeros
/// stays one.
fn normalize_rows<B: Backend>(vectors: Tensor<B, 2>) -> Tensor<B, 2> {
    let length = vectors.clone().powi_scalar(2).sum_dim(1).sqrt();
    vectors / length.clamp_min(1e-12)
}
