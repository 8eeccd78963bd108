use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::dense::DenseConfig;
use crate::{Architecture, Error, Pooling, Result};

/// The settings of a directory as sentence-transformers 2 to 6 write it. Serialised, they are everything
/// besides weights and tokenizer that decides the vectors.
#[derive(Debug, Serialize)]
pub(crate) struct SentenceTransformer {
    pub(crate) architecture: Architecture,
    pub(crate) pooling: Pooling,
    /// What follows pooling.
    pub(crate) steps: Vec<Step>,
    /// Whether the vectors are scaled to length 1 after that.
    pub(crate) normalize: bool,
    /// Put before texts, by name; `query` and `document` are always there, maybe empty.
    pub(crate) prompts: BTreeMap<String, String>,
    pub(crate) default_prompt_name: Option<String>,
    /// How vectors are meant to be compared, by sentence-transformers' name, where the directory says so.
    #[serde(skip)]
    pub(crate) similarity: Option<String>,
    /// The longest sequence, special tokens included.
    pub(crate) max_tokens: usize,
    /// Whether texts are lowered before the tokenizer's own normalisation.
    pub(crate) lower_case: bool,
    /// What stands for an empty text where the tokenizer adds no special tokens.
    pub(crate) padding_token: Option<String>,
    /// A safetensors file, or the index of several.
    #[serde(skip)]
    pub(crate) weights: PathBuf,
    #[serde(skip)]
    pub(crate) tokenizer: PathBuf,
}

/// A module between pooling and the last normalisation.
#[derive(Debug, Serialize)]
pub(crate) enum Step {
    Dense {
        config: DenseConfig,
        #[serde(skip)]
        weights: PathBuf,
    },
    Normalize,
}

impl SentenceTransformer {
    /// Reads the settings. A transformers directory without `modules.json` gets the pooling that
    /// sentence-transformers 6 gives it: the last token for models that predict the next one, else the
    /// mean.
    pub(crate) fn read(directory: &Path) -> Result<Self> {
        let modules = Modules::read(directory)?;
        let body = &modules.transformer;
        let architecture = Architecture::read(&body.join("config.json"))?;
        let mut width = architecture.hidden_size();
        let pooling = match &modules.pooling {
            Some(folder) => read_pooling(&folder.join("config.json"), width)?,
            None => default_pooling(&body.join("config.json"), &architecture)?,
        };
        let mut steps = Vec::new();
        for step in &modules.steps {
            steps.push(match step {
                StepFolder::Normalize => Step::Normalize,
                StepFolder::Dense(folder) => {
                    let config = DenseConfig::read(&folder.join("config.json"), width)?;
                    width = config.out_features;
                    Step::Dense { config, weights: find_weights(folder)? }
                }
            });
        }
        let PipelineSettings { prompts, default_prompt_name, similarity } =
            PipelineSettings::read(directory)?;
        let limits = TransformerSettings::read(body)?;
        let tokenizer = TokenizerConfig::read(&body.join("tokenizer_config.json"))?;
        let max_tokens = limits.max_seq_length.unwrap_or(tokenizer.max_tokens);
        Ok(Self {
            pooling,
            steps,
            normalize: modules.normalize,
            prompts,
            default_prompt_name,
            similarity,
            max_tokens: max_tokens.min(architecture.max_tokens()),
            lower_case: limits.do_lower_case,
            padding_token: tokenizer.padding_token,
            weights: find_weights(body)?,
            tokenizer: find(
                body,
                "tokenizer.json",
                "save the tokenizer with a current transformers to get it",
            )?,
            architecture,
        })
    }

    /// The dense layers among the steps, in order.
    pub(crate) fn dense(&self) -> impl DoubleEndedIterator<Item = &DenseConfig> {
        self.steps.iter().filter_map(|step| match step {
            Step::Dense { config, .. } => Some(config),
            Step::Normalize => None,
        })
    }

    /// The width of a vector.
    pub(crate) fn dimensions(&self) -> usize {
        let hidden_size = self.architecture.hidden_size();
        self.dense().next_back().map_or(hidden_size, |dense| dense.out_features)
    }
}

/// A file that must be in a folder.
fn find(folder: &Path, file: &str, hint: &'static str) -> Result<PathBuf> {
    let path = folder.join(file);
    if path.is_file() { Ok(path) } else { Err(Error::Missing { path, hint }) }
}

