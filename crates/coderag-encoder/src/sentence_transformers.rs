use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{BertConfig, Error, Pooling, Result};

/// The settings of a directory as sentence-transformers 2 to 6 write it. Serialised, they are everything
/// besides weights and tokenizer that decides the vectors.
#[derive(Debug, Serialize)]
pub(crate) struct SentenceTransformer {
    pub(crate) bert: BertConfig,
    pub(crate) pooling: Pooling,
    /// Whether the vectors are scaled to length 1.
    pub(crate) normalize: bool,
    /// Put before texts, by name; `query` and `document` are always there, maybe empty.
    pub(crate) prompts: BTreeMap<String, String>,
    pub(crate) default_prompt_name: Option<String>,
    /// The longest sequence, special tokens included.
    pub(crate) max_tokens: usize,
    /// Whether texts are lowered before the tokenizer's own normalisation.
    pub(crate) lower_case: bool,
    #[serde(skip)]
    pub(crate) weights: PathBuf,
    #[serde(skip)]
    pub(crate) tokenizer: PathBuf,
}

impl SentenceTransformer {
    /// Reads the settings. A transformers directory without `modules.json` gets mean pooling, as in
    /// sentence-transformers.
    pub(crate) fn read(directory: &Path) -> Result<Self> {
        let modules = Modules::read(directory)?;
        let body = &modules.transformer;
        let bert = read_bert_config(&body.join("config.json"))?;
        let pooling = match &modules.pooling {
            Some(folder) => read_pooling(&folder.join("config.json"), bert.hidden_size)?,
            None => Pooling::Mean,
        };
        let (prompts, default_prompt_name) = read_prompts(directory)?;
        let limits: Limits =
            read_optional(&body.join("sentence_bert_config.json"))?.unwrap_or_default();
        let max_tokens = match limits.max_seq_length {
            Some(limit) => limit,
            None => read_tokenizer_limit(&body.join("tokenizer_config.json"))?,
        };
        let required = |file, hint| {
            let path = body.join(file);
            if path.is_file() { Ok(path) } else { Err(Error::Missing { path, hint }) }
        };
        Ok(Self {
            pooling,
            normalize: modules.normalize,
            prompts,
            default_prompt_name,
            max_tokens: max_tokens.min(bert.max_position_embeddings),
            lower_case: limits.do_lower_case,
            weights: required(
                "model.safetensors",
                "weights are read from this file only; other formats must be converted",
            )?,
            tokenizer: required(
                "tokenizer.json",
                "save the tokenizer with a current transformers to get it",
            )?,
            bert,
        })
    }
}

/// The folders of the pipeline's steps.
struct Modules {
    transformer: PathBuf,
    /// Nothing where the directory is a bare transformers model.
    pooling: Option<PathBuf>,
    normalize: bool,
}

impl Modules {
    fn read(directory: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Entry {
            path: String,
            #[serde(rename = "type")]
            class: String,
        }
        let path = directory.join("modules.json");
        let Some(entries) = read_optional::<Vec<Entry>>(&path)? else {
            if !directory.join("config.json").is_file() {
                return Err(Error::Missing { path, hint: "is this a model directory?" });
            }
            return Ok(Self { transformer: directory.into(), pooling: None, normalize: false });
        };
        // Python's path to the class moved between versions; its name stayed.
        let kind = |entry: &Entry| entry.class.rsplit('.').next().unwrap_or_default().to_owned();
        let kinds: Vec<String> = entries.iter().map(kind).collect();
        let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
        let normalize = match kinds[..] {
            ["Transformer", "Pooling"] => false,
            ["Transformer", "Pooling", "Normalize"] => true,
            _ => {
                let known = ["Transformer", "Pooling", "Normalize"];
                let what = match entries.iter().find(|entry| !known.contains(&&*kind(entry))) {
                    Some(entry) => format!("the module type `{}` is not supported", entry.class),
                    None => format!("the module order {} is not supported", kinds.join(", ")),
                };
                let what = format!("{what}; a model is Transformer, Pooling and maybe Normalize");
                return Err(Error::Unsupported { path, what });
            }
        };
        let folder = |index: usize| entries.get(index).map(|entry| directory.join(&entry.path));
        Ok(Self {
            transformer: folder(0).unwrap_or_else(|| directory.into()),
            pooling: folder(1),
            normalize,
        })
    }
}

