#![allow(unsafe_code)]

use std::ops::Range;
use std::slice::from_raw_parts_mut;

use super::attention::{Attended, Attention};
use super::dropout::Site;
use super::gradients::GradientRows;
use super::kernels::TrainingKernels;
use super::linear::{InputGradient, Linear, LinearGradients, LinearParts, WeightTask};
use super::norm::Norm;
use super::options::{AdapterLayer, Dropout, TrainingPrecision};
use super::parameter::Parameter;
use super::profile::TrainingStage;
use super::rows::Rows;
use super::tape::{LayerRows, NormRows};
use super::work::Work;
use crate::checkpoint::Checkpoint;
use crate::{BertConfig, Result};

/// One transformer block with normalisation after each residual sum (post-LN).
#[derive(Debug)]
pub(super) struct Layer {
    /// Queries, keys and values; the output of attention; into and out of the feed-forward network.
    linear: [Linear; 4],
    attention_norm: Norm,
    output_norm: Norm,
    everything: bool,
    hidden_size: usize,
    intermediate_size: usize,
    heads: usize,
}

/// The linear layers of a block, by their places in `Layer::linear`.
const PROJECTION: usize = 0;
const ATTENTION_OUTPUT: usize = 1;
const INTERMEDIATE: usize = 2;
const OUTPUT: usize = 3;

/// What of a layer has been read from a checkpoint.
pub(super) struct LayerParts {
    linear: [LinearParts; 4],
    attention_norm: Norm,
    output_norm: Norm,
}

impl LayerParts {
    pub(super) fn take(checkpoint: &mut Checkpoint, config: &BertConfig, index: usize) -> Self {
        let BertConfig { hidden_size, intermediate_size, .. } = *config;
        let name = |part: &str| format!("encoder.layer.{index}.{part}");
        let mut linear = |parts: &[&str], sizes: [usize; 2]| {
            let names: Vec<String> = parts.iter().map(|part| name(part)).collect();
            LinearParts::take(checkpoint, &names, sizes)
        };
        let square = [hidden_size; 2];
        let projection = ["attention.self.query", "attention.self.key", "attention.self.value"];
        Self {
            linear: [
                linear(&projection, square),
                linear(&["attention.output.dense"], square),
                linear(&["intermediate.dense"], [intermediate_size, hidden_size]),
                linear(&["output.dense"], [hidden_size, intermediate_size]),
            ],
            attention_norm: Norm::take(checkpoint, &name("attention.output.LayerNorm"), config),
            output_norm: Norm::take(checkpoint, &name("output.LayerNorm"), config),
        }
    }
}

/// A layer's place in the model and the dropouts of one forward pass.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass {
    pub(super) dropout: Dropout,
    pub(super) seed: u64,
    pub(super) layer: usize,
}

impl Pass {
    /// The dropout of the normalised embeddings.
    pub(super) fn embeddings(self) -> Site {
        Site::new(self.dropout.hidden, self.seed, 0)
    }

    /// One of at most 10 numbered dropouts of the layer.
    fn site(self, rate: f32, number: usize) -> Site {
        Site::new(rate, self.seed, 1 + 10 * self.layer + number)
    }

    fn attention(self) -> Site {
        self.site(self.dropout.attention, 0)
    }

    fn attention_output(self) -> Site {
        self.site(self.dropout.hidden, 1)
    }

    fn output(self) -> Site {
        self.site(self.dropout.hidden, 2)
    }

    fn adapter(self, linear: usize) -> Site {
        self.site(self.dropout.adapter, 3 + linear)
    }
}

/// Some sequences whose tokens go through a layer together.
#[derive(Clone, Copy)]
pub(super) struct Sequences<'a> {
    pub(super) pass: Pass,
    /// The tokens of each sequence, counted from the first's.
    pub(super) ranges: &'a [Range<usize>],
    /// The number in the call of the first token.
    pub(super) first_token: usize,
}

