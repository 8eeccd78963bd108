use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{bf16, f16};
use coderag_core::atomic::AtomicFolder;
use safetensors::{Dtype, View};
use serde_json::{Map, Value, json};

use crate::body::{check_weights, lora_places};
use crate::checkpoint::{Checkpoint, CheckpointNames, Tensor};
use crate::lora::Adapter;
use crate::sentence_transformers::{SentenceTransformer, Step, read_required};
use crate::tensor_file::write_tensors;
use crate::{Error, Pooling, Result};

/// A model to be written: a base whose weights were changed by training.
///
/// The directory is one that sentence-transformers and text-embeddings-inference load: the base's prompts,
/// similarity, pooling and what follows it, its tokenizer, and its weights in one file, in the types of
/// numbers that the base has them in. A task head is left out.
///
/// ```
/// use coderag_encoder::lora::Adapter;
/// use coderag_encoder::{CpuEncoder, Error, ModelDirectory, ModelExport};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let fixtures = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures"));
/// # let (base, adapter) = (&fixtures.join("small-bert"), &fixtures.join("lora/names"));
/// # let output = tempfile::tempdir()?;
/// # let output = &output.path().join("merged");
/// let adapter = Adapter::read(adapter)?;
/// ModelExport {
///     base,
///     changed: Default::default(),
///     adapter: Some(&adapter),
///     max_tokens: ModelDirectory::open(base, None)?.max_tokens(),
/// }
/// .write(output, |folder| -> Result<(), Box<dyn std::error::Error>> {
///     Ok(std::fs::write(folder.join("README.md"), "What it was trained on.\n")?)
/// })?;
/// CpuEncoder::load(output, &Default::default())?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ModelExport<'a> {
    /// The directory that the model was trained from.
    pub base: &'a Path,
    /// The new values of weights, row by row, by their names in checkpoints without what a task head puts
    /// before them: those of [`ParameterMut`](crate::engine::ParameterMut).
    pub changed: BTreeMap<&'a str, &'a [f32]>,
    /// A LoRA adapter to be merged into the other weights; the sums are computed in f32.
    pub adapter: Option<&'a Adapter>,
    /// The longest sequence in tokens, special tokens included.
    pub max_tokens: usize,
}

/// Tokenizer files, as the families' tokenizers write them; those that are there are copied.
const TOKENIZER_FILES: [&str; 9] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "chat_template.jinja",
];

/// Every directory of sentence-transformers has it.
const MODULES_FILE: &str = "modules.json";

impl ModelExport<'_> {
    /// Writes the directory, with what `add` puts into it. A model in its place is replaced in one step after
    /// all is on disk.
    ///
    /// # Errors
    /// As the loading of the base; [`Error::Invalid`] for a changed weight that the base does not have or
    /// that has another size, for a length limit that the model cannot have, and for a folder with other files
    /// than a model's in it; [`Error::Adapter`]; and [`Error::Core`] when a file cannot be written. The old
    /// directory is untouched then.
    pub fn write<E: From<Error>>(
        &self,
        directory: &Path,
        add: impl FnOnce(&Path) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let is_used = fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some());
        if is_used && !directory.join(MODULES_FILE).is_file() {
            let problem = "it holds other files than a model's, and is not replaced".to_owned();
            return Err(Error::Invalid { path: directory.to_owned(), problem }.into());
        }
        let folder = AtomicFolder::begin(directory).map_err(Error::from)?;
        self.fill(folder.path())?;
        add(folder.path())?;
        folder.commit().map_err(Error::from)?;
        Ok(())
    }

    fn fill(&self, folder: &Path) -> Result<()> {
        let settings = SentenceTransformer::read(self.base)?;
        let most = settings.architecture.max_tokens();
        if !(1..=most).contains(&self.max_tokens) {
            return Err(Error::Invalid {
                path: self.base.to_owned(),
                problem: format!("its sequences have 1 to {most} tokens, not {}", self.max_tokens),
            });
        }
        self.write_weights(&settings, &folder.join("model.safetensors"))?;
        let body = settings.weights.parent().unwrap_or(self.base);
        write_config(&body.join("config.json"), &folder.join("config.json"))?;
        for file in TOKENIZER_FILES {
            let from = body.join(file);
            if from.is_file() {
                let content = fs::read(&from).map_err(coderag_core::Error::io("read", &from))?;
                write(&folder.join(file), content)?;
            }
        }
        let limits =
            json!({ "max_seq_length": self.max_tokens, "do_lower_case": settings.lower_case });
        write_json(&folder.join("sentence_bert_config.json"), &limits)?;
        write_json(
            &folder.join("config_sentence_transformers.json"),
            &json!({
                // What a reader of these files must understand.
                "__version__": { "sentence_transformers": "3.0.0" },
                "prompts": settings.prompts,
                "default_prompt_name": settings.default_prompt_name,
                "similarity_fn_name": settings.similarity,
            }),
        )?;
        write_modules(&settings, folder)
    }

    /// The base's weights, those that changed with their new values.
    fn write_weights(&self, settings: &SentenceTransformer, path: &Path) -> Result<()> {
        let names = settings.architecture.checkpoint_names();
        let mut checkpoint = Checkpoint::open(&settings.weights, names)?;
        check_weights(&settings.architecture, checkpoint.clone())?;
        let base = checkpoint.clone().into_tensors();
        if let Some(adapter) = self.adapter {
            let places = lora_places(&settings.architecture);
            checkpoint.merge(&adapter.place(&places)?);
        }
        let tensors = checkpoint.into_tensors();
        let invalid = |problem| Error::Invalid { path: settings.weights.clone(), problem };
        for (name, values) in &self.changed {
            let Some(tensor) = tensors.get(*name).filter(|tensor| tensor.is_float()) else {
                return Err(invalid(format!("it has no weight `{name}` to be changed")));
            };
            let shape = tensor.shape();
            if shape.iter().product::<usize>() != values.len() {
                let count = values.len();
                return Err(invalid(format!(
                    "the weight `{name}` of the shape {shape:?} cannot take {count} values"
                )));
            }
            if tensor.has_update() {
                return Err(invalid(format!(
                    "the weight `{name}` cannot be changed and take an adapter at once"
                )));
            }
        }
        let stored = tensors.iter().map(|(name, tensor)| {
            let dtype = base.get(name).map_or(tensor.dtype(), Tensor::dtype);
            (
                name,
                StoredTensor { tensor, dtype, changed: self.changed.get(name.as_str()).copied() },
            )
        });
        write_tensors(stored, path)
    }
}

