use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{bf16, f16};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use crate::lora::{LowRank, Placement};
use crate::{Error, Result};

/// How the checkpoints of a family call their tensors.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CheckpointNames {
    /// Put before the body's tensors in checkpoints that also have a task head.
    pub(crate) prefix: &'static str,
    /// Beginnings of the names of tensors that an encoder has no use for.
    pub(crate) ignored: &'static [&'static str],
}

/// The tensors of a safetensors file, or of several that an index file names, mapped into memory.
#[derive(Clone, Debug)]
pub(crate) struct Checkpoint {
    path: PathBuf,
    names: CheckpointNames,
    maps: Vec<Arc<Mmap>>,
    tensors: HashMap<String, Tensor>,
    problems: Vec<String>,
}

/// A tensor in a mapped file.
#[derive(Clone, Debug)]
pub(crate) struct Tensor {
    map: Arc<Mmap>,
    bytes: Range<usize>,
    dtype: Dtype,
    shape: Vec<usize>,
    /// Added to the file's values where they are read.
    update: Option<Arc<LowRank>>,
}

/// `model.safetensors.index.json`, as transformers writes it beside a checkpoint in several files.
#[derive(Deserialize)]
struct ShardIndex {
    /// The file of each tensor.
    weight_map: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Opens a safetensors file, or all files that an index file (`*.index.json`) names.
    ///
    /// # Errors
    /// [`Error::Core`], [`Error::Settings`], [`Error::Invalid`] or [`Error::Damaged`] about a file.
    pub(crate) fn open(path: &Path, names: CheckpointNames) -> Result<Self> {
        let mut checkpoint = Self {
            path: path.to_owned(),
            names,
            maps: Vec::new(),
            tensors: HashMap::new(),
            problems: Vec::new(),
        };
        if path.extension().is_some_and(|extension| extension == "json") {
            for shard in shards(path)? {
                checkpoint.add(&shard)?;
            }
        } else {
            checkpoint.add(path)?;
        }
        let prefix = names.prefix;
        if checkpoint.tensors.keys().any(|name| name.starts_with(prefix)) {
            let tensors = checkpoint.tensors.into_iter();
            checkpoint.tensors = tensors
                .filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?.to_owned(), tensor)))
                .collect();
        }
        Ok(checkpoint)
    }

    /// Maps a file and adds its tensors.
    fn add(&mut self, path: &Path) -> Result<()> {
        let file = File::open(path).map_err(coderag_core::Error::io("open", path))?;
        // SAFETY: the map is only read. Model files are replaced by renaming, never rewritten in place,
        // so the mapped file keeps its content and length.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }.map_err(coderag_core::Error::io("map", path))?;
        let map = Arc::new(map);
        let damaged = |source| Error::Damaged { path: path.to_owned(), source };
        let contents = SafeTensors::deserialize(&map).map_err(damaged)?;
        let start = map.as_ptr() as usize;
        for (name, view) in contents.iter() {
            let offset = view.data().as_ptr() as usize - start;
            let tensor = Tensor {
                map: Arc::clone(&map),
                bytes: offset..offset + view.data().len(),
                dtype: view.dtype(),
                shape: view.shape().to_vec(),
                update: None,
            };
            if self.tensors.insert(name.to_owned(), tensor).is_some() {
                self.problems.push(format!("two files have the tensor `{name}`"));
            }
        }
        self.maps.push(map);
        Ok(())
    }

    /// The files' contents, in order.
    pub(crate) fn maps(&self) -> &[Arc<Mmap>] {
        &self.maps
    }

    /// Puts an adapter's weights over the file's, for all who read them.
    pub(crate) fn merge(&mut self, adapter: &Placement<'_>) {
        for (module, stored) in &adapter.replaced {
            self.tensors.insert(format!("{module}.weight"), Tensor::clone(stored));
        }
        for (module, placed) in &adapter.layers {
            if let Some(tensor) = self.tensors.get_mut(&format!("{module}.weight")) {
                tensor.update = Some(Arc::new(LowRank::of(placed)));
            }
        }
    }

    /// All tensors by name.
    pub(crate) fn into_tensors(self) -> HashMap<String, Tensor> {
        self.tensors
    }

    /// A tensor of this name and shape. What is wrong with it is kept for [`Checkpoint::finish`].
    pub(crate) fn take(&mut self, name: &str, shape: &[usize]) -> Option<Tensor> {
        let problem = match self.tensors.remove(name) {
            None => format!("missing tensor `{name}`"),
            Some(tensor) if tensor.shape != shape => {
                format!("tensor `{name}` has the shape {:?} instead of {shape:?}", tensor.shape)
            }
            Some(tensor) if !tensor.is_float() => {
                format!("tensor `{name}` is of type {:?} instead of F32, F16 or BF16", tensor.dtype)
            }
            Some(tensor) => return Some(tensor),
        };
        self.problems.push(problem);
        None
    }

    /// The values of a vector of this name and length; nothing when there is no such vector.
    pub(crate) fn take_vector(&mut self, name: &str, length: usize) -> Vec<f32> {
        self.take(name, &[length]).map(|tensor| tensor.values()).unwrap_or_default()
    }

    /// # Errors
    /// [`Error::Weights`] when a tensor was not as it should be, or one is left that nobody took.
    pub(crate) fn finish(mut self) -> Result<()> {
        let ignored = |name: &str| self.names.ignored.iter().any(|start| name.starts_with(start));
        let mut unexpected: Vec<&String> = self.tensors.keys().filter(|n| !ignored(n)).collect();
        unexpected.sort_unstable();
        self.problems.extend(unexpected.iter().map(|name| format!("unexpected tensor `{name}`")));
        if self.problems.is_empty() {
            Ok(())
        } else {
            Err(Error::Weights { path: self.path, problems: self.problems })
        }
    }
}

