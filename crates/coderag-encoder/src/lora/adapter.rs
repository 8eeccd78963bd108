use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::backend::Backend;
use coderag_core::atomic::AtomicFolder;
use coderag_core::{Digest, Hasher, Random};
use safetensors::{Dtype, View};

use super::config::{AdapterConfig, CONFIG_FILE};
use super::model::{LoraModel, LoraPlace};
use super::selection::{LayerKind, ModuleSelection};
use super::weights::LoraWeights;
use crate::checkpoint::{Checkpoint, CheckpointNames, Tensor};
use crate::tensor_file::write_tensors;
use crate::{Error, Result};

/// The file's name in an adapter's folder.
const WEIGHTS_FILE: &str = "adapter_model.safetensors";

/// What PEFT puts before every module's path.
const PREFIX: &str = "base_model.model.";

/// Parts of a model that have no influence on token states, and so none on an embedding.
pub(super) const WITHOUT_INFLUENCE: &[&str] = &["pooler."];

/// A layer of such a part, which BERT has in PEFT's eyes and not in ours.
const POOLER: &str = "pooler.dense";

/// A LoRA adapter as PEFT keeps it: settings, and A and B of each layer.
///
/// Its modules have the paths of the model that it was trained on, which may be larger than an encoder: a
/// language model's body has `model.` or `bert.` before each path, a sentence-transformers pipeline's
/// `0.model.`. What stands before is found when the adapter meets a model, and layers of a head are kept
/// but have no influence.
#[derive(Clone, Debug)]
pub struct Adapter {
    config: AdapterConfig,
    pub(super) layers: BTreeMap<String, LoraWeights>,
    /// Weights that stand in place of the base's. PEFT saves the whole embedding when it has LoRA.
    replaced: BTreeMap<String, Tensor>,
    /// Where it was read from.
    path: Option<PathBuf>,
}

/// An adapter's layers by their paths within a model.
#[derive(Debug)]
pub(crate) struct Placement<'a> {
    pub(crate) layers: BTreeMap<&'a str, Placed<'a>>,
    pub(crate) replaced: BTreeMap<&'a str, &'a Tensor>,
}

/// A layer's A and B, and what their product is multiplied with.
#[derive(Debug)]
pub(crate) struct Placed<'a> {
    pub(crate) weights: &'a LoraWeights,
    pub(crate) scale: f64,
}

impl Adapter {
    /// An adapter for training, with which a model computes what it did without: see
    /// [`LoraModel`] for an example. Where the settings would choose BERT's pooler too, they name the other
    /// layers instead, so that PEFT misses no A and B.
    ///
    /// # Errors
    /// [`Error::Adapter`] when the settings make no sense or choose no layer.
    pub fn initial(mut config: AdapterConfig, places: &[LoraPlace], seed: u64) -> Result<Self> {
        let mut random = Random::new(seed);
        let mut problems = Vec::from_iter(config.problem());
        let mut layers = BTreeMap::new();
        if problems.is_empty() {
            for LoraPlace { module, kind, sizes } in places {
                if config.targets(module, *kind) {
                    let rank = config.rank_of(module);
                    let weights = LoraWeights::initial(*kind, rank, *sizes, &mut random);
                    layers.insert(module.clone(), weights);
                }
            }
            if layers.is_empty() {
                problems.push(no_layer(modules(places)));
            } else if config.targets(POOLER, LayerKind::Linear) {
                let (chosen, mut others): (Vec<&str>, Vec<&str>) =
                    modules(places).partition(|module| layers.contains_key(*module));
                others.push(POOLER);
                config.target_modules = ModuleSelection::exactly(&chosen, &others);
            }
        }
        let adapter = Self { config, layers, replaced: BTreeMap::new(), path: None };
        if problems.is_empty() { Ok(adapter) } else { Err(adapter.error(problems)) }
    }

