use anyhow::Result;
use coderag_core::{Embedder as _, Embeddings, Progress};
use coderag_encoder::device::DeviceEncoder;
use coderag_encoder::engine::Precision;
use coderag_encoder::{EncodeOptions, Prompt};
use serde_json::{Map, Value, json};

use crate::arguments::EmbedArguments;
use crate::commands::Session;

/// Turns texts into vectors as the options say, in the order of sentence-transformers' `encode`: the
/// model with its own normalisation, then the cut, then the normalisation that was asked for.
pub(super) struct Encoding {
    encoder: DeviceEncoder,
    options: EncodeOptions,
    dimensions: usize,
    normalize_after_cut: bool,
    precision: Precision,
}

impl Encoding {
    pub(super) fn new(session: &Session, arguments: &EmbedArguments) -> Result<Self> {
        let encoder = session.encoder_of(
            &arguments.model,
            arguments.adapter.as_deref(),
            arguments.precision,
        )?;
        let all = encoder.dimensions();
        let dimensions = arguments.truncate_dim.map_or(all, |dimensions| dimensions.get().min(all));
        let normalize = match (arguments.normalize, arguments.no_normalize) {
            (true, _) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        };
        let normalize_after_cut = dimensions < all && normalize == Some(true);
        let options = EncodeOptions {
            prompt: match (&arguments.prompt, &arguments.prompt_name) {
                (Some(text), _) => Prompt::Text(text.clone()),
                (None, Some(name)) => Prompt::Named(name.clone()),
                (None, None) => Prompt::Default,
            },
            normalize: if normalize_after_cut { None } else { normalize },
            ..EncodeOptions::default()
        };
        let precision = arguments.precision;
        Ok(Self { encoder, options, dimensions, normalize_after_cut, precision })
    }

    /// The width of the vectors.
    pub(super) fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// All that decides the vector of a text. The model's fingerprint reads all of its weights.
    pub(super) fn settings(&self) -> Map<String, Value> {
        let prompt = match &self.options.prompt {
            Prompt::Default => json!("default"),
            Prompt::Named(name) => json!({ "name": name }),
            Prompt::Text(text) => json!({ "text": text }),
            Prompt::None => Value::Null,
        };
        let settings = json!({
            "prompt": prompt,
            "model": self.encoder.fingerprint(),
            "precision": self.precision.to_string(),
            "normalize": self.options.normalize,
            "normalize_after_cut": self.normalize_after_cut,
            "dimensions": self.dimensions,
        });
        settings.as_object().cloned().unwrap_or_default()
    }

    /// Embeds texts in order, `[texts.len(), dimensions]`.
    pub(super) fn encode(&self, texts: &[String], progress: &dyn Progress) -> Result<Embeddings> {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let embeddings = self.encoder.encode(&texts, &self.options, progress)?;
        let mut embeddings = embeddings.truncate(self.dimensions)?;
        if self.normalize_after_cut {
            embeddings.normalize();
        }
        Ok(embeddings)
    }
}
