#![allow(unsafe_code)]

use std::collections::HashMap;

use cudarc::driver::sys::CUdeviceptr;

use super::arena::{Arena, Kept, Named};
use super::launch::Kernels;
use super::linear::{Linear, LinearAdapter, padded};
use super::memory::Memory;
use super::open::Card;
use crate::checkpoint::Checkpoint;
use crate::engine::{AdapterLayer, Trainable, TrainingPrecision};
use crate::{Error, Result};

/// What parameters a model has. Those that are named one after the other are one matrix where a layer wants them so.
#[derive(Debug, Default)]
pub(super) struct Described {
    pub(super) matrices: Vec<Named>,
    pub(super) biases: Vec<Named>,
    /// Those of normalisations.
    pub(super) norms: Vec<Named>,
}

/// A linear layer of the model that is computed as one with its neighbours.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// As checkpoints call it.
    pub(super) name: String,
    pub(super) outputs: usize,
}

/// All parameters of a model, and its adapters'.
#[derive(Debug)]
pub(super) struct Parameters {
    /// Those that stay as they are.
    frozen: Option<Frozen>,
    pub(super) trained: Option<Trained>,
    /// Adapters that no layer has taken.
    adapters: HashMap<String, AdapterLayer>,
}

/// Parameters that stay as they are: matrices and biases as states are stored, those of normalisations in f32.
#[derive(Debug)]
struct Frozen {
    values: Arena,
    norms: Arena,
}

/// Parameters that are trained, with gradients and AdamW's memory.
#[derive(Debug)]
pub(super) struct Trained {
    pub(super) arena: Arena,
    /// How many numbers have weights that decay; the others follow.
    pub(super) undecayed: usize,
    pub(super) gradients: Memory,
    pub(super) moments: [Memory; 2],
    /// Whether AdamW has taken a step since it began.
    pub(super) stepped: bool,
    /// Parts of the sum of the gradients' squares, then the gradients' norm, in f64.
    pub(super) norm: Memory,
}

/// Blocks that sum the squares of gradients.
pub(super) const NORM_BLOCKS: usize = 1024;

impl Described {
    /// Adds linear layers that are computed as one.
    pub(super) fn linear(&mut self, parts: &[Part], inputs: usize, biased: bool) {
        for Part { name, outputs } in parts {
            self.matrices.push((format!("{name}.weight"), vec![*outputs, inputs]));
            if biased {
                self.biases.push((format!("{name}.bias"), vec![*outputs]));
            }
        }
    }
}

impl Parameters {
    /// Puts a model's parameters on a card, as they are in a checkpoint, and those of adapters.
    ///
    /// # Errors
    /// [`Error::Weights`] when the checkpoint has others, [`Error::Cuda`].
    pub(super) fn load(
        card: &Card,
        kernels: &Kernels,
        format: TrainingPrecision,
        described: Described,
        mut checkpoint: Checkpoint,
        trainable: Option<Trainable>,
    ) -> Result<Self> {
        let mut write = |arena: &Arena| -> Result<()> {
            for (name, shape) in arena.names() {
                if let Some(tensor) = checkpoint.take(name, shape) {
                    arena.write(kernels, name, &tensor.values())?;
                }
            }
            Ok(())
        };
        let Described { matrices, biases, norms } = described;
        let mut loaded = Self { frozen: None, trained: None, adapters: HashMap::new() };
        if let Some(Trainable::Everything) = trainable {
            let undecayed = [&biases, &norms].into_iter().flatten().next().cloned();
            let names = [matrices, biases, norms].concat();
            let arena = Arena::new(card, format, names, Kept::Both)?;
            write(&arena)?;
            let undecayed = arena.offset(&undecayed.unwrap_or_default().0);
            loaded.trained = Some(Trained::new(card, arena, undecayed)?);
        } else {
            let values = Arena::new(card, format, [matrices, biases].concat(), Kept::Values)?;
            let norms = Arena::new(card, format, norms, Kept::Numbers)?;
            write(&values)?;
            write(&norms)?;
            loaded.frozen = Some(Frozen { values, norms });
        }
        checkpoint.finish()?;
        if let Some(Trainable::Adapters(adapters)) = trainable {
            let mut names = Vec::new();
            for adapter in &adapters {
                let [(a_name, a), (b_name, b)] = tensors(adapter);
                let rank = adapter.rank.max(1);
                names.push((a_name, vec![rank, a.len() / rank]));
                names.push((b_name, vec![b.len() / rank, rank]));
            }
            let arena = Arena::new(card, format, names, Kept::Both)?;
            for (name, values) in adapters.iter().flat_map(tensors) {
                // What does not fit is refused by the layer that it is for.
                if arena.count(&name) == values.len() {
                    arena.write(kernels, &name, values)?;
                }
            }
            let length = arena.length();
            loaded.trained = Some(Trained::new(card, arena, length)?);
            loaded.adapters =
                adapters.into_iter().map(|adapter| (adapter.layer.clone(), adapter)).collect();
        }
        Ok(loaded)
    }