    /// Reads a folder as PEFT's `save_pretrained` writes it, in f32, f16 or bf16, or as
    /// sentence-transformers' `save_pretrained` does for a model with an adapter.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Settings`], [`Error::Unsupported`], [`Error::Invalid`] and
    /// [`Error::Damaged`] about the files, [`Error::Adapter`] when the tensors are not LoRA's.
    pub fn read(directory: &Path) -> Result<Self> {
        let config = AdapterConfig::read(directory)?;
        let path = directory.join(WEIGHTS_FILE);
        if !path.is_file() {
            let hint = "adapters are read from this file only; save with safe_serialization=True";
            return Err(Error::Missing { path, hint });
        }
        let tensors = Checkpoint::open(&path, CheckpointNames::default())?.into_tensors();
        let (layers, replaced, problems) = parts(tensors.into_iter().collect());
        let adapter = Self { config, layers, replaced, path: Some(path) };
        if problems.is_empty() { Ok(adapter) } else { Err(adapter.error(problems)) }
    }

    /// Writes a folder that PEFT loads, with A and B in f32. An adapter in its place is replaced in one step.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a folder with other files in it, [`Error::Core`] when it cannot be written.
    pub fn write(&self, directory: &Path) -> Result<()> {
        let is_used = fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some());
        if is_used && !directory.join(CONFIG_FILE).is_file() {
            return Err(Error::Invalid {
                path: directory.to_owned(),
                problem: "it holds other files than an adapter's, and is not replaced".into(),
            });
        }
        let folder = AtomicFolder::begin(directory)?;
        let mut tensors: Vec<(String, FileTensor<'_>)> = Vec::new();
        for (module, weights) in &self.layers {
            let [a, b] = names(module, weights.kind());
            let [rank, inputs, outputs] = [weights.rank(), weights.inputs(), weights.outputs()];
            tensors.push((a, FileTensor::of(weights.a(), [rank, inputs])));
            tensors.push((b, FileTensor::of(weights.b(), [outputs, rank])));
        }
        for (module, tensor) in &self.replaced {
            let suffix = if self.layers.contains_key(module) { ADAPTED_BASE } else { BASE };
            let bytes = tensor.bytes().into();
            let (dtype, shape) = (tensor.dtype(), tensor.shape().to_vec());
            tensors.push((format!("{PREFIX}{module}{suffix}"), FileTensor { dtype, shape, bytes }));
        }
        write_tensors(tensors, &folder.path().join(WEIGHTS_FILE))?;
        let path = folder.path().join(CONFIG_FILE);
        let text = format!("{:#}\n", self.config.to_json());
        fs::write(&path, text).map_err(coderag_core::Error::io("write", &path))?;
        Ok(folder.commit()?)
    }

    /// The settings.
    pub fn config(&self) -> &AdapterConfig {
        &self.config
    }

    /// A and B of each layer, by the module's path in the model that the adapter was trained on.
    pub fn layers(&self) -> &BTreeMap<String, LoraWeights> {
        &self.layers
    }

    /// This adapter with the A and B that a model has now: what training made of it.
    ///
    /// # Errors
    /// [`Error::Adapter`] when the model has another adapter.
    pub fn with_weights_of<B: Backend, M: LoraModel<B>>(&self, model: &M) -> Result<Self> {
        let places = model.lora_places();
        let prefix = self.prefix(modules(&places))?.to_owned();
        let mut trained = self.clone();
        let mut problems = Vec::new();
        for (module, mut slot) in model.clone().lora_slots() {
            let module = format!("{prefix}{module}");
            match (trained.layers.get_mut(&module), slot.weights()) {
                (None, None) => {}
                (Some(weights), Some(now)) if weights.has_sizes_of(&now) => *weights = now,
                _ => problems.push(format!("the model's adapter differs at `{module}`")),
            }
        }
        if problems.is_empty() { Ok(trained) } else { Err(self.error(problems)) }
    }