impl Layer {
    pub(super) fn new(
        parts: LayerParts,
        config: &BertConfig,
        precision: TrainingPrecision,
        kernels: &TrainingKernels,
        everything: bool,
        mut adapter: impl FnMut(&str) -> Option<AdapterLayer>,
    ) -> Result<Self> {
        let [projection, attention_output, intermediate, output] = parts.linear;
        let mut linear = |parts| Linear::new(parts, precision, kernels, everything, &mut adapter);
        Ok(Self {
            linear: [
                linear(projection)?,
                linear(attention_output)?,
                linear(intermediate)?,
                linear(output)?,
            ],
            attention_norm: parts.attention_norm,
            output_norm: parts.output_norm,
            everything,
            hidden_size: config.hidden_size,
            intermediate_size: config.intermediate_size,
            heads: config.num_attention_heads,
        })
    }

    pub(super) fn linear(&self) -> &[Linear; 4] {
        &self.linear
    }

    pub(super) fn output_norm(&self) -> &Norm {
        &self.output_norm
    }

    /// The trained parameters.
    pub(super) fn parameters(&mut self) -> impl Iterator<Item = &mut Parameter> {
        let norms = [&mut self.attention_norm, &mut self.output_norm];
        let everything = self.everything;
        let norms = norms.into_iter().filter(move |_| everything).flat_map(Norm::parameters);
        self.linear.iter_mut().flat_map(Linear::parameters).chain(norms)
    }

    /// Whether anything of the layer is trained.
    pub(super) fn has_gradients(&self) -> bool {
        self.linear.iter().any(Linear::has_gradients)
    }

    /// The place of the first linear layer that is trained, or something below when `below`.
    fn depth(&self, below: bool) -> Option<usize> {
        if below { None } else { self.linear.iter().position(Linear::has_gradients) }
    }

    fn attention<'a>(&self, work: &Work<'a>, sequences: Sequences<'_>) -> Attention<'a> {
        Attention {
            kernels: work.kernels,
            hidden_size: self.hidden_size,
            heads: self.heads,
            site: sequences.pass.attention(),
            first_token: sequences.first_token,
        }
    }

    /// Replaces the states of some tokens by those after this block. What the backward pass needs goes to
    /// the tapes; `output_norm` is the last normalisation's.
    ///
    /// # Safety
    /// Nobody else uses the states, these rows of the tapes, or this thread's scratch memory.
    pub(super) unsafe fn forward(
        &self,
        work: &Work<'_>,
        sequences: Sequences<'_>,
        states: Rows<'_>,
        tape: LayerRows<'_>,
        output_norm: NormRows<'_>,
    ) {
        let Sequences { pass, first_token, .. } = sequences;
        let count = states.count();
        let attended = Rows::new(&work.scratch.attended, 0..count);
        let activated = Rows::new(&work.scratch.activated, 0..count);
        let apply = |index: usize, input: Rows<'_>, output: Rows<'_>| {
            let adapted = tape.adapted[index];
            // SAFETY: the caller vouches for the memory.
            unsafe {
                let linear = &self.linear[index];
                linear.forward(work, input, output, adapted, pass.adapter(index), first_token);
            }
        };
        // Drops, adds the residual and normalises.
        let normalize = |norm: &Norm, values: Rows<'_>, residual: Rows<'_>, tape, site: Site| {
            for row in 0..count {
                // SAFETY: the caller vouches for the memory.
                unsafe {
                    let values = values.row_mut(row, self.hidden_size);
                    site.mask(work.kernels, values, first_token + row);
                    let residual = residual.row(row, self.hidden_size);
                    norm.forward(work, values, residual, tape, row);
                }
            }
            work.lap(TrainingStage::Elementwise);
        };
        apply(PROJECTION, states, tape.projected);
        let memory =
            Attended { projected: tape.projected, context: tape.context, log_sums: tape.log_sums };
        let attention = self.attention(work, sequences);
        for tokens in sequences.ranges {
            // SAFETY: the caller vouches for the memory.
            unsafe { attention.forward(&work.scratch.attention, memory, tokens.clone()) }
        }
        work.lap(TrainingStage::Attention);
        apply(ATTENTION_OUTPUT, tape.context, attended);
        let site = pass.attention_output();
        normalize(&self.attention_norm, attended, states, tape.attention_norm, site);
        apply(INTERMEDIATE, attended, tape.expanded);
        for row in 0..count {
            // SAFETY: the caller vouches for the memory.
            unsafe {
                let activated = activated.row_mut(row, self.intermediate_size);
                activated.copy_from_slice(tape.expanded.row(row, self.intermediate_size));
                work.kernels.forward.gelu(activated);
            }
        }
        work.lap(TrainingStage::Elementwise);
        apply(OUTPUT, activated, states);
        normalize(&self.output_norm, states, attended, output_norm, pass.output());
    }

