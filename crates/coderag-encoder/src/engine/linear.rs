#![allow(unsafe_code)]

use std::ops::Range;

use super::Precision;
use super::buffer::Buffer;
use super::elementwise::nearest;
use super::kernels::{Dequantization, Kernels, PANEL, Product};
use super::matrix::Matrix;
use super::prepared_input::PreparedInput;
use super::profile::Stage;
use super::team::{Member, share};
use super::worker::Worker;
use crate::checkpoint::{Checkpoint, Tensor};

/// A linear layer with its weights in the order in which the kernels read them.
#[derive(Debug)]
pub(super) struct Linear {
    precision: Precision,
    inputs: usize,
    outputs: usize,
    /// `[panels, units, PANEL]` in units of 32 bits: the weights of [`PANEL`] outputs stand together.
    panels: Buffer,
    /// `[outputs]`, zeros up to a whole panel.
    bias: Buffer,
    /// `[outputs]`: the step between two quantised weights.
    scales: Buffer,
    /// `[outputs]`: the sums of the quantised weights.
    sums: Buffer,
}

/// What is done to a linear layer's outputs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Activation {
    None,
    Gelu,
}

/// One part of a linear layer's outputs, as the checkpoint has it.
pub(super) struct LinearPart {
    weight: Option<Tensor>,
    bias: Vec<f32>,
    outputs: usize,
    /// Multiplied to weights and bias.
    factor: f32,
}

impl LinearPart {
    /// What `name.weight`, `[outputs, inputs]`, and `name.bias` hold.
    pub(super) fn take(
        checkpoint: &mut Checkpoint,
        name: &str,
        [outputs, inputs]: [usize; 2],
        factor: f32,
    ) -> Self {
        let part = Self::take_without_bias(checkpoint, name, [outputs, inputs], factor);
        let bias = checkpoint.take_vector(&format!("{name}.bias"), outputs);
        Self { bias, ..part }
    }

    /// What `name.weight`, `[outputs, inputs]`, holds.
    pub(super) fn take_without_bias(
        checkpoint: &mut Checkpoint,
        name: &str,
        [outputs, inputs]: [usize; 2],
        factor: f32,
    ) -> Self {
        let weight = checkpoint.take(&format!("{name}.weight"), &[outputs, inputs]);
        // Without a weight of this size the number of outputs may be anything.
        let bias = if weight.is_some() { vec![0.0; outputs] } else { Vec::new() };
        Self { weight, bias, outputs, factor }
    }
}

impl Linear {
    /// Lays out the weights of some layers with the same input as one layer.
    pub(super) fn pack(
        parts: &[LinearPart],
        inputs: usize,
        precision: Precision,
        kernels: &Kernels,
        member: Member<'_>,
    ) -> Self {
        let outputs: usize = parts.iter().map(|part| part.outputs).sum();
        let panels = outputs.div_ceil(PANEL);
        let units = inputs.div_ceil(precision.values_per_unit());
        let linear = Self {
            precision,
            inputs,
            outputs,
            panels: Buffer::new(panels * units * PANEL),
            bias: Buffer::new(panels * PANEL),
            scales: Buffer::new(panels * PANEL),
            sums: Buffer::new(panels * PANEL),
        };
        linear.fill(parts, kernels, member);
        // A model's weights need not be in memory twice.
        parts.iter().filter_map(|part| part.weight.as_ref()).for_each(Tensor::release);
        linear
    }

    fn fill(&self, parts: &[LinearPart], kernels: &Kernels, member: Member<'_>) {
        let rows: Vec<(&LinearPart, usize)> =
            parts.iter().flat_map(|part| (0..part.outputs).map(move |row| (part, row))).collect();
        let units = self.units();
        let per_unit = self.precision.values_per_unit();
        member.for_each(rows.len().div_ceil(PANEL), |panel| {
            let mut weights = vec![0.0; units * per_unit];
            let first = panel * PANEL;
            for (output, &(part, row)) in rows.iter().enumerate().skip(first).take(PANEL) {
                if let Some(weight) = &part.weight {
                    weight.read_row(row, &mut weights[..self.inputs]);
                    weights.iter_mut().for_each(|weight| *weight *= part.factor);
                }
                // SAFETY: each task has the outputs of its own panel, and all are inside the buffers.
                unsafe {
                    self.bias.pointer::<f32>().add(output).write(part.bias[row] * part.factor);
                    let packed = self.panels.pointer::<u32>().add(first * units + output - first);
                    self.pack_output(output, &weights, packed, kernels);
                }
            }
        });
    }