    /// Where a parameter of the model is as states are stored, and its gradient where it is trained.
    pub(super) fn value(&self, name: &str) -> (CUdeviceptr, Option<CUdeviceptr>) {
        match (&self.frozen, &self.trained) {
            (Some(frozen), _) => (frozen.values.value(name), None),
            (None, Some(trained)) => (trained.arena.value(name), Some(trained.gradient(name))),
            (None, None) => (0, None),
        }
    }

    /// Where a parameter of a normalisation is in f32, and its gradient where it is trained.
    pub(super) fn number(&self, name: &str) -> (CUdeviceptr, Option<CUdeviceptr>) {
        match (&self.frozen, &self.trained) {
            (Some(frozen), _) => (frozen.norms.number(name), None),
            (None, Some(trained)) => (trained.arena.number(name), Some(trained.gradient(name))),
            (None, None) => (0, None),
        }
    }

    /// Linear layers that are computed as one, with their adapters.
    ///
    /// # Errors
    /// [`Error::Training`] for an adapter of other sizes.
    pub(super) fn linear(&mut self, parts: &[Part], inputs: usize, biased: bool) -> Result<Linear> {
        let (mut adapters, mut outputs, mut column) = (Vec::new(), 0, 0);
        for part in parts {
            if let Some(found) = self.adapters.remove(&part.name) {
                let added = self.adapter(&found, [part.outputs, inputs], outputs, column)?;
                column += padded(added.rank);
                adapters.push(added);
            }
            outputs += part.outputs;
        }
        let first = parts.first().map_or("", |part| &part.name);
        let (weight, weight_gradient) = self.value(&format!("{first}.weight"));
        let (bias, bias_gradient) = match biased {
            true => {
                let (bias, gradient) = self.value(&format!("{first}.bias"));
                (Some(bias), gradient)
            }
            false => (None, None),
        };
        Ok(Linear { inputs, outputs, weight, bias, weight_gradient, bias_gradient, adapters })
    }

    fn adapter(
        &self,
        adapter: &AdapterLayer,
        [outputs, inputs]: [usize; 2],
        first_output: usize,
        column: usize,
    ) -> Result<LinearAdapter> {
        let AdapterLayer { layer, rank, scale, a, b } = adapter;
        let sizes = [("A", a.len(), [*rank, inputs]), ("B", b.len(), [outputs, *rank])];
        for (name, found, [rows, columns]) in sizes {
            if *rank == 0 || found != rows * columns {
                return Err(Error::Training(format!(
                    "{name} of the adapter of `{layer}` has {found} values instead of {rows} by {columns}"
                )));
            }
        }
        let [a, b] = tensors(adapter).map(|(name, _)| {
            let trained = self.trained.as_ref();
            trained.map_or((0, 0), |it| (it.arena.value(&name), it.gradient(&name)))
        });
        let (rank, scale, gradients) = (*rank, *scale, [a.1, b.1]);
        Ok(LinearAdapter { first_output, outputs, rank, scale, a: a.0, b: b.0, gradients, column })
    }

    /// # Errors
    /// [`Error::Training`] when an adapter is for no layer of the model.
    pub(super) fn finish(&self) -> Result<()> {
        match self.adapters.keys().min() {
            None => Ok(()),
            Some(name) => Err(Error::Training(format!(
                "the model has no linear layer `{name}` for an adapter"
            ))),
        }
    }
}

/// The tensors of an adapter.
fn tensors(adapter: &AdapterLayer) -> [(String, &[f32]); 2] {
    let AdapterLayer { layer, a, b, .. } = adapter;
    [(format!("{layer}.lora_A.weight"), a), (format!("{layer}.lora_B.weight"), b)]
}

impl Trained {
    fn new(card: &Card, arena: Arena, undecayed: usize) -> Result<Self> {
        let bytes = 4 * arena.length();
        let allocate = || -> Result<Memory> {
            let memory = card.allocate(bytes)?;
            // SAFETY: the memory has as many bytes.
            unsafe { card.clear(memory.address(), bytes) }?;
            Ok(memory)
        };
        Ok(Self {
            gradients: allocate()?,
            moments: [allocate()?, allocate()?],
            norm: card.allocate(8 * (NORM_BLOCKS + 1))?,
            stepped: false,
            arena,
            undecayed,
        })
    }

    /// Where a parameter's gradient is.
    fn gradient(&self, name: &str) -> CUdeviceptr {
        self.gradients.address() + (4 * self.arena.offset(name)) as CUdeviceptr
    }
}
