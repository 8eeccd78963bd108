use std::borrow::Cow;
use std::path::Path;

use coderag_core::{Digest, Hasher};

use crate::encoder::Prompt;
use crate::sentence_transformers::SentenceTransformer;
use crate::tokenization::Tokenization;
use crate::weights::Weights;
use crate::{Error, Result};

/// What turns texts into sequences of tokens, and what is known of a model besides its weights.
#[derive(Debug)]
pub(crate) struct TextPipeline {
    pub(crate) settings: SentenceTransformer,
    tokenization: Tokenization,
    pub(crate) fingerprint: Digest,
}

impl TextPipeline {
    /// Reads a model's directory, and maps its weights.
    pub(crate) fn read(directory: &Path) -> Result<(Self, Weights)> {
        let settings = SentenceTransformer::read(directory)?;
        let tokenization = Tokenization::load(
            &settings.tokenizer,
            settings.bert.vocab_size,
            settings.max_tokens,
            settings.lower_case,
        )?;
        let weights = Weights::open(&settings.weights)?;
        let fingerprint = fingerprint(&settings, weights.bytes())?;
        tracing::debug!(
            directory = %directory.display(),
            dimensions = settings.bert.hidden_size,
            max_tokens = settings.max_tokens,
            %fingerprint,
            "loaded an encoder"
        );
        Ok((Self { settings, tokenization, fingerprint }, weights))
    }

    /// The text that a prompt puts before others.
    pub(crate) fn prompt(&self, prompt: &Prompt) -> Result<&str> {
        let name = match prompt {
            Prompt::None => return Ok(""),
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
}

/// The digest of all that decides the vectors.
fn fingerprint(settings: &SentenceTransformer, weights: &[u8]) -> Result<Digest> {
    let path = &settings.tokenizer;
    let tokenizer = Digest::of_file(path)?;
    let described = serde_json::to_vec(settings)
        .map_err(|source| Error::Settings { path: path.clone(), source })?;
    let mut hasher = Hasher::new();
    hasher.update(Digest::of(weights).to_string());
    hasher.update(tokenizer.to_string());
    hasher.update(described);
    Ok(hasher.finish())
}