    /// Writes one output's weights, each unit [`PANEL`] units from the last.
    ///
    /// # Safety
    /// `packed` is that output's place in the panels, and nobody else uses it or the output's scale.
    unsafe fn pack_output(
        &self,
        output: usize,
        weights: &[f32],
        packed: *mut u32,
        kernels: &Kernels,
    ) {
        // SAFETY: there are as many places as units.
        let write = |unit: usize, bits: u32| unsafe { packed.add(unit * PANEL).write(bits) };
        match self.precision {
            Precision::F32 => {
                for (unit, weight) in weights.iter().enumerate() {
                    write(unit, weight.to_bits());
                }
            }
            Precision::Bf16 => {
                let mut rounded = vec![0; weights.len()];
                kernels.to_bf16(weights, &mut rounded);
                for (unit, pair) in rounded.as_chunks::<2>().0.iter().enumerate() {
                    write(unit, u32::from(pair[0]) | u32::from(pair[1]) << 16);
                }
            }
            Precision::Int8 => {
                let greatest = weights.iter().fold(0.0_f32, |most, weight| most.max(weight.abs()));
                let scale = if greatest > 0.0 { greatest / 127.0 } else { 1.0 };
                let mut sum = 0;
                for (unit, weights) in weights.as_chunks::<4>().0.iter().enumerate() {
                    let quantized = weights.map(|weight| nearest(weight / scale));
                    sum += quantized.iter().map(|&weight| i32::from(weight)).sum::<i32>();
                    write(unit, u32::from_le_bytes(quantized.map(|weight| weight as u8)));
                }
                // SAFETY: the caller says that nobody else uses this output's values.
                unsafe {
                    self.scales.pointer::<f32>().add(output).write(scale);
                    self.sums.pointer::<i32>().add(output).write(sum);
                }
            }
        }
    }

    fn units(&self) -> usize {
        self.inputs.div_ceil(self.precision.values_per_unit())
    }

    /// How many weights it has.
    pub(super) fn weights(&self) -> usize {
        self.inputs * self.outputs
    }

    /// How many panels the outputs fill.
    pub(super) fn panels(&self) -> usize {
        self.outputs.div_ceil(PANEL)
    }

    /// Whether a matrix has room for the outputs of some rows.
    pub(super) fn fits(&self, rows: &Range<usize>, output: &Matrix) -> bool {
        self.panels() * PANEL <= output.stride() && rows.end <= output.rows()
    }

    /// Computes some rows of `output` from the same rows of `input`.
    ///
    /// # Safety
    /// All members of the team call it alike, and nobody else uses these rows of `output` and `prepared`
    /// or writes to those of `input`.
    pub(super) unsafe fn apply(
        &self,
        worker: &Worker<'_>,
        rows: Range<usize>,
        input: &Matrix,
        prepared: &PreparedInput,
        output: &Matrix,
        activation: Activation,
    ) {
        assert!(self.fits(&rows, output));
        // SAFETY: the caller vouches for the rows.
        unsafe { self.prepare(worker, rows.clone(), input, prepared) };
        let division = Division::new(worker, rows, self.panels());
        worker.for_each(Stage::Linear, division.tasks(), |task| {
            let (rows, panels) = division.part(task);
            for panel in panels.clone() {
                // SAFETY: the rows and panels are inside the output, and each task has its own.
                unsafe {
                    let output_panel = output.pointer(rows.start).add(panel * PANEL);
                    self.multiply(
                        worker.kernels,
                        panel,
                        rows.clone(),
                        input,
                        prepared,
                        (output_panel, output.stride()),
                    );
                }
            }
            if activation == Activation::Gelu {
                worker.lap(Stage::Linear);
                let columns = panels.start * PANEL..panels.end * PANEL;
                for row in rows {
                    // SAFETY: these rows and columns are this task's.
                    worker.kernels.gelu(unsafe { output.row_mut(row, columns.clone()) });
                }
                worker.lap(Stage::Activation);
            }
        });
    }

