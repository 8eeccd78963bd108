#![allow(unsafe_code)]

use std::ops::Range;

use super::adapter::LinearAdapter;
use super::dropout::Site;
use super::kernels::TrainingKernels;
use super::options::{AdapterLayer, TrainingPrecision};
use super::panels::{Operand, OuterProduct, Panels};
use super::parameter::Parameter;
use super::profile::TrainingStage;
use super::rows::Rows;
use super::work::Work;
use crate::Result;
use crate::checkpoint::{Checkpoint, Tensor};
use crate::engine::buffer::Buffer;
use crate::engine::kernels::PANEL;

/// A linear layer, or several with the same input as one, with what its training needs.
#[derive(Debug)]
pub(super) struct Linear {
    precision: TrainingPrecision,
    inputs: usize,
    outputs: usize,
    /// The weights for the outputs.
    forward: Panels,
    /// The weights for the gradient of the inputs.
    backward: Panels,
    /// `[outputs]`, zeros up to a whole panel.
    bias: Buffer,
    parts: Vec<Part>,
}

/// One of the layers, as the checkpoint has it.
#[derive(Debug)]
struct Part {
    /// Its outputs among all.
    outputs: Range<usize>,
    /// Weight and bias, where they are trained.
    trained: Option<[Parameter; 2]>,
    adapter: Option<LinearAdapter>,
}

/// What of a linear layer has been read from a checkpoint.
pub(super) struct LinearParts {
    inputs: usize,
    parts: Vec<(String, Option<Tensor>, Vec<f32>)>,
}

impl LinearParts {
    /// Takes layers of `outputs` outputs each.
    pub(super) fn take(
        checkpoint: &mut Checkpoint,
        names: &[String],
        [outputs, inputs]: [usize; 2],
    ) -> Self {
        let take = |name: &String| {
            let weight = checkpoint.take(&format!("{name}.weight"), &[outputs, inputs]);
            let bias = checkpoint.take_vector(&format!("{name}.bias"), outputs);
            (name.clone(), weight, bias)
        };
        Self { inputs, parts: names.iter().map(take).collect() }
    }
}

/// What the forward pass of a linear layer leaves for the backward pass, or the backward pass for the
/// gradients of weights, over the same tokens.
#[derive(Clone, Copy)]
pub(super) struct LinearGradients<'a> {
    /// The layer's inputs, `[tokens, inputs]`.
    pub(super) input: Rows<'a>,
    /// The gradient of its outputs, `[tokens, outputs]`.
    pub(super) gradient: Rows<'a>,
    /// In bf16, both as pairs of tokens, where the layer itself is trained.
    pub(super) pairs: Option<[Rows<'a>; 2]>,
    /// What enters the adapters' B, `[tokens, adapter_width]`.
    pub(super) adapted: Rows<'a>,
    /// The gradient of that, scaled.
    pub(super) adapter_gradient: Rows<'a>,
    pub(super) site: Site,
    /// The number in the call of the token in row 0.
    pub(super) first_token: usize,
}

/// A part of the work on the gradients of a layer's weights.
#[derive(Clone, Copy, Debug)]
pub(super) enum WeightTask {
    /// Some outputs of a part's weight.
    Weight { part: usize, first: usize, count: usize },
    /// A part's A.
    AdapterA { part: usize },
    /// A part's B.
    AdapterB { part: usize },
}

impl Linear {
    /// Lays out the weights, which are all trained (`everything`), or have adapters where some name them.
    pub(super) fn new(
        parts: LinearParts,
        precision: TrainingPrecision,
        kernels: &TrainingKernels,
        everything: bool,
        mut adapter: impl FnMut(&str) -> Option<AdapterLayer>,
    ) -> Result<Self> {
        let inputs = parts.inputs;
        let outputs = parts.parts.iter().map(|(_, _, bias)| bias.len()).sum();
        let mut weights = Vec::with_capacity(outputs * inputs);
        let mut biases = Vec::with_capacity(outputs);
        let mut linear = Self {
            precision,
            inputs,
            outputs,
            forward: Panels::new(outputs, inputs, precision),
            backward: Panels::new(inputs, outputs, precision),
            bias: Buffer::new(outputs.next_multiple_of(PANEL)),
            parts: Vec::new(),
        };
        let mut adapter_column = 0;
        for (name, weight, bias) in parts.parts {
            let first = biases.len();
            let weight = weight.map(|weight| weight.values()).unwrap_or_default();
            weights.extend_from_slice(&weight);
            biases.extend_from_slice(&bias);
            let outputs = first..biases.len();
            let adapter = adapter(&name)
                .map(|adapter| {
                    let sizes = [outputs.clone(), 0..inputs];
                    LinearAdapter::new(adapter, sizes, adapter_column, precision)
                })
                .transpose()?;
            if let Some(adapter) = &adapter {
                adapter.lay_out(kernels);
                adapter_column = adapter.columns_end();
            }
            let trained = everything.then(|| {
                let shape = vec![outputs.len(), inputs];
                [
                    Parameter::new(format!("{name}.weight"), shape, weight),
                    Parameter::new(format!("{name}.bias"), vec![outputs.len()], bias),
                ]
            });
            linear.parts.push(Part { outputs, trained, adapter });
        }
        linear.lay_out(kernels, &weights, &biases);
        Ok(linear)
    }