/// A tensor on its way to a file.
struct StoredTensor<'a> {
    tensor: &'a Tensor,
    /// What it is stored as.
    dtype: Dtype,
    changed: Option<&'a [f32]>,
}

impl View for StoredTensor<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        self.tensor.shape()
    }

    /// Called when the tensor's turn has come. What is returned is a copy, so that no more of the base than
    /// one tensor need be in memory.
    fn data(&self) -> Cow<'_, [u8]> {
        let Self { tensor, dtype, changed } = *self;
        let bytes = match changed {
            Some(values) => narrowed(values, dtype),
            None if tensor.has_update() || tensor.dtype() != dtype => {
                narrowed(&tensor.values(), dtype)
            }
            None => tensor.bytes().to_vec(),
        };
        tensor.release();
        bytes.into()
    }

    fn data_len(&self) -> usize {
        self.shape().iter().product::<usize>() * self.dtype.bitsize() / 8
    }
}

/// The bytes of values, rounded to the nearest of their type.
fn narrowed(values: &[f32], dtype: Dtype) -> Vec<u8> {
    match dtype {
        Dtype::F16 => values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect(),
        Dtype::BF16 => {
            values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()).collect()
        }
        _ => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    }
}

/// Writes the base's `config.json`, with the classes of what is written: the body, without a task head.
fn write_config(from: &Path, to: &Path) -> Result<()> {
    let mut config: Map<String, Value> = read_required(from, "it was there a moment ago")?;
    let family = config.get("model_type").and_then(Value::as_str).unwrap_or("bert").to_owned();
    let class = match &*family {
        "roberta" => "RobertaModel",
        "xlm-roberta" => "XLMRobertaModel",
        "qwen2" => "Qwen2Model",
        "qwen3" => "Qwen3Model",
        _ => "BertModel",
    };
    config.insert("architectures".to_owned(), json!([class]));
    config.insert("model_type".to_owned(), family.into());
    write_json(to, &config.into())
}

/// Writes `modules.json` and the modules' folders, in the layout that every version reads.
fn write_modules(settings: &SentenceTransformer, folder: &Path) -> Result<()> {
    let mut modules = vec![module(0, "", "Transformer"), module(1, "1_Pooling", "Pooling")];
    let mut add = |kind: &str| {
        let index = modules.len();
        let path = format!("{index}_{kind}");
        modules.push(module(index, &path, kind));
        create(folder.join(path))
    };
    write_json(
        &create(folder.join("1_Pooling"))?.join("config.json"),
        &pooling(settings.pooling, settings.architecture.hidden_size()),
    )?;
    for step in &settings.steps {
        match step {
            Step::Dense { config, weights } => {
                let to = add("Dense")?;
                write_json(&to.join("config.json"), &config.to_json())?;
                let tensors = Checkpoint::open(weights, CheckpointNames::default())?.into_tensors();
                let stored = tensors.iter().map(|(name, tensor)| {
                    (name, StoredTensor { tensor, dtype: tensor.dtype(), changed: None })
                });
                write_tensors(stored, &to.join("model.safetensors"))?;
            }
            Step::Normalize => drop(add("Normalize")?),
        }
    }
    if settings.normalize {
        add("Normalize")?;
    }
    write_json(&folder.join(MODULES_FILE), &Value::Array(modules))
}

fn module(index: usize, path: &str, kind: &str) -> Value {
    // The classes' place before sentence-transformers 6, which later versions still know;
    // text-embeddings-inference knows no other.
    let class = format!("sentence_transformers.models.{kind}");
    json!({ "idx": index, "name": index.to_string(), "path": path, "type": class })
}

/// The settings by the keys that text-embeddings-inference needs and sentence-transformers 6 still reads.
fn pooling(pooling: Pooling, hidden_size: usize) -> Value {
    let modes = [
        ("pooling_mode_cls_token", Some(Pooling::Cls)),
        ("pooling_mode_mean_tokens", Some(Pooling::Mean)),
        ("pooling_mode_max_tokens", Some(Pooling::Max)),
        ("pooling_mode_mean_sqrt_len_tokens", None),
        ("pooling_mode_weightedmean_tokens", None),
        ("pooling_mode_lasttoken", Some(Pooling::LastToken)),
    ];
    let mut settings = Map::new();
    settings.insert("word_embedding_dimension".to_owned(), hidden_size.into());
    for (key, mode) in modes {
        settings.insert(key.to_owned(), (mode == Some(pooling)).into());
    }
    settings.insert("include_prompt".to_owned(), true.into());
    settings.into()
}

fn create(folder: PathBuf) -> Result<PathBuf> {
    fs::create_dir(&folder).map_err(coderag_core::Error::io("create the folder", &folder))?;
    Ok(folder)
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    write(path, format!("{value:#}\n"))
}

fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    Ok(fs::write(path, content).map_err(coderag_core::Error::io("write", path))?)
}
