use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::bert::{BERT_CHECKPOINT, ROBERTA_CHECKPOINT};
use crate::checkpoint::CheckpointNames;
use crate::qwen2::QWEN2_CHECKPOINT;
use crate::sentence_transformers::read_required;
use crate::{BertConfig, Error, Qwen2Config, Result};

/// A family of transformers, with the sizes of one of its members.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase", tag = "family")]
pub enum Architecture {
    /// BERT, and RoBERTa, which differs from it in the numbering of positions.
    Bert(BertConfig),
    /// Qwen2, and Qwen3, which differs from it inside attention.
    Qwen2(Qwen2Config),
}

impl Architecture {
    /// Reads a transformers `config.json`.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Settings`], [`Error::Unsupported`] or [`Error::Invalid`].
    pub fn read(path: &Path) -> Result<Self> {
        let settings = ConfigFile {
            path,
            settings: read_required(path, "it tells the model's architecture")?,
        };
        settings.allow_only("quantization_config", Value::Null)?;
        let architecture = match settings.model_type()? {
            "bert" => Self::Bert(settings.bert()?),
            "roberta" | "xlm-roberta" => Self::Bert(settings.roberta()?),
            "qwen2" => Self::Qwen2(settings.qwen2()?),
            "qwen3" => Self::Qwen2(settings.qwen3()?),
            other => {
                return settings.unsupported(format!(
                    "model_type \"{other}\" is not supported, only bert, roberta, xlm-roberta, qwen2 \
                     and qwen3"
                ));
            }
        };
        match architecture.problem() {
            None => Ok(architecture),
            Some(problem) => Err(Error::Invalid { path: path.into(), problem }),
        }
    }

    /// How many tokens the vocabulary has.
    pub fn vocab_size(&self) -> usize {
        match self {
            Self::Bert(config) => config.vocab_size,
            Self::Qwen2(config) => config.vocab_size,
        }
    }

    /// The width of a token state.
    pub fn hidden_size(&self) -> usize {
        match self {
            Self::Bert(config) => config.hidden_size,
            Self::Qwen2(config) => config.hidden_size,
        }
    }

    /// The longest sequence in tokens.
    pub fn max_tokens(&self) -> usize {
        match self {
            Self::Bert(config) => config.max_tokens(),
            Self::Qwen2(config) => config.max_position_embeddings,
        }
    }

    /// Refuses sequences of tokens that a body of this architecture cannot take.
    ///
    /// # Errors
    /// [`Error::Sequence`] when one is empty, is longer than [`max_tokens`](Self::max_tokens), or has a token
    /// beyond the vocabulary.
    pub fn check_sequences(&self, sequences: &[&[u32]]) -> Result<()> {
        check_sequences(sequences, self.max_tokens(), self.vocab_size())
    }

    /// How checkpoints call the tensors.
    pub(crate) fn checkpoint_names(&self) -> CheckpointNames {
        match self {
            Self::Bert(BertConfig { padding_token: None, .. }) => BERT_CHECKPOINT,
            Self::Bert(_) => ROBERTA_CHECKPOINT,
            Self::Qwen2(_) => QWEN2_CHECKPOINT,
        }
    }

    /// Says what is wrong with the sizes, if anything is.
    pub(crate) fn problem(&self) -> Option<String> {
        match self {
            Self::Bert(config) => config.problem(),
            Self::Qwen2(config) => config.problem(),
        }
    }
}

/// As [`Architecture::check_sequences`].
pub(crate) fn check_sequences(
    sequences: &[&[u32]],
    longest: usize,
    vocabulary: usize,
) -> Result<()> {
    for (index, ids) in sequences.iter().enumerate() {
        let problem = if ids.is_empty() {
            "it has no tokens".to_owned()
        } else if ids.len() > longest {
            format!("it has {} tokens, more than the model's {longest}", ids.len())
        } else if let Some(id) = ids.iter().find(|&&id| id as usize >= vocabulary) {
            format!("token {id} is beyond the vocabulary of {vocabulary}")
        } else {
            continue;
        };
        return Err(Error::Sequence { index, problem });
    }
    Ok(())
}

/// Says which of a body's named sizes no model has, if any.
pub(crate) fn unusable_size(sizes: &[(&str, usize)], layers: usize) -> Option<String> {
    // Far beyond any model, and small enough that a damaged file cannot exhaust the memory.
    const MOST_LAYERS: usize = 1000;
    match sizes.iter().find(|(_, size)| *size == 0) {
        Some((name, _)) => Some(format!("{name} is 0")),
        None => (layers > MOST_LAYERS).then(|| format!("num_hidden_layers is {layers}")),
    }
}

/// A `config.json` on its way to an [`Architecture`].
struct ConfigFile<'a> {
    path: &'a Path,
    settings: Map<String, Value>,
}