    /// Finds the layers of a model that the adapter is for.
    ///
    /// # Errors
    /// [`Error::Adapter`] unless the adapter has A and B for exactly those layers that its settings choose.
    pub(crate) fn place<'a>(&'a self, places: &'a [LoraPlace]) -> Result<Placement<'a>> {
        let prefix = self.prefix(modules(places))?;
        let mut problems = Vec::new();
        let mut layers = BTreeMap::new();
        for LoraPlace { module, kind, sizes } in places {
            let full = format!("{prefix}{module}");
            let [a, b] = names(&full, *kind);
            let targeted = self.config.targets(&full, *kind);
            match self.layers.get(&full) {
                None if targeted => problems.push(format!("missing tensor `{a}`")),
                None => {}
                Some(_) if !targeted => problems.push(format!(
                    "unexpected tensor `{a}`: the settings do not choose this module"
                )),
                Some(weights) => {
                    let [inputs, outputs] = *sizes;
                    let expected = [self.config.rank_of(&full), inputs, outputs];
                    let found = [weights.rank(), weights.inputs(), weights.outputs()];
                    if weights.kind() != *kind {
                        let [found, _] = names(&full, weights.kind());
                        problems.push(format!("tensor `{found}` should be `{a}`"));
                    } else if found != expected {
                        let [rank, inputs, outputs] = expected;
                        problems.push(format!(
                            "tensors `{a}` and `{b}` have the shapes {:?} and {:?} instead of {:?} and \
                             {:?}",
                            [found[0], found[1]],
                            [found[2], found[0]],
                            [rank, inputs],
                            [outputs, rank],
                        ));
                    } else {
                        let scale = self.config.scale_of(&full);
                        layers.insert(module.as_str(), Placed { weights, scale });
                    }
                }
            }
        }
        let known = |full: &str| {
            let Some(module) = full.strip_prefix(prefix) else { return true };
            WITHOUT_INFLUENCE.iter().any(|part| module.starts_with(part))
                || places.iter().any(|place| place.module == module)
        };
        for (full, weights) in self.layers.iter().filter(|(full, _)| !known(full)) {
            let [name, _] = names(full, weights.kind());
            problems.push(format!("unexpected tensor `{name}`: the model has no such module"));
        }
        let mut replaced = BTreeMap::new();
        for (full, tensor) in &self.replaced {
            let Some(module) = full.strip_prefix(prefix) else { continue };
            let found = places.iter().find(|place| place.module == module);
            match found.filter(|place| place.kind == LayerKind::Embedding) {
                Some(place) if tensor.shape() == place.sizes => {
                    replaced.insert(place.module.as_str(), tensor);
                }
                Some(place) => problems.push(format!(
                    "the weight of `{full}` has the shape {:?} instead of {:?}; an adapter with another \
                     vocabulary is not supported",
                    tensor.shape(),
                    place.sizes
                )),
                None => problems.push(format!("unexpected weight of `{full}`")),
            }
        }
        if problems.is_empty() {
            Ok(Placement { layers, replaced })
        } else {
            Err(self.error(problems))
        }
    }

    /// What stands before a model's paths in the adapter's.
    pub(super) fn prefix<'a>(&self, modules: impl IntoIterator<Item = &'a str>) -> Result<&str> {
        let modules: Vec<&str> = modules.into_iter().collect();
        let mut prefixes: Vec<&str> = Vec::new();
        for full in self.layers.keys() {
            let prefix = modules.iter().find_map(|module| {
                let before = full.strip_suffix(module)?;
                (before.is_empty() || before.ends_with('.')).then_some(before)
            });
            if let Some(prefix) = prefix.filter(|prefix| !prefixes.contains(prefix)) {
                prefixes.push(prefix);
            }
        }
        match prefixes[..] {
            [prefix] => Ok(prefix),
            [] => Err(self.error(vec![no_layer(modules)])),
            [one, other, ..] => Err(self.error(vec![format!(
                "it is for several models, as with `{one}` and `{other}` before a module's path"
            )])),
        }
    }

    pub(super) fn error(&self, problems: Vec<String>) -> Error {
        Error::Adapter { path: self.path.clone(), problems }
    }
}

/// A tensor on its way to a file.
struct FileTensor<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Cow<'a, [u8]>,
}

impl FileTensor<'_> {
    fn of(values: &[f32], shape: [usize; 2]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { dtype: Dtype::F32, shape: shape.to_vec(), bytes }
    }
}

impl View for FileTensor<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// What the tensors of A and B are called.
fn names(module: &str, kind: LayerKind) -> [String; 2] {
    suffixes(kind).map(|suffix| format!("{PREFIX}{module}{suffix}"))
}