    /// Rounds or quantises some rows of the input, in precisions that need it.
    ///
    /// # Safety
    /// All members of the team call it alike, and nobody else uses these rows of `prepared` or writes to
    /// those of `input`.
    pub(super) unsafe fn prepare(
        &self,
        worker: &Worker<'_>,
        rows: Range<usize>,
        input: &Matrix,
        prepared: &PreparedInput,
    ) {
        assert!(self.inputs <= input.stride() && rows.end <= input.rows());
        if self.precision != Precision::F32 {
            worker.for_each(Stage::Preparation, rows.len(), |row| {
                let row = rows.start + row;
                // SAFETY: each task has its own row.
                unsafe { prepared.prepare(worker.kernels, self.precision, row, input, self.inputs) }
            });
        }
    }

    /// Computes one panel of outputs for some rows of the input, which are prepared.
    ///
    /// # Safety
    /// The output, a place and the stride between rows, is valid for [`PANEL`] values in each row and used
    /// by nobody else; nobody writes to the rows of the input.
    pub(super) unsafe fn multiply(
        &self,
        kernels: &Kernels,
        panel: usize,
        rows: Range<usize>,
        input: &Matrix,
        prepared: &PreparedInput,
        (output, output_stride): (*mut f32, usize),
    ) {
        let (operand, operand_stride) = match self.precision {
            Precision::F32 => (input.pointer(rows.start).cast_const().cast(), input.stride()),
            Precision::Bf16 | Precision::Int8 => prepared.row(rows.start),
        };
        let units = self.units();
        // SAFETY: `pack` has filled as many panels, and the caller vouches for input and output.
        unsafe {
            let product = Product {
                rows: rows.len(),
                units,
                input: operand,
                input_stride: operand_stride,
                panel: self.panels.pointer::<u32>().add(panel * units * PANEL),
                panel_stride: PANEL,
                bias: self.bias.pointer::<f32>().add(panel * PANEL),
                output,
                output_stride,
            };
            match self.precision {
                Precision::F32 => kernels.product_f32(product),
                Precision::Bf16 => kernels.product_bf16(product),
                Precision::Int8 => kernels.product_int8(
                    product,
                    Dequantization {
                        inputs: prepared.quantized(rows.start),
                        scales: self.scales.pointer::<f32>().add(panel * PANEL),
                        sums: self.sums.pointer::<i32>().add(panel * PANEL),
                    },
                ),
            }
        }
    }
}

/// How some rows and panels of a linear layer's outputs are divided into tasks. Alone, all of them are
/// one task. In a team a task is some rows and some panels.
pub(super) struct Division {
    rows: Range<usize>,
    panels: usize,
    row_tasks: usize,
    panel_tasks: usize,
}

impl Division {
    pub(super) fn new(worker: &Worker<'_>, rows: Range<usize>, panels: usize) -> Self {
        let (row_tasks, wanted) = if worker.is_alone() {
            (rows.len().min(1), 1)
        } else {
            (rows.len().div_ceil(ROWS_OF_A_TASK), TASKS_OF_A_MEMBER * worker.member.count)
        };
        let panel_tasks = wanted.div_ceil(row_tasks.max(1)).min(panels);
        Self { rows, panels, row_tasks, panel_tasks }
    }

    pub(super) fn tasks(&self) -> usize {
        self.row_tasks * self.panel_tasks
    }

    /// The rows and panels of a task.
    pub(super) fn part(&self, task: usize) -> (Range<usize>, Range<usize>) {
        let rows = share(self.rows.len(), self.row_tasks, task / self.panel_tasks);
        let panels = share(self.panels, self.panel_tasks, task % self.panel_tasks);
        (self.rows.start + rows.start..self.rows.start + rows.end, panels)
    }
}

/// A team's task has about this many rows of the input: enough that reading the weights costs little
/// beside the products.
pub(super) const ROWS_OF_A_TASK: usize = 56;

/// So many tasks for each member that one who is held up leaves work to the others.
const TASKS_OF_A_MEMBER: usize = 4;