impl ConfigFile<'_> {
    /// The family; a BERT where the file does not say, as the first ones did not.
    fn model_type(&self) -> Result<&str> {
        match self.settings.get("model_type") {
            None => Ok("bert"),
            Some(Value::String(name)) => Ok(name),
            Some(other) => self.unsupported(format!("model_type {other} is not supported")),
        }
    }

    fn bert(&self) -> Result<BertConfig> {
        self.allow_only("hidden_act", "gelu".into())?;
        self.allow_only("position_embedding_type", "absolute".into())?;
        self.allow_only("is_decoder", false.into())?;
        self.parse()
    }

    fn roberta(&self) -> Result<BertConfig> {
        let padding = self.get("pad_token_id")?.unwrap_or(1);
        Ok(BertConfig { padding_token: Some(padding), ..self.bert()? })
    }

    /// The keys of transformers' `Qwen2Config`, in the spellings of its versions 4 and 5.
    fn qwen2(&self) -> Result<Qwen2Config> {
        self.allow_only("hidden_act", "silu".into())?;
        self.require_own_code_to_say_direction()?;
        let heads = self.require("num_attention_heads")?;
        let hidden_size: usize = self.require("hidden_size")?;
        let head_dim = match self.get("head_dim")? {
            Some(head_dim) => head_dim,
            None if heads > 0 && hidden_size.is_multiple_of(heads) => hidden_size / heads,
            None => {
                return self.invalid(format!(
                    "hidden_size {hidden_size} is not a multiple of num_attention_heads {heads}"
                ));
            }
        };
        let config = Qwen2Config {
            vocab_size: self.require("vocab_size")?,
            hidden_size,
            num_hidden_layers: self.require("num_hidden_layers")?,
            num_attention_heads: heads,
            num_key_value_heads: self.get("num_key_value_heads")?.unwrap_or(heads),
            head_dim,
            intermediate_size: self.require("intermediate_size")?,
            rms_norm_eps: self.get("rms_norm_eps")?.unwrap_or(1e-6),
            rope_theta: self.rope_theta()?,
            max_position_embeddings: self.get("max_position_embeddings")?.unwrap_or(32_768),
            attention_bias: true,
            attention_output_bias: false,
            query_key_norm: false,
            causal: self.get("is_causal")?.unwrap_or(true),
        };
        self.refuse_sliding_window(&config)?;
        Ok(config)
    }

    fn qwen3(&self) -> Result<Qwen2Config> {
        let bias = self.get("attention_bias")?.unwrap_or(false);
        let head_dim = self.get("head_dim")?.unwrap_or(128);
        Ok(Qwen2Config {
            head_dim,
            attention_bias: bias,
            attention_output_bias: bias,
            query_key_norm: true,
            ..self.qwen2()?
        })
    }

    /// Models with code of their own are mostly bidirectional variants, without a key that says so.
    fn require_own_code_to_say_direction(&self) -> Result<()> {
        let own_model = self.settings.get("auto_map").and_then(|map| map.get("AutoModel"));
        if own_model.is_some() && self.get::<bool>("is_causal")?.is_none() {
            return self.unsupported(
                "auto_map names code of the model's own; if it makes attention bidirectional, add \
                 \"is_causal\": false, else \"is_causal\": true"
                    .into(),
            );
        }
        // transformers ignores this key for Qwen2 and Qwen3.
        self.allow_only("use_bidirectional_attention", false.into())
    }

    /// The base of the wavelengths, of which the first that is there counts.
    fn rope_theta(&self) -> Result<f64> {
        let mut theta = None;
        for key in ["rope_parameters", "rope_scaling"] {
            let Some(rope) = self.get::<Map<String, Value>>(key)? else { continue };
            for kind in ["rope_type", "type"] {
                if let Some(value) = rope.get(kind).filter(|value| **value != "default") {
                    return self.unsupported(format!(
                        "{key}.{kind} {value} is not supported, only \"default\""
                    ));
                }
            }
            theta = theta.or(rope.get("rope_theta").and_then(Value::as_f64));
            let partial = rope.get("partial_rotary_factor").and_then(Value::as_f64);
            if partial.is_some_and(|factor| factor != 1.0) {
                return self.unsupported(format!("{key}.partial_rotary_factor is not supported"));
            }
        }
        self.allow_only("partial_rotary_factor", 1.0.into())?;
        Ok(theta.or(self.get("rope_theta")?).unwrap_or(10_000.0))
    }

    /// Attention that sees only so many tokens back is the same as ours for shorter texts alone.
    fn refuse_sliding_window(&self, config: &Qwen2Config) -> Result<()> {
        let used = self.get("use_sliding_window")?.unwrap_or(false);
        let window: Option<usize> = match self.settings.get("sliding_window") {
            None => Some(4096),
            Some(_) => self.get("sliding_window")?,
        };
        let slides = match self.get::<Vec<String>>("layer_types")? {
            Some(types) => types.iter().any(|kind| kind != "full_attention"),
            None => {
                let full_layers: usize = self.get("max_window_layers")?.unwrap_or(28);
                full_layers < config.num_hidden_layers
            }
        };
        match window.filter(|&window| window < config.max_position_embeddings) {
            Some(window) if used && slides => {
                self.unsupported(format!("sliding_window {window} is not supported"))
            }
            _ => Ok(()),
        }
    }

    fn invalid<T>(&self, problem: String) -> Result<T> {
        Err(Error::Invalid { path: self.path.into(), problem })
    }

    fn require<T: DeserializeOwned>(&self, key: &str) -> Result<T> {
        match self.get(key)? {
            Some(value) => Ok(value),
            None => self.invalid(format!("{key} is missing")),
        }
    }

    fn unsupported<T>(&self, what: String) -> Result<T> {
        Err(Error::Unsupported { path: self.path.into(), what })
    }

    /// Refuses another value of a key; that it is not there is fine.
    fn allow_only(&self, key: &str, only: Value) -> Result<()> {
        match self.settings.get(key).filter(|value| **value != only) {
            None => Ok(()),
            Some(value) => self.unsupported(format!("{key} {value} is not supported, only {only}")),
        }
    }

    /// The value of a key, where it is there and not null.
    fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        match self.settings.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => T::deserialize(value)
                .map(Some)
                .or_else(|problem| self.invalid(format!("{key}: {problem}"))),
        }
    }

    fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        T::deserialize(Value::Object(self.settings.clone()))
            .map_err(|source| Error::Settings { path: self.path.into(), source })
    }
}