    fn lay_out(&self, kernels: &TrainingKernels, weights: &[f32], biases: &[f32]) {
        // SAFETY: a layer is laid out by its owner alone.
        unsafe {
            self.forward.fill_by_output(kernels, weights);
            self.backward.fill_by_input(kernels, weights);
            for (index, &bias) in biases.iter().enumerate() {
                self.bias.pointer::<f32>().add(index).write(bias);
            }
        }
    }

    /// Lays out changed parameters again.
    ///
    /// # Safety
    /// Nobody else uses the layer.
    pub(super) unsafe fn refresh(&self, kernels: &TrainingKernels) {
        if self.is_trained() {
            let values = |which: usize| -> Vec<f32> {
                let trained = self.parts.iter().flat_map(|part| &part.trained);
                trained.flat_map(|parameters| parameters[which].value()).copied().collect()
            };
            self.lay_out(kernels, &values(0), &values(1));
        }
        for adapter in self.adapters() {
            adapter.lay_out(kernels);
        }
    }

    /// Whether weight and bias are trained.
    pub(super) fn is_trained(&self) -> bool {
        self.parts.iter().any(|part| part.trained.is_some())
    }

    /// Whether anything of the layer is trained.
    pub(super) fn has_gradients(&self) -> bool {
        self.is_trained() || self.adapters().next().is_some()
    }

    fn adapters(&self) -> impl Iterator<Item = &LinearAdapter> {
        self.parts.iter().filter_map(|part| part.adapter.as_ref())
    }

    /// How wide the memory of the adapters is.
    pub(super) fn adapter_width(&self) -> usize {
        self.adapters().last().map_or(0, LinearAdapter::columns_end)
    }