/// What follows a module's path in the names of A and B.
pub(super) fn suffixes(kind: LayerKind) -> [&'static str; 2] {
    match kind {
        LayerKind::Linear => [LINEAR_A, LINEAR_B],
        LayerKind::Embedding => [EMBEDDING_A, EMBEDDING_B],
    }
}

const LINEAR_A: &str = ".lora_A.weight";
const LINEAR_B: &str = ".lora_B.weight";
const EMBEDDING_A: &str = ".lora_embedding_A";
const EMBEDDING_B: &str = ".lora_embedding_B";
/// A base's own weight, where the module has LoRA and where it has none.
const ADAPTED_BASE: &str = ".base_layer.weight";
const BASE: &str = ".weight";

type Parts = (BTreeMap<String, LoraWeights>, BTreeMap<String, Tensor>, Vec<String>);

/// Puts the tensors of a file together to layers, and says which do not belong.
fn parts(mut tensors: BTreeMap<String, Tensor>) -> Parts {
    let (mut layers, mut replaced, mut problems) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    while let Some((name, tensor)) = tensors.pop_first() {
        // transformers can leave the prefix out (`save_peft_format=False`).
        let path = name.strip_prefix(PREFIX).unwrap_or(&name);
        let mut pair = |kind, a: &str, b: &str| {
            let module = path.strip_suffix(a)?;
            let other = name.strip_suffix(a).map(|start| format!("{start}{b}"))?;
            Some((module.to_owned(), kind, tensors.remove(&other), other))
        };
        let found = pair(LayerKind::Linear, LINEAR_A, LINEAR_B)
            .or_else(|| pair(LayerKind::Embedding, EMBEDDING_A, EMBEDDING_B));
        if !tensor.is_float() {
            let dtype = tensor.dtype();
            problems
                .push(format!("tensor `{name}` is of type {dtype:?} instead of F32, F16 or BF16"));
        } else if let Some((module, kind, other, other_name)) = found {
            match other.map(|b| layer(kind, &tensor, &b)) {
                Some(Some(weights)) => drop(layers.insert(module, weights)),
                Some(None) => problems.push(format!(
                    "tensors `{name}` and `{other_name}` are not two matrices of one rank"
                )),
                None => problems.push(format!("missing tensor `{other_name}`")),
            }
        } else if [LINEAR_B, EMBEDDING_B].iter().any(|suffix| path.ends_with(suffix)) {
            // A stands before B in order, and took it.
            problems.push(format!("tensor `{name}` stands alone"));
        } else if let Some(module) =
            path.strip_suffix(ADAPTED_BASE).or_else(|| path.strip_suffix(BASE))
            && !path.contains(".lora_")
        {
            replaced.insert(module.to_owned(), tensor);
        } else {
            problems.push(format!("unexpected tensor `{name}`"));
        }
    }
    (layers, replaced, problems)
}

fn layer(kind: LayerKind, a: &Tensor, b: &Tensor) -> Option<LoraWeights> {
    let (&[rank, inputs], &[outputs, same]) = (a.shape(), b.shape()) else { return None };
    if rank != same || !b.is_float() {
        return None;
    }
    LoraWeights::new(kind, rank, [inputs, outputs], a.values(), b.values())
}

fn modules(places: &[LoraPlace]) -> impl Iterator<Item = &str> {
    places.iter().map(|place| place.module.as_str())
}

fn no_layer<'a>(modules: impl IntoIterator<Item = &'a str>) -> String {
    let example = modules.into_iter().next().unwrap_or("none");
    format!("it is for none of the model's layers, such as `{example}`")
}

impl Placement<'_> {
    /// The digest of all that changes the vectors.
    pub(crate) fn fingerprint(&self) -> Digest {
        let mut hasher = Hasher::new();
        for (module, Placed { weights, scale }) in &self.layers {
            hasher.update(format!("{module} {} {:x}\n", weights.rank(), scale.to_bits()));
            for value in weights.a().iter().chain(weights.b()) {
                hasher.update(value.to_le_bytes());
            }
        }
        for (module, tensor) in &self.replaced {
            hasher.update(format!("{module} {:?}\n", tensor.dtype()));
            hasher.update(tensor.bytes());
        }
        hasher.finish()
    }
}