/// The files that an index names, each once.
fn shards(index: &Path) -> Result<Vec<PathBuf>> {
    let bytes = fs::read(index).map_err(coderag_core::Error::io("read", index))?;
    let ShardIndex { weight_map } = serde_json::from_slice(&bytes)
        .map_err(|source| Error::Settings { path: index.to_owned(), source })?;
    let names: BTreeSet<&String> = weight_map.values().collect();
    let folder = index.parent().unwrap_or(Path::new(""));
    let shard = |name: &String| {
        // A path could lead anywhere on the machine.
        let is_file_name = Path::new(name).file_name().is_some_and(|file| file == name.as_str());
        let path = folder.join(name);
        if !is_file_name {
            let problem = format!("weight_map names `{name}`, which is not a file beside it");
            Err(Error::Invalid { path: index.to_owned(), problem })
        } else if !path.is_file() {
            Err(Error::Missing { path, hint: "model.safetensors.index.json names it" })
        } else {
            Ok(path)
        }
    };
    names.into_iter().map(shard).collect()
}

impl Tensor {
    /// Reads a row, widened to f32; a vector is one row.
    pub(crate) fn read_row(&self, row: usize, values: &mut [f32]) {
        let width = self.dtype.bitsize() / 8 * values.len();
        let bytes = &self.bytes()[row * width..][..width];
        match self.dtype {
            Dtype::F16 => {
                widen(bytes, values, |bytes| f16::from_le_bytes(bytes).to_f32());
            }
            Dtype::BF16 => {
                widen(bytes, values, |bytes| bf16::from_le_bytes(bytes).to_f32());
            }
            _ => widen(bytes, values, f32::from_le_bytes),
        }
        if let Some(update) = &self.update {
            update.add_to_row(row, values);
        }
    }

    /// Whether the values are of a type that can be widened to f32.
    pub(crate) fn is_float(&self) -> bool {
        matches!(self.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16)
    }

    /// Whether something is added to the file's values.
    pub(crate) fn has_update(&self) -> bool {
        self.update.is_some()
    }

    pub(crate) fn dtype(&self) -> Dtype {
        self.dtype
    }

    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The values as they are in the file.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map[self.bytes.clone()]
    }

    /// Lets the system have back the memory in which the file was read; reading it again is only slower.
    pub(crate) fn release(&self) {
        #[cfg(unix)]
        {
            let Range { start, end } = self.bytes;
            // SAFETY: the map shows the file and is never written to, so what is dropped comes back as it
            // was.
            #[allow(unsafe_code)]
            let released = unsafe {
                let advice = memmap2::UncheckedAdvice::DontNeed;
                self.map.unchecked_advise_range(advice, start, end - start)
            };
            if let Err(error) = released {
                tracing::debug!(%error, "a tensor's file stays in memory");
            }
        }
    }

    /// All values, widened to f32.
    pub(crate) fn values(&self) -> Vec<f32> {
        let width = self.shape.last().copied().unwrap_or(1).max(1);
        let mut values = vec![0.0; self.shape.iter().product()];
        for (row, values) in values.chunks_exact_mut(width).enumerate() {
            self.read_row(row, values);
        }
        values
    }
}

fn widen<const N: usize>(bytes: &[u8], values: &mut [f32], read: impl Fn([u8; N]) -> f32) {
    for (value, bytes) in values.iter_mut().zip(bytes.as_chunks().0) {
        *value = read(*bytes);
    }
}
