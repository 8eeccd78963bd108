use std::marker::PhantomData;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

use crate::checkpoint::Checkpoint;

/// A module's field names and the checkpoint's; a name not listed is the same in both.
pub(crate) type ModuleNames = &'static [(&'static str, &'static str)];

/// What checkpoints call a field.
pub(crate) fn checkpoint_name(names: ModuleNames, field: &str) -> &str {
    names.iter().find(|(ours, _)| *ours == field).map_or(field, |(_, theirs)| theirs)
}

/// Gives every parameter of `module` its value from a checkpoint, which remembers what was missing or
/// ill-shaped.
pub(crate) fn load_into<B: Backend, M: Module<B>>(
    module: M,
    checkpoint: &mut Checkpoint,
    names: ModuleNames,
    device: &B::Device,
) -> M {
    let take = |name: &str, shape: &[usize]| Some(checkpoint.take(name, shape)?.values());
    let backend = PhantomData;
    module.map(&mut Loader::<B, _> { take, names, device, path: Vec::new(), backend })
}

/// Takes the tensor of every parameter of `module` from a checkpoint without reading its values.
pub(crate) fn take_tensors<B: Backend, M: Module<B>>(
    module: M,
    checkpoint: &mut Checkpoint,
    names: ModuleNames,
    device: &B::Device,
) {
    let take = |name: &str, shape: &[usize]| {
        checkpoint.take(name, shape);
        None
    };
    let backend = PhantomData;
    module.map(&mut Loader::<B, _> { take, names, device, path: Vec::new(), backend });
}

/// Walks a module and takes each parameter's tensor.
struct Loader<'a, B: Backend, F> {
    /// The values of a tensor of this name and shape.
    take: F,
    names: ModuleNames,
    device: &'a B::Device,
    /// The fields from the root to the current one, each with the kind of module that holds it.
    path: Vec<(String, String)>,
    backend: PhantomData<B>,
}

impl<B: Backend, F: FnMut(&str, &[usize]) -> Option<Vec<f32>>> Loader<'_, B, F> {
    /// The current parameter's name in the checkpoint.
    fn tensor_name(&self) -> String {
        let rename = |(field, holder): &'_ (String, String)| match (holder.as_str(), field.as_str())
        {
            ("Struct:LayerNorm" | "Struct:RmsNorm", "gamma") => Some("weight".to_owned()),
            ("Struct:LayerNorm", "beta") => Some("bias".to_owned()),
            // A layer that may have LoRA has the name of the one inside.
            ("Struct:LoraLinear" | "Struct:LoraEmbedding", "base") => None,
            (_, field) => Some(checkpoint_name(self.names, field).to_owned()),
        };
        self.path.iter().filter_map(rename).collect::<Vec<_>>().join(".")
    }

    /// Whether the current parameter is a matrix that checkpoints keep as `[output, input]` and burn as
    /// `[input, output]`.
    fn is_transposed(&self) -> bool {
        self.path.last().is_some_and(|(field, holder)| {
            (field.as_str(), holder.as_str()) == ("weight", "Struct:Linear")
        })
    }

    fn take<const D: usize>(&mut self, name: &str, shape: &[usize]) -> Option<Tensor<B, D>> {
        let transposed = self.is_transposed();
        let stored: Vec<usize> =
            if transposed { shape.iter().rev().copied().collect() } else { shape.to_vec() };
        let values = (self.take)(name, &stored)?;
        let tensor = Tensor::from_data(TensorData::new(values, stored), self.device);
        Some(if transposed { tensor.transpose() } else { tensor })
    }
}

impl<B: Backend, F: FnMut(&str, &[usize]) -> Option<Vec<f32>>> ModuleMapper<B>
    for Loader<'_, B, F>
{
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.push((name.to_owned(), container_type.to_owned()));
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let name = self.tensor_name();
        match self.take(&name, &param.lazy_shape()) {
            Some(tensor) => {
                let id = param.id;
                param.transform_for_load(tensor, id)
            }
            None => param,
        }
    }
}
