use std::borrow::Cow;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use coderag_core::{Digest, Embeddings, Hasher};
use memmap2::Mmap;

use crate::body::lora_places;
use crate::checkpoint::Checkpoint;
use crate::dense::CpuDense;
use crate::encoder::{EncodeOptions, Prompt};
use crate::lora::{Adapter, Placement};
use crate::sentence_transformers::{SentenceTransformer, Step};
use crate::tokenization::Tokenization;
use crate::{Error, Result};

/// What turns texts into sequences of tokens, and what is known of a model besides its weights.
#[derive(Debug)]
pub(crate) struct TextPipeline {
    pub(crate) settings: SentenceTransformer,
    tokenization: Tokenization,
    /// The digest of the settings, the tokenizer and the adapter.
    described: Digest,
    weights: Vec<Arc<Mmap>>,
    fingerprint: OnceLock<Digest>,
}

/// A model's weights, found and mapped but not yet laid out.
pub(crate) struct ModelWeights {
    pub(crate) body: Checkpoint,
    /// One for each dense step.
    pub(crate) dense: Vec<Checkpoint>,
}

impl TextPipeline {
    /// Reads a model's directory and maps its weights, with an adapter's over them.
    pub(crate) fn read(directory: &Path, adapter: Option<&Path>) -> Result<(Self, ModelWeights)> {
        let (mut pipeline, mut weights) = Self::read_base(directory, None)?;
        if let Some(adapter) = adapter {
            let adapter = Adapter::read(adapter)?;
            let places = lora_places(&pipeline.settings.architecture);
            let placement = adapter.place(&places)?;
            weights.body.merge(&placement);
            pipeline.include(&placement);
        }
        Ok((pipeline, weights))
    }

    /// Makes an adapter part of the fingerprint.
    pub(crate) fn include(&mut self, adapter: &Placement<'_>) {
        let mut hasher = Hasher::new();
        hasher.update(self.described.to_string());
        hasher.update(adapter.fingerprint().to_string());
        self.described = hasher.finish();
        self.fingerprint = OnceLock::new();
    }

    /// Reads a model's directory and maps its weights. Sequences are cut to `max_tokens` where it is given,
    /// and to what the architecture can take.
    pub(crate) fn read_base(
        directory: &Path,
        max_tokens: Option<usize>,
    ) -> Result<(Self, ModelWeights)> {
        let mut settings = SentenceTransformer::read(directory)?;
        if let Some(max_tokens) = max_tokens {
            settings.max_tokens = max_tokens.min(settings.architecture.max_tokens());
        }
        let tokenization = Tokenization::load(
            &settings.tokenizer,
            settings.architecture.vocab_size(),
            settings.max_tokens,
            settings.lower_case,
            settings.padding_token.as_deref(),
        )?;
        let names = settings.architecture.checkpoint_names();
        let body = Checkpoint::open(&settings.weights, names)?;
        let mut dense = Vec::new();
        for step in &settings.steps {
            if let Step::Dense { config, weights } = step {
                dense.push(config.open(weights)?);
            }
        }
        let maps = [&body].into_iter().chain(&dense).flat_map(|checkpoint| checkpoint.maps());
        let weights = maps.cloned().collect();
        let described = describe(&settings)?;
        tracing::debug!(
            directory = %directory.display(),
            dimensions = settings.dimensions(),
            max_tokens = settings.max_tokens,
            "read an encoder's settings"
        );
        let fingerprint = OnceLock::new();
        let pipeline = Self { settings, tokenization, described, weights, fingerprint };
        Ok((pipeline, ModelWeights { body, dense }))
    }

    /// The digest of all that decides the vectors. The first call reads all weights.
    pub(crate) fn fingerprint(&self) -> Digest {
        *self.fingerprint.get_or_init(|| {
            let mut hasher = Hasher::new();
            for weights in &self.weights {
                hasher.update(Digest::of(&**weights).to_string());
            }
            hasher.update(self.described.to_string());
            hasher.finish()
        })
    }

    /// The text that a prompt puts before others.
    pub(crate) fn prompt<'a>(&'a self, prompt: &'a Prompt) -> Result<&'a str> {
        let name = match prompt {
            Prompt::None => return Ok(""),
            Prompt::Text(text) => return Ok(text),
            Prompt::Named(name) => name,
            Prompt::Default => match &self.settings.default_prompt_name {
                Some(name) => name,
                None => return Ok(""),
            },
        };
        let prompts = &self.settings.prompts;
        prompts.get(name).map(String::as_str).ok_or_else(|| Error::UnknownPrompt {
            name: name.clone(),
            known: prompts.keys().cloned().collect(),
        })
    }

    /// The token ids of each text with the prompt before it.
    pub(crate) fn tokenize(&self, texts: &[&str], prompt: &str) -> Result<Vec<Vec<u32>>> {
        // Encodings carry much besides the ids, so only some are held at a time.
        const TEXTS_AT_ONCE: usize = 1024;
        let mut sequences = Vec::with_capacity(texts.len());
        for texts in texts.chunks(TEXTS_AT_ONCE) {
            sequences.extend(self.tokenization.encode(texts.iter().map(|&text| {
                if prompt.is_empty() { Cow::from(text) } else { Cow::from([prompt, text].concat()) }
            }))?);
        }
        Ok(sequences)
    }

    /// Vectors that have gone through all steps, normalised where the options or else the model say so.
    pub(crate) fn finish(&self, values: Vec<f32>, options: &EncodeOptions) -> Result<Embeddings> {
        let mut embeddings = Embeddings::new(self.settings.dimensions(), values)?;
        if options.normalize.unwrap_or(self.settings.normalize) {
            embeddings.normalize();
        }
        Ok(embeddings)
    }

    /// The dense steps, on the processor.
    pub(crate) fn load_dense(&self, weights: Vec<Checkpoint>) -> Result<Vec<CpuDense>> {
        let configs = self.settings.dense().zip(weights);
        configs.map(|(config, weights)| CpuDense::load(config, weights)).collect()
    }

    /// What comes between pooling and the last normalisation.
    pub(crate) fn follow_steps(&self, dense: &[CpuDense], pooled: Vec<f32>) -> Result<Vec<f32>> {
        let (mut vectors, mut width) = (pooled, self.settings.architecture.hidden_size());
        let mut dense = dense.iter();
        for step in &self.settings.steps {
            match step {
                Step::Normalize => {
                    let mut embeddings = Embeddings::new(width, vectors)?;
                    embeddings.normalize();
                    vectors = embeddings.into_values();
                }
                Step::Dense { config, .. } => {
                    if let Some(layer) = dense.next() {
                        let rows = vectors.chunks_exact(width);
                        vectors = rows.flat_map(|row| layer.forward(row)).collect();
                        width = config.out_features;
                    }
                }
            }
        }
        Ok(vectors)
    }
}

/// The digest of the settings and the tokenizer.
fn describe(settings: &SentenceTransformer) -> Result<Digest> {
    let path = &settings.tokenizer;
    let tokenizer = Digest::of_file(path)?;
    let described = serde_json::to_vec(settings)
        .map_err(|source| Error::Settings { path: path.clone(), source })?;
    let mut hasher = Hasher::new();
    hasher.update(tokenizer.to_string());
    hasher.update(described);
    Ok(hasher.finish())
}
