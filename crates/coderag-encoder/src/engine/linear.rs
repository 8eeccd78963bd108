#![allow(unsafe_code)]

use std::ops::Range;
use std::slice::{from_raw_parts, from_raw_parts_mut};

use super::Precision;
use super::buffer::Buffer;
use super::elementwise::{Quantized, nearest};
use super::kernels::{Dequantization, Kernels, PANEL, Product};
use super::matrix::Matrix;
use super::profile::Stage;
use super::team::Member;
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
    pub(super) fn take(
        checkpoint: &mut Checkpoint,
        name: &str,
        [outputs, inputs]: [usize; 2],
        factor: f32,
    ) -> Self {
        let weight = checkpoint.take(&format!("{name}.weight"), &[outputs, inputs]);
        let bias = checkpoint.take_vector(&format!("{name}.bias"), outputs);
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
        assert!(self.inputs <= input.stride() && self.outputs <= output.stride());
        assert!(rows.end <= input.rows() && rows.end <= output.rows());
        if rows.is_empty() {
            return;
        }
        if self.precision != Precision::F32 {
            worker.for_each(Stage::Preparation, rows.len(), |row| {
                // SAFETY: each task has its own row.
                unsafe { prepared.prepare(worker.kernels, rows.start + row, input, self.inputs) }
            });
        }
        let (operand, operand_stride) = match self.precision {
            Precision::F32 => (input.pointer(rows.start).cast_const().cast(), input.stride()),
            Precision::Bf16 | Precision::Int8 => prepared.row(rows.start),
        };
        let units = self.units();
        let panels = self.outputs.div_ceil(PANEL);
        // Alone, all rows and all panels are one task. In a team a task is some rows and some panels.
        let row_tasks = if worker.is_alone() { 1 } else { rows.len().div_ceil(ROWS_OF_A_TASK) };
        let wanted = if worker.is_alone() { 1 } else { TASKS_OF_A_MEMBER * worker.member.count };
        let panel_tasks = wanted.div_ceil(row_tasks).min(panels);
        worker.for_each(Stage::Linear, row_tasks * panel_tasks, |task| {
            let (row_task, panel_task) = (task / panel_tasks, task % panel_tasks);
            let rows_here = share(rows.len(), row_tasks, row_task);
            let panels_here = share(panels, panel_tasks, panel_task);
            for panel in panels_here.clone() {
                // SAFETY: the rows and panels are inside the buffers, and each task has its own.
                unsafe {
                    let product = Product {
                        rows: rows_here.len(),
                        units,
                        input: operand.add(rows_here.start * operand_stride),
                        input_stride: operand_stride,
                        panel: self.panels.pointer::<u32>().add(panel * units * PANEL),
                        panel_stride: PANEL,
                        bias: self.bias.pointer::<f32>().add(panel * PANEL),
                        output: output.pointer(rows.start + rows_here.start).add(panel * PANEL),
                        output_stride: output.stride(),
                    };
                    match self.precision {
                        Precision::F32 => worker.kernels.product_f32(product),
                        Precision::Bf16 => worker.kernels.product_bf16(product),
                        Precision::Int8 => worker.kernels.product_int8(
                            product,
                            Dequantization {
                                inputs: prepared.quantized(rows.start + rows_here.start),
                                scales: self.scales.pointer::<f32>().add(panel * PANEL),
                                sums: self.sums.pointer::<i32>().add(panel * PANEL),
                            },
                        ),
                    }
                }
            }
            if activation == Activation::Gelu {
                worker.lap(Stage::Linear);
                let columns = panels_here.start * PANEL..panels_here.end * PANEL;
                for row in rows_here {
                    // SAFETY: these rows and columns are this task's.
                    let outputs = unsafe { output.row_mut(rows.start + row, columns.clone()) };
                    worker.kernels.gelu(outputs);
                }
                worker.lap(Stage::Activation);
            }
        });
    }
}

/// A team's task has about this many rows of the input: enough that reading the weights costs little
/// beside the products.
const ROWS_OF_A_TASK: usize = 56;

/// So many tasks for each member that one who is held up leaves work to the others.
const TASKS_OF_A_MEMBER: usize = 4;

/// The share of one of `parts` equal parts of `count`.
fn share(count: usize, parts: usize, part: usize) -> Range<usize> {
    count * part / parts..count * (part + 1) / parts
}

/// The inputs of a linear layer in its precision.
#[derive(Debug)]
pub(super) struct PreparedInput {
    precision: Precision,
    /// `[rows, stride]` in units of 32 bits.
    values: Buffer,
    stride: usize,
    /// `[rows]` of [`Quantized`].
    quantized: Buffer,
    rows: usize,
}

impl PreparedInput {
    pub(super) fn new(precision: Precision, rows: usize, columns: usize) -> Self {
        let (rows, stride) = match precision {
            Precision::F32 => (0, 0),
            Precision::Bf16 | Precision::Int8 => {
                let units = columns.div_ceil(precision.values_per_unit());
                // An odd number of cache lines, as in `Matrix`.
                (rows, units.next_multiple_of(32) + 16)
            }
        };
        Self {
            precision,
            values: Buffer::new(rows * stride),
            stride,
            quantized: Buffer::new(rows * (size_of::<Quantized>() / 4)),
            rows,
        }
    }

    /// Where a row begins, and the stride between rows.
    fn row(&self, row: usize) -> (*const u32, usize) {
        assert!(row < self.rows);
        // SAFETY: the row is inside the buffer.
        (unsafe { self.values.pointer::<u32>().add(row * self.stride) }, self.stride)
    }

    fn quantized(&self, row: usize) -> *const Quantized {
        assert!(row < self.rows);
        // SAFETY: the row is inside the buffer, whose lines are aligned enough.
        unsafe { self.quantized.pointer::<Quantized>().add(row) }
    }

    /// Rounds or quantises a row of `input`.
    ///
    /// # Safety
    /// Nobody else uses this row here or writes to the input's.
    unsafe fn prepare(&self, kernels: &Kernels, row: usize, input: &Matrix, columns: usize) {
        let (prepared, stride) = self.row(row);
        // The last unit may reach beyond the columns; it meets weights of 0.
        let width = columns.next_multiple_of(self.precision.values_per_unit());
        assert!(width <= stride * self.precision.values_per_unit());
        // SAFETY: the row is this caller's and has room for the width.
        unsafe {
            match self.precision {
                Precision::F32 => {}
                Precision::Bf16 => {
                    let rounded = from_raw_parts_mut(prepared.cast_mut().cast::<u16>(), width);
                    let values = from_raw_parts(input.pointer(row), width);
                    kernels.to_bf16(values, rounded);
                }
                Precision::Int8 => {
                    let bytes = from_raw_parts_mut(prepared.cast_mut().cast::<u8>(), columns);
                    let values = from_raw_parts(input.pointer(row), columns);
                    let quantized = kernels.quantize(values, bytes);
                    self.quantized(row).cast_mut().write(quantized);
                }
            }
        }
    }
}