/// The weights in a folder: one file, or the index of several.
fn find_weights(folder: &Path) -> Result<PathBuf> {
    let index = folder.join("model.safetensors.index.json");
    let hint = "weights are read from this file only; other formats must be converted";
    match find(folder, "model.safetensors", hint) {
        Err(_) if index.is_file() => Ok(index),
        found => found,
    }
}

/// The folders of the pipeline's steps.
struct Modules {
    transformer: PathBuf,
    /// Nothing where the directory is a bare transformers model.
    pooling: Option<PathBuf>,
    steps: Vec<StepFolder>,
    /// Whether the last step is to normalise.
    normalize: bool,
}

/// A step after pooling, with its folder where it has one.
enum StepFolder {
    Dense(PathBuf),
    Normalize,
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
            let transformer = directory.into();
            return Ok(Self { transformer, pooling: None, steps: Vec::new(), normalize: false });
        };
        for entry in &entries {
            let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
            if !Path::new(&entry.path).components().all(inside) {
                let problem = format!("the module path `{}` leads out of the folder", entry.path);
                return Err(Error::Invalid { path, problem });
            }
        }
        // Python's path to the class moved between versions; its name stayed.
        let kind = |entry: &Entry| entry.class.rsplit('.').next().unwrap_or_default().to_owned();
        let kinds: Vec<String> = entries.iter().map(kind).collect();
        let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
        let known = ["Transformer", "Pooling", "Dense", "Dropout", "Normalize"];
        let (transformer, pooling, rest) = match &*entries {
            [transformer, pooling, rest @ ..]
                if kinds[0] == "Transformer"
                    && kinds[1] == "Pooling"
                    && kinds[2..].iter().all(|kind| known[2..].contains(kind)) =>
            {
                (transformer, pooling, rest)
            }
            _ => {
                let what = match entries.iter().find(|entry| !known.contains(&&*kind(entry))) {
                    Some(entry) => format!("the module type `{}` is not supported", entry.class),
                    None => format!("the module order {} is not supported", kinds.join(", ")),
                };
                let what = format!(
                    "{what}; a model is Transformer, Pooling and maybe Dense and Normalize"
                );
                return Err(Error::Unsupported { path, what });
            }
        };
        let mut steps: Vec<StepFolder> = rest
            .iter()
            .filter_map(|entry| match &*kind(entry) {
                "Dense" => Some(StepFolder::Dense(directory.join(&entry.path))),
                "Normalize" => Some(StepFolder::Normalize),
                // Dropout works in training only.
                _ => None,
            })
            .collect();
        let normalize = matches!(steps.last(), Some(StepFolder::Normalize));
        if normalize {
            steps.pop();
        }
        Ok(Self {
            transformer: directory.join(&transformer.path),
            pooling: Some(directory.join(&pooling.path)),
            steps,
            normalize,
        })
    }
}

/// The pooling of a directory that says nothing about it.
fn default_pooling(config: &Path, architecture: &Architecture) -> Result<Pooling> {
    #[derive(Default, Deserialize)]
    struct Settings {
        architectures: Option<Vec<String>>,
    }
    let classes = read_optional::<Settings>(config)?.unwrap_or_default().architectures;
    let class = classes.unwrap_or_default().into_iter().next().unwrap_or_default();
    let bidirectional = matches!(architecture, Architecture::Qwen2(config) if !config.causal);
    let predicts_next = class.ends_with("ForCausalLM") && !bidirectional;
    Ok(if predicts_next { Pooling::LastToken } else { Pooling::Mean })
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
    let settings: Settings = read_required(path, "it tells how token states become one vector")?;
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
        ["lasttoken"] => Ok(Pooling::LastToken),
        [] => invalid("no pooling mode is switched on".into()),
        [mode] => unsupported(format!(
            "the pooling mode `{mode}` is not supported, only cls, mean, max and lasttoken"
        )),
        _ => unsupported(format!("pooling by {} together is not supported", modes.join(", "))),
    }
}

/// `config_sentence_transformers.json`.
struct PipelineSettings {
    prompts: BTreeMap<String, String>,
    default_prompt_name: Option<String>,
    similarity: Option<String>,
}

