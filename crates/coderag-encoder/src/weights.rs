use std::collections::HashMap;
use std::fs::File;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData, bf16, f16};
use memmap2::Mmap;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::{Error, Result};

/// How a family's checkpoints call the parameters of a burn module.
#[derive(Debug)]
pub(crate) struct TensorNames {
    /// The module's field names and the checkpoint's; a name not listed is the same in both.
    pub(crate) modules: &'static [(&'static str, &'static str)],
    /// Put before the body's tensors in checkpoints that also have a task head.
    pub(crate) prefix: &'static str,
    /// Beginnings of the names of tensors that the module has no place for.
    pub(crate) ignored: &'static [&'static str],
}

/// A safetensors file, mapped into memory.
#[derive(Debug)]
pub(crate) struct Weights {
    path: PathBuf,
    map: Mmap,
}

impl Weights {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(coderag_core::Error::io("open", path))?;
        // SAFETY: the map is only read, and only while a model is loaded. Model files are replaced by
        // renaming, never rewritten in place, so the mapped file keeps its content and length.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }.map_err(coderag_core::Error::io("map", path))?;
        Ok(Self { path: path.to_owned(), map })
    }

    /// The whole file.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Gives every parameter of `module` its value from the file.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the file is not whole, [`Error::Weights`] when its tensors are not the
    /// module's.
    pub(crate) fn load_into<B: Backend, M: Module<B>>(
        &self,
        module: M,
        names: &TensorNames,
        device: &B::Device,
    ) -> Result<M> {
        let damaged = |source| Error::Damaged { path: self.path.clone(), source };
        let file = SafeTensors::deserialize(&self.map).map_err(damaged)?;
        let prefixed = file.iter().any(|(name, _)| name.starts_with(names.prefix));
        let prefix = if prefixed { names.prefix } else { "" };
        let tensors = file
            .iter()
            .filter_map(|(name, view)| Some((name.strip_prefix(prefix)?, view)))
            .filter(|(name, _)| !names.ignored.iter().any(|ignored| name.starts_with(ignored)))
            .collect();
        let mut loader = Loader::<B> {
            tensors,
            names,
            device,
            path: Vec::new(),
            problems: Vec::new(),
            backend: PhantomData,
        };
        let module = module.map(&mut loader);
        let mut problems = loader.problems;
        let mut unexpected: Vec<_> = loader.tensors.into_keys().collect();
        unexpected.sort_unstable();
        problems.extend(unexpected.iter().map(|name| format!("unexpected tensor `{name}`")));
        if problems.is_empty() {
            Ok(module)
        } else {
            Err(Error::Weights { path: self.path.clone(), problems })
        }
    }
}

/// Walks a module and takes each parameter's tensor.
struct Loader<'a, B: Backend> {
    /// Those not taken yet.
    tensors: HashMap<&'a str, TensorView<'a>>,
    names: &'a TensorNames,
    device: &'a B::Device,
    /// The fields from the root to the current one, each with the kind of module that holds it.
    path: Vec<(String, String)>,
    problems: Vec<String>,
    backend: PhantomData<B>,
}

impl<B: Backend> Loader<'_, B> {
    /// The current parameter's name in the checkpoint.
    fn tensor_name(&self) -> String {
        let rename = |(field, holder): &(String, String)| match (holder.as_str(), field.as_str()) {
            ("Struct:LayerNorm", "gamma") => "weight".to_owned(),
            ("Struct:LayerNorm", "beta") => "bias".to_owned(),
            _ => match self.names.modules.iter().find(|(ours, _)| *ours == field) {
                Some((_, theirs)) => (*theirs).to_owned(),
                None => field.clone(),
            },
        };
        self.path.iter().map(rename).collect::<Vec<_>>().join(".")
    }

    /// Whether the current parameter is a matrix that checkpoints keep as `[output, input]` and burn as
    /// `[input, output]`.
    fn is_transposed(&self) -> bool {
        self.path.last().is_some_and(|(field, holder)| {
            (field.as_str(), holder.as_str()) == ("weight", "Struct:Linear")
        })
    }

    fn take<const D: usize>(
        &mut self,
        name: &str,
        shape: &[usize],
    ) -> std::result::Result<Tensor<B, D>, String> {
        let view = self.tensors.remove(name).ok_or_else(|| format!("missing tensor `{name}`"))?;
        let transposed = self.is_transposed();
        let stored: Vec<usize> =
            if transposed { shape.iter().rev().copied().collect() } else { shape.to_vec() };
        if view.shape() != stored {
            return Err(format!(
                "tensor `{name}` has the shape {:?} instead of {stored:?}",
                view.shape()
            ));
        }
        let values = floats(&view).ok_or_else(|| {
            format!("tensor `{name}` is of type {:?} instead of F32, F16 or BF16", view.dtype())
        })?;
        let tensor = Tensor::from_data(TensorData::new(values, stored), self.device);
        Ok(if transposed { tensor.transpose() } else { tensor })
    }
}

impl<B: Backend> ModuleMapper<B> for Loader<'_, B> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.push((name.to_owned(), container_type.to_owned()));
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let name = self.tensor_name();
        match self.take(&name, &param.lazy_shape()) {
            Ok(tensor) => {
                let id = param.id;
                param.transform_for_load(tensor, id)
            }
            Err(problem) => {
                self.problems.push(problem);
                param
            }
        }
    }
}

/// The values of a floating-point tensor, widened to f32.
fn floats(view: &TensorView<'_>) -> Option<Vec<f32>> {
    let halves = || view.data().as_chunks().0.iter().copied();
    match view.dtype() {
        Dtype::F32 => {
            Some(view.data().as_chunks().0.iter().copied().map(f32::from_le_bytes).collect())
        }
        Dtype::F16 => Some(halves().map(|bytes| f16::from_le_bytes(bytes).to_f32()).collect()),
        Dtype::BF16 => Some(halves().map(|bytes| bf16::from_le_bytes(bytes).to_f32()).collect()),
        _ => None,
    }
}