    pub(super) fn inputs(&self) -> usize {
        self.inputs
    }

    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }

    /// The bias of each part and its first output, where they are trained.
    pub(super) fn biases(&self) -> impl Iterator<Item = (&Parameter, usize)> {
        self.parts
            .iter()
            .filter_map(|part| part.trained.as_ref().map(|[_, bias]| (bias, part.outputs.start)))
    }

    pub(super) fn parameters(&mut self) -> impl Iterator<Item = &mut Parameter> {
        self.parts.iter_mut().flat_map(|part| {
            let trained = part.trained.iter_mut().flatten();
            trained.chain(part.adapter.iter_mut().flat_map(LinearAdapter::parameters))
        })
    }

    /// Computes the outputs, and for the backward pass what enters the adapters' B.
    ///
    /// # Safety
    /// Nobody else uses the memory that is written.
    pub(super) unsafe fn forward(
        &self,
        work: &Work<'_>,
        input: Rows<'_>,
        output: Rows<'_>,
        adapted: Rows<'_>,
        site: Site,
        first_token: usize,
    ) {
        let Work { kernels, scratch, .. } = *work;
        let operand = |input| {
            // SAFETY: the caller vouches for the input; the scratch memory is this thread's.
            unsafe { Operand::new(kernels, self.precision, input, self.inputs, &scratch.rounded) }
        };
        // SAFETY: the caller vouches for the memory; the scratch memory is this thread's.
        unsafe {
            let whole = operand(input);
            self.forward.multiply(kernels, whole, Some(&self.bias), output);
            work.lap(TrainingStage::Linear);
            for (part, adapter) in self.parts_with_adapters() {
                let site = site.part(part);
                let operand = match site.is_active() {
                    false => whole,
                    true => operand(work.masked(site, input, self.inputs, first_token)),
                };
                adapter.forward(work, operand, output, adapted);
            }
            work.lap(TrainingStage::Adapters);
        }
    }

    fn parts_with_adapters(&self) -> impl Iterator<Item = (usize, &LinearAdapter)> {
        let parts = self.parts.iter().enumerate();
        parts.filter_map(|(index, part)| Some((index, part.adapter.as_ref()?)))
    }

    /// Computes the gradient of what enters the adapters' B, and adds the gradient of the inputs to
    /// `input_gradient` or writes it there, if it is wanted at all.
    ///
    /// # Safety
    /// Nobody else uses the memory that is written.
    pub(super) unsafe fn backward(
        &self,
        work: &Work<'_>,
        tokens: LinearGradients<'_>,
        input_gradient: Option<InputGradient<'_>>,
    ) {
        let Work { kernels, scratch, .. } = *work;
        let LinearGradients { gradient, adapter_gradient, site, first_token, .. } = tokens;
        // SAFETY: the caller vouches for the memory; the scratch memory is this thread's.
        unsafe {
            let operand =
                || Operand::new(kernels, self.precision, gradient, self.outputs, &scratch.rounded);
            match input_gradient {
                None => {}
                Some(InputGradient::Write(output)) => {
                    self.backward.multiply(kernels, operand(), None, output);
                }
                Some(InputGradient::Add(output)) => {
                    self.backward.accumulate(kernels, operand(), output);
                }
            }
            work.lap(TrainingStage::InputGradients);
            for (part, adapter) in self.parts_with_adapters() {
                adapter.backward(
                    work,
                    gradient,
                    adapter_gradient,
                    input_gradient.map(InputGradient::rows),
                    (site.part(part), first_token),
                );
            }
            work.lap(TrainingStage::Adapters);
        }
    }

    /// Divides the work on the gradients of the weights.
    pub(super) fn weight_tasks(&self) -> impl Iterator<Item = WeightTask> {
        /// A few tiles.
        const OUTPUTS_AT_ONCE: usize = 56;
        self.parts.iter().enumerate().flat_map(|(index, part)| {
            let outputs = if part.trained.is_some() { part.outputs.len() } else { 0 };
            let weights = (0..outputs).step_by(OUTPUTS_AT_ONCE).map(move |first| {
                let count = OUTPUTS_AT_ONCE.min(outputs - first);
                WeightTask::Weight { part: index, first, count }
            });
            let adapters = part.adapter.iter().flat_map(move |_| {
                [WeightTask::AdapterA { part: index }, WeightTask::AdapterB { part: index }]
            });
            weights.chain(adapters)
        })
    }

    /// Adds to the gradients of weights.
    ///
    /// # Safety
    /// Nobody else does the same task, or writes to the memory that is read.
    pub(super) unsafe fn add_weight_gradients(
        &self,
        work: &Work<'_>,
        task: WeightTask,
        tokens: LinearGradients<'_>,
    ) {
        let kernels = work.kernels;
        match task {
            WeightTask::Weight { part, first, count } => {
                let part = &self.parts[part];
                let Some([weight, _]) = &part.trained else { return };
                let (precision, [left, right]) = match tokens.pairs {
                    Some([input, gradient]) => (TrainingPrecision::Bf16, [gradient, input]),
                    None => (TrainingPrecision::F32, [tokens.gradient, tokens.input]),
                };
                // SAFETY: the outputs are among the gradient's columns, and the weight's rows.
                unsafe {
                    OuterProduct {
                        precision,
                        units: left.count(),
                        left: left.pointer(0).add(part.outputs.start + first).cast(),
                        left_stride: left.stride(),
                        rows: count,
                        right: right.pointer(0).cast(),
                        right_stride: right.stride(),
                        columns: self.inputs,
                        output: weight.gradient(first * self.inputs),
                        output_stride: self.inputs,
                    }
                    .add(kernels);
                }
                work.lap(TrainingStage::WeightGradients);
            }
            WeightTask::AdapterA { part } => {
                if let Some(adapter) = &self.parts[part].adapter {
                    // SAFETY: the caller vouches for it.
                    unsafe { adapter.add_gradient_of_a(work, tokens, tokens.site.part(part)) }
                }
                work.lap(TrainingStage::Adapters);
            }
            WeightTask::AdapterB { part } => {
                if let Some(adapter) = &self.parts[part].adapter {
                    // SAFETY: the caller vouches for it.
                    unsafe { adapter.add_gradient_of_b(work, tokens) }
                }
                work.lap(TrainingStage::Adapters);
            }
        }
    }
}

/// Where the gradient of a layer's inputs goes.
#[derive(Clone, Copy)]
pub(super) enum InputGradient<'a> {
    Write(Rows<'a>),
    Add(Rows<'a>),
}

impl<'a> InputGradient<'a> {
    fn rows(self) -> Rows<'a> {
        let (Self::Write(rows) | Self::Add(rows)) = self;
        rows
    }
}
