use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{bf16, f16};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};

use crate::{Error, Result};

/// Put before the body's tensors in checkpoints that also have a task head.
const PREFIX: &str = "bert.";

/// The tensors of a safetensors file, mapped into memory.
#[derive(Debug)]
pub(super) struct Checkpoint {
    path: PathBuf,
    tensors: HashMap<String, Tensor>,
    problems: Vec<String>,
}

/// A tensor of one or two dimensions in a mapped file.
#[derive(Clone, Debug)]
pub(super) struct Tensor {
    map: Arc<Mmap>,
    bytes: Range<usize>,
    dtype: Dtype,
    shape: Vec<usize>,
}

impl Checkpoint {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(coderag_core::Error::io("open", path))?;
        // SAFETY: the map is only read. Model files are replaced by renaming, never rewritten in place,
        // so the mapped file keeps its content and length.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }.map_err(coderag_core::Error::io("map", path))?;
        let map = Arc::new(map);
        let damaged = |source| Error::Damaged { path: path.to_owned(), source };
        let contents = SafeTensors::deserialize(&map).map_err(damaged)?;
        let prefixed = contents.iter().any(|(name, _)| name.starts_with(PREFIX));
        let prefix = if prefixed { PREFIX } else { "" };
        let start = map.as_ptr() as usize;
        let tensors = contents
            .iter()
            .filter_map(|(name, view)| {
                let offset = view.data().as_ptr() as usize - start;
                let tensor = Tensor {
                    map: Arc::clone(&map),
                    bytes: offset..offset + view.data().len(),
                    dtype: view.dtype(),
                    shape: view.shape().to_vec(),
                };
                Some((name.strip_prefix(prefix)?.to_owned(), tensor))
            })
            .collect();
        Ok(Self { path: path.to_owned(), tensors, problems: Vec::new() })
    }

    /// A tensor of this name and shape. What is wrong with it is kept for [`Checkpoint::finish`].
    pub(super) fn take(&mut self, name: &str, shape: &[usize]) -> Option<Tensor> {
        let problem = match self.tensors.remove(name) {
            None => format!("missing tensor `{name}`"),
            Some(tensor) if tensor.shape != shape => {
                format!("tensor `{name}` has the shape {:?} instead of {shape:?}", tensor.shape)
            }
            Some(tensor) if !matches!(tensor.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) => {
                format!("tensor `{name}` is of type {:?} instead of F32, F16 or BF16", tensor.dtype)
            }
            Some(tensor) => return Some(tensor),
        };
        self.problems.push(problem);
        None
    }

    /// The values of a vector of this name and length; nothing when there is no such vector.
    pub(super) fn take_vector(&mut self, name: &str, length: usize) -> Vec<f32> {
        let Some(tensor) = self.take(name, &[length]) else { return Vec::new() };
        let mut values = vec![0.0; length];
        tensor.read_row(0, &mut values);
        values
    }

    /// # Errors
    /// [`Error::Weights`] when a tensor was not as it should be, or one is left that nobody took.
    pub(super) fn finish(mut self) -> Result<()> {
        // The pooler serves next-sentence prediction; the position ids are 0, 1, 2 and so on.
        let ignored = |name: &str| name.starts_with("pooler.") || name == "embeddings.position_ids";
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

impl Tensor {
    /// Reads a row, widened to f32; a vector is one row.
    pub(super) fn read_row(&self, row: usize, values: &mut [f32]) {
        let width = self.dtype.bitsize() / 8 * values.len();
        let bytes = &self.map[self.bytes.clone()][row * width..][..width];
        match self.dtype {
            Dtype::F16 => {
                widen(bytes, values, |bytes| f16::from_le_bytes(bytes).to_f32());
            }
            Dtype::BF16 => {
                widen(bytes, values, |bytes| bf16::from_le_bytes(bytes).to_f32());
            }
            _ => widen(bytes, values, f32::from_le_bytes),
        }
    }
}

fn widen<const N: usize>(bytes: &[u8], values: &mut [f32], read: impl Fn([u8; N]) -> f32) {
    for (value, bytes) in values.iter_mut().zip(bytes.as_chunks().0) {
        *value = read(*bytes);
    }
}