    /// Turns the gradient of the states after this block into that of the states before it, in place, and
    /// leaves what the gradients of the weights need. Stops after the lowest layer that is trained, unless
    /// something `below` the block is.
    ///
    /// # Safety
    /// Nobody else uses the gradients or this thread's scratch memory, or writes to the tapes. The states
    /// before the block are among the gradients' rows.
    pub(super) unsafe fn backward(
        &self,
        work: &Work<'_>,
        sequences: Sequences<'_>,
        tape: LayerRows<'_>,
        output_norm: NormRows<'_>,
        gradients: GradientRows<'_>,
        below: bool,
    ) {
        let Sequences { pass, first_token, .. } = sequences;
        let GradientRows { states_gradient, linear, .. } = gradients;
        let depth = self.depth(below);
        let context_gradient =
            Rows::new(&work.scratch.context_gradient, 0..states_gradient.count());
        // SAFETY: the group's row of sums is this thread's.
        let mut sums = unsafe { GroupSums::new(self, gradients.vectors) };
        // The gradient of a linear layer's outputs is there.
        let apply = |index: usize, output: InputGradient<'_>| {
            let tokens = self.linear_gradients(index, sequences, tape, gradients);
            let output = (depth != Some(index)).then_some(output);
            // SAFETY: the caller vouches for the memory.
            unsafe { self.linear[index].backward(work, tokens, output) }
        };
        // Its inputs are there too.
        let finish = |index: usize| {
            let LinearGradients { input, gradient, pairs, .. } =
                self.linear_gradients(index, sequences, tape, gradients);
            if let Some([input_pairs, gradient_pairs]) = pairs {
                // SAFETY: the caller vouches for the memory.
                unsafe {
                    pair(work, input, self.linear[index].inputs(), input_pairs);
                    pair(work, gradient, self.linear[index].outputs(), gradient_pairs);
                }
            }
            work.lap(TrainingStage::Elementwise);
        };
        // The gradient of what was added to the residual.
        let branch = |target: Rows<'_>, site: Site| {
            for row in 0..target.count() {
                // SAFETY: the caller vouches for the memory.
                unsafe {
                    let values = target.row_mut(row, self.hidden_size);
                    values.copy_from_slice(states_gradient.row(row, self.hidden_size));
                    site.mask(work.kernels, values, first_token + row);
                }
            }
        };
        // SAFETY: the caller vouches for the memory.
        unsafe {
            self.output_norm.backward(work, output_norm, states_gradient, sums.norm(1));
            branch(linear[OUTPUT].gradient, pass.output());
            sums.add_bias(work, OUTPUT, linear[OUTPUT].gradient);
            work.lap(TrainingStage::Elementwise);
            let expanded_gradient = linear[INTERMEDIATE].gradient;
            apply(OUTPUT, InputGradient::Write(expanded_gradient));
            self.activation_backward(work, tape, expanded_gradient, linear[OUTPUT].input);
            finish(OUTPUT);
            if depth == Some(OUTPUT) {
                return;
            }
            sums.add_bias(work, INTERMEDIATE, expanded_gradient);
            if let Some(attended) = linear[INTERMEDIATE].input {
                self.attention_norm.repeat(work, tape.attention_norm, attended);
            }
            finish(INTERMEDIATE);
            apply(INTERMEDIATE, InputGradient::Add(states_gradient));
            if depth == Some(INTERMEDIATE) {
                return;
            }
            let norm = tape.attention_norm;
            self.attention_norm.backward(work, norm, states_gradient, sums.norm(0));
            branch(linear[ATTENTION_OUTPUT].gradient, pass.attention_output());
            sums.add_bias(work, ATTENTION_OUTPUT, linear[ATTENTION_OUTPUT].gradient);
            finish(ATTENTION_OUTPUT);
            apply(ATTENTION_OUTPUT, InputGradient::Write(context_gradient));
            if depth == Some(ATTENTION_OUTPUT) {
                return;
            }
            let memory = Attended {
                projected: tape.projected,
                context: tape.context,
                log_sums: tape.log_sums,
            };
            let attention = self.attention(work, sequences);
            let projected_gradient = linear[PROJECTION].gradient;
            for tokens in sequences.ranges {
                let tokens = tokens.clone();
                let scratch = &work.scratch.attention;
                attention.backward(scratch, memory, context_gradient, projected_gradient, tokens);
            }
            work.lap(TrainingStage::AttentionGradients);
            sums.add_bias(work, PROJECTION, projected_gradient);
            finish(PROJECTION);
            apply(PROJECTION, InputGradient::Add(states_gradient));
        }
    }

    /// Computes the outputs of the activation again and the gradient of its inputs, in place.
    ///
    /// # Safety
    /// Nobody else uses the gradient or the outputs.
    unsafe fn activation_backward(
        &self,
        work: &Work<'_>,
        tape: LayerRows<'_>,
        gradient: Rows<'_>,
        activated: Option<Rows<'_>>,
    ) {
        let activated =
            activated.unwrap_or(Rows::new(&work.scratch.activated, 0..gradient.count()));
        for row in 0..gradient.count() {
            // SAFETY: the caller vouches for the memory.
            unsafe {
                work.kernels.gelu_backward(
                    tape.expanded.row(row, self.intermediate_size),
                    gradient.row_mut(row, self.intermediate_size),
                    activated.row_mut(row, self.intermediate_size),
                );
            }
        }
    }

    /// What the backward pass of a linear layer works with.
    fn linear_gradients<'a>(
        &self,
        index: usize,
        sequences: Sequences<'_>,
        tape: LayerRows<'a>,
        gradients: GradientRows<'a>,
    ) -> LinearGradients<'a> {
        let rows = gradients.linear[index];
        LinearGradients {
            input: rows.input.unwrap_or(tape.context),
            gradient: rows.gradient,
            pairs: rows.pairs,
            adapted: tape.adapted[index],
            adapter_gradient: rows.adapter_gradient,
            site: sequences.pass.adapter(index),
            first_token: sequences.first_token,
        }
    }

    /// Divides the work on the gradients of the parameters that [`Layer::backward`] leaves.
    pub(super) fn tasks(&self, below: bool) -> Vec<LayerTask> {
        let lowest = self.depth(below).unwrap_or(0);
        let linear = self.linear.iter().enumerate().skip(lowest).flat_map(|(index, linear)| {
            linear.weight_tasks().map(move |task| LayerTask::Linear { index, task })
        });
        linear.chain(self.everything.then_some(LayerTask::Vectors)).collect()
    }

    /// Adds to the gradients of parameters, over the tokens of all groups.
    ///
    /// # Safety
    /// Nobody else does the same task, or writes to the memory that is read.
    pub(super) unsafe fn add_gradients(
        &self,
        work: &Work<'_>,
        task: LayerTask,
        sequences: Sequences<'_>,
        tape: LayerRows<'_>,
        gradients: GradientRows<'_>,
    ) {
        match task {
            LayerTask::Linear { index, task } => {
                let tokens = self.linear_gradients(index, sequences, tape, gradients);
                // SAFETY: the caller vouches for the memory.
                unsafe { self.linear[index].add_weight_gradients(work, task, tokens) }
            }
            LayerTask::Vectors => {
                for (parameter, start) in self.vectors() {
                    // SAFETY: the caller vouches for the memory.
                    unsafe { add_vectors(work, parameter, gradients.vectors, start) }
                }
                work.lap(TrainingStage::Elementwise);
            }
        }
    }

    /// How many values the biases and normalisation parameters have.
    pub(super) fn vectors_width(&self) -> usize {
        if self.everything { self.norm_start(2) } else { 0 }
    }

    /// Where the values of a linear layer's bias begin among those of all.
    fn bias_start(&self, index: usize) -> usize {
        self.linear[..index].iter().map(Linear::outputs).sum()
    }

    /// Where the values of a normalisation's weight begin; those of its bias follow.
    fn norm_start(&self, index: usize) -> usize {
        self.bias_start(self.linear.len()) + 2 * index * self.hidden_size
    }

    /// The biases and normalisation parameters and where their values begin.
    fn vectors(&self) -> impl Iterator<Item = (&Parameter, usize)> {
        let biases = self.linear.iter().enumerate().flat_map(|(index, linear)| {
            let start = self.bias_start(index);
            linear.biases().map(move |(bias, first)| (bias, start + first))
        });
        let norms = [&self.attention_norm, &self.output_norm].into_iter().enumerate();
        let norms = norms.flat_map(|(index, norm)| {
            let [weight, bias] = norm.vectors();
            let start = self.norm_start(index);
            [(weight, start), (bias, start + self.hidden_size)]
        });
        biases.chain(norms)
    }
}

