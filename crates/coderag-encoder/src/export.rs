use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{bf16, f16};
use coderag_core::atomic::AtomicFolder;
use safetensors::tensor::View;
use safetensors::{Dtype, SafeTensorError};
use serde_json::{Map, Value, json};

use crate::checkpoint::{Checkpoint, Tensor};
use crate::sentence_transformers::{SentenceTransformer, Step};
use crate::{Error, Pooling, Result};

/// A model to be written: a base with some of its values changed.
#[derive(Debug)]
pub struct ModelExport<'a> {
    /// The directory that the model was trained from.
    pub base: &'a Path,
    /// The new values of tensors of the body, by the names they have without a task head's prefix. They
    /// are stored in the type that the base has them in.
    pub changed: BTreeMap<String, Vec<f32>>,
    /// The longest sequence in tokens.
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

impl ModelExport<'_> {
    /// Writes a directory that sentence-transformers 2 to 6 and text-embeddings-inference load, through
    /// `add` with what else belongs into it. The old directory stays until all is on disk.
    ///
    /// # Errors
    /// As the loading of the base, [`Error::Invalid`] for a changed tensor that the base does not have or
    /// that has another size, and [`Error::Core`] when a file cannot be written.
    pub fn write<E: From<Error>>(
        &self,
        directory: &Path,
        add: impl FnOnce(&Path) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let folder = AtomicFolder::begin(directory).map_err(Error::from)?;
        self.fill(folder.path())?;
        add(folder.path())?;
        folder.commit().map_err(Error::from)?;
        Ok(())
    }

    fn fill(&self, folder: &Path) -> Result<()> {
        let settings = SentenceTransformer::read(self.base)?;
        let body = settings.weights.parent().unwrap_or(self.base);
        copy(body, folder, "config.json")?;
        for file in TOKENIZER_FILES {
            if body.join(file).is_file() {
                copy(body, folder, file)?;
            }
        }
        self.write_weights(&settings, &folder.join("model.safetensors"))?;
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
                "similarity_fn_name": "cosine",
            }),
        )?;
        write_modules(&settings, folder)
    }
}

impl ModelExport<'_> {
    /// The base's tensors, those that changed with their new values.
    fn write_weights(&self, settings: &SentenceTransformer, path: &Path) -> Result<()> {
        let names = settings.architecture.checkpoint_names();
        let tensors = Checkpoint::open(&settings.weights, names)?.into_tensors();
        let invalid = |problem| Error::Invalid { path: settings.weights.clone(), problem };
        for (name, values) in &self.changed {
            let Some(tensor) = tensors.get(name) else {
                return Err(invalid(format!("it has no tensor `{name}` to be changed")));
            };
            if tensor.shape().iter().product::<usize>() != values.len() {
                return Err(invalid(format!(
                    "tensor `{name}` of shape {:?} cannot take {} values",
                    tensor.shape(),
                    values.len()
                )));
            }
        }
        let stored = tensors.iter().map(|(name, tensor)| {
            (name, StoredTensor { tensor, changed: self.changed.get(name).map(Vec::as_slice) })
        });
        // transformers refuses files that do not say so.
        let metadata = [("format".to_owned(), "pt".to_owned())].into_iter().collect();
        safetensors::serialize_to_file(stored, Some(metadata), path).map_err(
            |source| match source {
                SafeTensorError::IoError(source) => {
                    coderag_core::Error::io("write", path)(source).into()
                }
                source => Error::Damaged { path: settings.weights.clone(), source },
            },
        )
    }
}

/// A tensor of the base on its way to the new file.
struct StoredTensor<'a> {
    tensor: &'a Tensor,
    changed: Option<&'a [f32]>,
}

impl View for StoredTensor<'_> {
    fn dtype(&self) -> Dtype {
        self.tensor.dtype()
    }

    fn shape(&self) -> &[usize] {
        self.tensor.shape()
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let Some(values) = self.changed else { return self.tensor.bytes().into() };
        match self.tensor.dtype() {
            Dtype::F16 => values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect(),
            Dtype::BF16 => values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect(),
            _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    }

    fn data_len(&self) -> usize {
        self.tensor.bytes().len()
    }
}

/// Writes `modules.json` and the modules' folders, in the layout that every version reads.
fn write_modules(settings: &SentenceTransformer, folder: &Path) -> Result<()> {
    let mut modules = vec![module(0, "", "Transformer"), module(1, "1_Pooling", "Pooling")];
    let mut add = |kind: &str| {
        let index = modules.len();
        let path = format!("{index}_{kind}");
        modules.push(module(index, &path, kind));
        folder.join(path)
    };
    write_json(
        &create(folder.join("1_Pooling"))?.join("config.json"),
        &pooling(settings.pooling, settings.architecture.hidden_size()),
    )?;
    for step in &settings.steps {
        match step {
            Step::Dense { weights, .. } => {
                let to = create(add("Dense"))?;
                let from = weights.parent().unwrap_or(Path::new(""));
                copy(from, &to, "config.json")?;
                copy(from, &to, "model.safetensors")?;
            }
            Step::Normalize => drop(create(add("Normalize"))?),
        }
    }
    if settings.normalize {
        create(add("Normalize"))?;
    }
    write_json(&folder.join("modules.json"), &Value::Array(modules))
}

fn module(index: usize, path: &str, kind: &str) -> Value {
    // The classes' place before version 5, which later versions still know.
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

fn copy(from: &Path, to: &Path, file: &str) -> Result<()> {
    let target = to.join(file);
    fs::copy(from.join(file), &target).map_err(coderag_core::Error::io("write", &target))?;
    Ok(())
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    fs::write(path, format!("{value:#}\n")).map_err(coderag_core::Error::io("write", path))?;
    Ok(())
}
