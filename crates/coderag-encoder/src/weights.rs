use std::marker::PhantomData;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
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
    let (path, backend) = (ModulePath::new(names), PhantomData);
    module.map(&mut Loader::<B, _> { take, device, path, backend })
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
    let (path, backend) = (ModulePath::new(names), PhantomData);
    module.map(&mut Loader::<B, _> { take, device, path, backend });
}

/// The parameters of a module that have gradients, in the module's order.
pub(crate) fn trained_parameters<B: Backend, M: Module<B>>(
    module: &M,
    names: ModuleNames,
) -> Vec<(ParamId, ParameterPlace)> {
    let mut places = Places { path: ModulePath::new(names), found: Vec::new() };
    module.visit(&mut places);
    places.found
}

/// Where a parameter is in checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterPlace {
    /// The tensor's name, such as `encoder.layer.0.output.dense.weight`. Those of LoRA are PEFT's without what
    /// PEFT puts before all: `<module>.lora_A.weight` and `<module>.lora_B.weight`, for embeddings
    /// `<module>.lora_embedding_A` and `<module>.lora_embedding_B`.
    pub name: String,
    /// Whether it is a matrix that checkpoints keep as `[outputs, inputs]` and burn as `[inputs, outputs]`.
    pub transposed: bool,
    /// The block that it is a part of, unless it is before the first or behind the last.
    pub layer: Option<usize>,
}

/// The way from a module's root to one of its parameters.
struct ModulePath {
    names: ModuleNames,
    /// Each field with the kind of module that holds it.
    fields: Vec<(String, String)>,
}

impl ModulePath {
    fn new(names: ModuleNames) -> Self {
        Self { names, fields: Vec::new() }
    }

    fn enter(&mut self, name: &str, container_type: &str) {
        self.fields.push((name.to_owned(), container_type.to_owned()));
    }

    fn exit(&mut self) {
        self.fields.pop();
    }

    fn place(&self) -> ParameterPlace {
        let held_by = |kind: &str| self.fields.iter().any(|(_, holder)| holder == kind);
        let rename = |(field, holder): &(String, String)| match (holder.as_str(), field.as_str()) {
            ("Struct:LayerNorm" | "Struct:RmsNorm", "gamma") => Some("weight".to_owned()),
            ("Struct:LayerNorm", "beta") => Some("bias".to_owned()),
            // A layer that may have LoRA has the name of the one inside.
            ("Struct:LoraLinear" | "Struct:LoraEmbedding", "base" | "lora") => None,
            ("Struct:Lora", matrix) if held_by("Struct:LoraEmbedding") => {
                Some(format!("lora_embedding_{}", matrix.to_uppercase()))
            }
            ("Struct:Lora", matrix) => Some(format!("lora_{}.weight", matrix.to_uppercase())),
            (_, field) => Some(checkpoint_name(self.names, field).to_owned()),
        };
        let name = self.fields.iter().filter_map(rename).collect::<Vec<_>>().join(".");
        let parameter = self.fields.last().map(|(field, holder)| (field.as_str(), holder.as_str()));
        let transposed =
            matches!(parameter, Some(("weight", "Struct:Linear") | (_, "Struct:Lora")));
        let mut fields = self.fields.iter();
        let index = fields.find(|(_, holder)| holder == "Vec");
        let layer = index.and_then(|(index, _)| index.parse().ok());
        ParameterPlace { name, transposed, layer }
    }
}

/// Walks a module and takes each parameter's tensor.
struct Loader<'a, B: Backend, F> {
    /// The values of a tensor of this name and shape.
    take: F,
    device: &'a B::Device,
    path: ModulePath,
    backend: PhantomData<B>,
}

impl<B: Backend, F: FnMut(&str, &[usize]) -> Option<Vec<f32>>> Loader<'_, B, F> {
    fn take<const D: usize>(&mut self, shape: &[usize]) -> Option<Tensor<B, D>> {
        let ParameterPlace { name, transposed, .. } = self.path.place();
        let stored: Vec<usize> =
            if transposed { shape.iter().rev().copied().collect() } else { shape.to_vec() };
        let values = (self.take)(&name, &stored)?;
        let tensor = Tensor::from_data(TensorData::new(values, stored), self.device);
        Some(if transposed { tensor.transpose() } else { tensor })
    }
}

impl<B: Backend, F: FnMut(&str, &[usize]) -> Option<Vec<f32>>> ModuleMapper<B>
    for Loader<'_, B, F>
{
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        match self.take(&param.lazy_shape()) {
            Some(tensor) => {
                let id = param.id;
                param.transform_for_load(tensor, id)
            }
            None => param,
        }
    }
}

/// Walks a module and notes the parameters that have gradients.
struct Places {
    path: ModulePath,
    found: Vec<(ParamId, ParameterPlace)>,
}

impl<B: Backend> ModuleVisitor<B> for Places {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if param.is_require_grad() {
            self.found.push((param.id, self.path.place()));
        }
    }
}