impl PipelineSettings {
    fn read(directory: &Path) -> Result<Self> {
        #[derive(Default, Deserialize)]
        struct Settings {
            prompts: Option<BTreeMap<String, Option<String>>>,
            default_prompt_name: Option<String>,
            similarity_fn_name: Option<String>,
        }
        let path = directory.join("config_sentence_transformers.json");
        let settings: Settings = read_optional(&path)?.unwrap_or_default();
        let named = settings.prompts.unwrap_or_default().into_iter();
        let mut prompts: BTreeMap<_, _> =
            named.map(|(name, prompt)| (name, prompt.unwrap_or_default())).collect();
        // The order that encode_document documents. (sentence-transformers 6.2 stops at the empty `document`
        // that it adds itself, and so leaves out a `passage` prompt that the model was trained with.)
        let document =
            ["document", "passage", "corpus"].into_iter().find_map(|name| prompts.get(name));
        let document = document.cloned().unwrap_or_default();
        prompts.insert("document".into(), document);
        prompts.entry("query".into()).or_default();
        match settings.default_prompt_name {
            Some(name) if !prompts.contains_key(&name) => Err(Error::Invalid {
                path,
                problem: format!("default_prompt_name is `{name}`, which is not among the prompts"),
            }),
            default_prompt_name => {
                Ok(Self { prompts, default_prompt_name, similarity: settings.similarity_fn_name })
            }
        }
    }
}

/// The settings of the Transformer module.
#[derive(Default, Deserialize)]
struct TransformerSettings {
    max_seq_length: Option<usize>,
    #[serde(default)]
    do_lower_case: bool,
    transformer_task: Option<String>,
    /// What sentence-transformers passes on when it reads `config.json`; the name changed in version 6.
    #[serde(alias = "config_kwargs")]
    config_args: Option<Map<String, Value>>,
    /// What it passes on to the tokenizer.
    #[serde(alias = "processor_kwargs")]
    tokenizer_args: Option<Map<String, Value>>,
    /// What it passes on whenever it tokenizes.
    processing_kwargs: Option<Map<String, Value>>,
}

impl TransformerSettings {
    fn read(body: &Path) -> Result<Self> {
        /// Old versions wrote the family into the name.
        const FILES: [&str; 4] = [
            "sentence_bert_config.json",
            "sentence_roberta_config.json",
            "sentence_xlm-roberta_config.json",
            "sentence_xlm_roberta_config.json",
        ];
        let paths = FILES.map(|file| body.join(file));
        let Some(path) = paths.into_iter().find(|path| path.is_file()) else {
            return Ok(Self::default());
        };
        let settings: Self = read_required(&path, "it was there a moment ago")?;
        let unsupported = |what| Err(Error::Unsupported { path: path.clone(), what });
        if let Some(task) = &settings.transformer_task
            && task != "feature-extraction"
        {
            return unsupported(format!(
                "transformer_task `{task}` is not supported, only feature-extraction"
            ));
        }
        for (name, arguments, file) in [
            ("config_args", &settings.config_args, "config.json"),
            ("tokenizer_args", &settings.tokenizer_args, "tokenizer_config.json"),
            ("processing_kwargs", &settings.processing_kwargs, "tokenizer_config.json"),
        ] {
            let mut keys = arguments.iter().flat_map(Map::keys);
            if let Some(key) = keys.find(|key| *key != "trust_remote_code") {
                return unsupported(format!("{name} overrides {key} of {file}; set it there"));
            }
        }
        Ok(settings)
    }
}

/// `tokenizer_config.json`.
struct TokenizerConfig {
    /// The tokenizer's own limit, which transformers writes as 1e30 where there is none.
    max_tokens: usize,
    padding_token: Option<String>,
}

impl TokenizerConfig {
    fn read(path: &Path) -> Result<Self> {
        #[derive(Default, Deserialize)]
        struct Settings {
            model_max_length: Option<f64>,
            pad_token: Option<Token>,
            truncation_side: Option<String>,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Token {
            Text(String),
            Described { content: String },
        }
        let settings: Settings = read_optional(path)?.unwrap_or_default();
        if let Some(side) = settings.truncation_side.filter(|side| side != "right") {
            let what = format!("truncation_side `{side}` is not supported, only right");
            return Err(Error::Unsupported { path: path.into(), what });
        }
        Ok(Self {
            max_tokens: settings.model_max_length.map_or(usize::MAX, |limit| limit as usize),
            padding_token: settings.pad_token.map(|token| match token {
                Token::Text(content) | Token::Described { content } => content,
            }),
        })
    }
}

/// Parses a JSON file that must be there.
pub(crate) fn read_required<T: DeserializeOwned>(path: &Path, hint: &'static str) -> Result<T> {
    read_optional(path)?.ok_or_else(|| Error::Missing { path: path.into(), hint })
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