fn read_bert_config(path: &Path) -> Result<BertConfig> {
    let settings: Map<String, Value> = read_optional(path)?.ok_or_else(|| Error::Missing {
        path: path.into(),
        hint: "it tells the model's architecture",
    })?;
    // What the key must be, where it is there at all.
    let supported = [
        ("model_type", Value::from("bert")),
        ("hidden_act", Value::from("gelu")),
        ("position_embedding_type", Value::from("absolute")),
        ("is_decoder", Value::from(false)),
    ];
    for (key, only) in supported {
        if let Some(value) = settings.get(key).filter(|value| **value != only) {
            let what = format!("{key} {value} is not supported, only {only}");
            return Err(Error::Unsupported { path: path.into(), what });
        }
    }
    let config: BertConfig = serde_json::from_value(settings.into())
        .map_err(|source| Error::Settings { path: path.into(), source })?;
    match config.problem() {
        None => Ok(config),
        Some(problem) => Err(Error::Invalid { path: path.into(), problem }),
    }
}

fn read_pooling(path: &Path, hidden_size: usize) -> Result<Pooling> {
    /// The keys of sentence-transformers 6, and after the flattening the older `pooling_mode_*`.
    #[derive(Deserialize)]
    struct Settings {
        pooling_mode: Option<Modes>,
        #[serde(alias = "word_embedding_dimension")]
        embedding_dimension: Option<usize>,
        include_prompt: Option<bool>,
        #[serde(flatten)]
        others: Map<String, Value>,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Modes {
        One(String),
        Several(Vec<String>),
    }
    let settings: Settings = read_optional(path)?.ok_or_else(|| Error::Missing {
        path: path.into(),
        hint: "it tells how token states become one vector",
    })?;
    let unsupported = |what| Err(Error::Unsupported { path: path.into(), what });
    let invalid = |problem| Err(Error::Invalid { path: path.into(), problem });
    if let Some(dimension) = settings.embedding_dimension.filter(|size| *size != hidden_size) {
        return invalid(format!(
            "the embedding dimension {dimension} is not the hidden_size {hidden_size} of config.json"
        ));
    }
    if settings.include_prompt == Some(false) {
        return unsupported("include_prompt false is not supported".into());
    }
    let modes = match settings.pooling_mode {
        Some(Modes::One(mode)) => vec![mode],
        Some(Modes::Several(modes)) => modes,
        None => {
            let on = settings.others.iter().filter(|(_, value)| **value == Value::Bool(true));
            on.filter_map(|(key, _)| key.strip_prefix("pooling_mode_")).map(str::to_owned).collect()
        }
    };
    let modes: Vec<&str> = modes.iter().map(String::as_str).collect();
    match modes[..] {
        ["cls" | "cls_token"] => Ok(Pooling::Cls),
        ["mean" | "mean_tokens"] => Ok(Pooling::Mean),
        ["max" | "max_tokens"] => Ok(Pooling::Max),
        [] => invalid("no pooling mode is switched on".into()),
        [mode] => unsupported(format!(
            "the pooling mode `{mode}` is not supported, only cls, mean and max"
        )),
        _ => unsupported(format!("pooling by {} together is not supported", modes.join(", "))),
    }
}

fn read_prompts(directory: &Path) -> Result<(BTreeMap<String, String>, Option<String>)> {
    #[derive(Default, Deserialize)]
    struct Settings {
        prompts: Option<BTreeMap<String, Option<String>>>,
        default_prompt_name: Option<String>,
    }
    let path = directory.join("config_sentence_transformers.json");
    let settings: Settings = read_optional(&path)?.unwrap_or_default();
    let named = settings.prompts.unwrap_or_default().into_iter();
    let mut prompts: BTreeMap<_, _> =
        named.map(|(name, prompt)| (name, prompt.unwrap_or_default())).collect();
    // The order that encode_document documents. (sentence-transformers 6.2 stops at the empty `document`
    // that it adds itself, and so leaves out a `passage` prompt that the model was trained with.)
    let document = ["document", "passage", "corpus"].into_iter().find_map(|name| prompts.get(name));
    let document = document.cloned().unwrap_or_default();
    prompts.insert("document".into(), document);
    prompts.entry("query".into()).or_default();
    match settings.default_prompt_name {
        Some(name) if !prompts.contains_key(&name) => Err(Error::Invalid {
            path,
            problem: format!("default_prompt_name is `{name}`, which is not among the prompts"),
        }),
        name => Ok((prompts, name)),
    }
}

/// `sentence_bert_config.json`.
#[derive(Default, Deserialize)]
struct Limits {
    max_seq_length: Option<usize>,
    #[serde(default)]
    do_lower_case: bool,
}

/// The tokenizer's own limit, which transformers writes as 1e30 where there is none.
fn read_tokenizer_limit(path: &Path) -> Result<usize> {
    #[derive(Default, Deserialize)]
    struct Settings {
        model_max_length: Option<f64>,
    }
    let settings: Settings = read_optional(path)?.unwrap_or_default();
    Ok(settings.model_max_length.map_or(usize::MAX, |limit| limit as usize))
}

/// Parses a JSON file; nothing when it does not exist.
fn read_optional<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| Error::Settings { path: path.into(), source }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(coderag_core::Error::io("read", path)(error).into()),
    }
}