/// A part of the work on the gradients of a layer's parameters.
#[derive(Clone, Copy, Debug)]
pub(super) enum LayerTask {
    Linear {
        index: usize,
        task: WeightTask,
    },
    /// The biases and normalisation parameters.
    Vectors,
}

/// Adds the sums of all groups to the gradient of a vector, in order.
///
/// # Safety
/// Nobody else uses the gradient, or writes to the sums.
pub(super) unsafe fn add_vectors(
    work: &Work<'_>,
    parameter: &Parameter,
    sums: Rows<'_>,
    start: usize,
) {
    let count = parameter.value().len();
    // SAFETY: the caller vouches for the memory.
    unsafe {
        let gradient = parameter.gradients(0, count);
        for group in 0..sums.count() {
            let sums = &sums.row(group, start + count)[start..];
            work.kernels.forward.add_scaled(gradient, sums, 1.0);
        }
    }
}

/// Sums over the tokens of a group that are its part of the gradients of vectors; nothing where these are
/// not trained.
struct GroupSums<'a> {
    layer: &'a Layer,
    row: Option<&'a mut [f32]>,
}

impl<'a> GroupSums<'a> {
    /// # Safety
    /// Nobody else uses the row.
    unsafe fn new(layer: &'a Layer, vectors: Rows<'a>) -> Self {
        let row = layer.everything.then(|| {
            // SAFETY: the caller vouches for the row.
            let row = unsafe { vectors.row_mut(0, layer.vectors_width()) };
            row.fill(0.0);
            row
        });
        Self { layer, row }
    }

    /// Weight and bias of a normalisation.
    fn norm(&mut self, index: usize) -> Option<[&mut [f32]; 2]> {
        let (start, size) = (self.layer.norm_start(index), self.layer.hidden_size);
        let row = &mut self.row.as_deref_mut()?[start..start + 2 * size];
        Some(<[&mut [f32]; 2]>::from(row.split_at_mut(size)))
    }

    /// # Safety
    /// Nobody writes to the gradient.
    unsafe fn add_bias(&mut self, work: &Work<'_>, index: usize, gradient: Rows<'_>) {
        let (start, size) = (self.layer.bias_start(index), self.layer.linear[index].outputs());
        let Some(row) = &mut self.row else { return };
        for token in 0..gradient.count() {
            // SAFETY: the caller vouches for the gradient.
            let gradient = unsafe { gradient.row(token, size) };
            work.kernels.forward.add_scaled(&mut row[start..start + size], gradient, 1.0);
        }
    }
}

/// Writes pairs of rows in bf16.
///
/// # Safety
/// Nobody else uses the pairs, or writes to the rows.
unsafe fn pair(work: &Work<'_>, rows: Rows<'_>, columns: usize, pairs: Rows<'_>) {
    let zeros = vec![0.0; if rows.count() % 2 == 1 { columns } else { 0 }];
    for index in 0..pairs.count() {
        // SAFETY: the caller vouches for the memory; a u32 has the size of an f32.
        unsafe {
            let first = rows.row(2 * index, columns);
            let second = match 2 * index + 1 {
                row if row < rows.count() => rows.row(row, columns),
                _ => &zeros,
            };
            let pairs = from_raw_parts_mut(pairs.pointer(index).cast::<u32>(), columns);
            work.kernels.pair_bf16(first, second, pairs);
        }
    }
}
