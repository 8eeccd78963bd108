#![allow(unsafe_code)]

use std::ops::Range;

use super::dropout::Site;
use super::kernels::TrainingKernels;
use super::linear::LinearGradients;
use super::options::{AdapterLayer, TrainingPrecision};
use super::panels::{Operand, OuterProduct, Panels};
use super::parameter::Parameter;
use super::rows::Rows;
use super::work::Work;
use crate::engine::kernels::PANEL;
use crate::{Error, Result};

/// A low-rank adapter of a linear layer. What it adds is computed beside the layer's own outputs: the sum
/// of the weights is never formed.
#[derive(Debug)]
pub(super) struct LinearAdapter {
    inputs: usize,
    /// Among the outputs of the linear layers that are computed as one.
    outputs: Range<usize>,
    /// Where its columns begin in the memory for what enters B.
    column: usize,
    rank: usize,
    scale: f32,
    a: Parameter,
    b: Parameter,
    /// A for what enters B.
    a_forward: Panels,
    /// A for the gradient of the inputs.
    a_backward: Panels,
    /// B for the outputs, scaled, from the last multiple of [`PANEL`] before the first output.
    b_forward: Panels,
    /// B for the gradient of what enters it, scaled.
    b_backward: Panels,
}

impl LinearAdapter {
    /// # Errors
    /// [`Error::Training`] when the sizes are not the layer's.
    pub(super) fn new(
        adapter: AdapterLayer,
        [outputs, inputs]: [Range<usize>; 2],
        column: usize,
        precision: TrainingPrecision,
    ) -> Result<Self> {
        let AdapterLayer { layer, rank, scale, a, b } = adapter;
        let (inputs, count) = (inputs.len(), outputs.len());
        for (name, found, sizes) in [("A", a.len(), [rank, inputs]), ("B", b.len(), [count, rank])]
        {
            if rank == 0 || found != sizes[0] * sizes[1] {
                return Err(Error::Training(format!(
                    "{name} of the adapter of `{layer}` has {found} values instead of {} by {}",
                    sizes[0], sizes[1]
                )));
            }
        }
        let lead = outputs.start % PANEL;
        Ok(Self {
            inputs,
            column,
            rank,
            scale,
            a: Parameter::new(format!("{layer}.lora_A.weight"), vec![rank, inputs], a),
            b: Parameter::new(format!("{layer}.lora_B.weight"), vec![count, rank], b),
            a_forward: Panels::new(rank, inputs, precision),
            a_backward: Panels::new(inputs, rank, precision),
            b_forward: Panels::new(lead + count, rank, precision),
            b_backward: Panels::new(rank, count, precision),
            outputs,
        })
    }

    /// Where the columns of the next adapter may begin.
    pub(super) fn columns_end(&self) -> usize {
        self.column + self.rank.next_multiple_of(PANEL)
    }

    pub(super) fn parameters(&mut self) -> [&mut Parameter; 2] {
        [&mut self.a, &mut self.b]
    }

    /// Lays out A and B.
    pub(super) fn lay_out(&self, kernels: &TrainingKernels) {
        let lead = self.outputs.start % PANEL;
        let mut b = vec![0.0; lead * self.rank];
        b.extend(self.b.value().iter().map(|value| value * self.scale));
        // SAFETY: an adapter is laid out by its owner alone.
        unsafe {
            self.a_forward.fill_by_output(kernels, self.a.value());
            self.a_backward.fill_by_input(kernels, self.a.value());
            self.b_forward.fill_by_output(kernels, &b);
            self.b_backward.fill_by_input(kernels, &b[lead * self.rank..]);
        }
    }

    /// Computes what enters B from the layer's inputs and adds to its outputs.
    ///
    /// # Safety
    /// Nobody else uses the memory that is written.
    pub(super) unsafe fn forward(
        &self,
        work: &Work<'_>,
        input: Operand,
        output: Rows<'_>,
        adapted: Rows<'_>,
    ) {
        let precision = self.a_forward.precision();
        let kernels = work.kernels;
        // SAFETY: the caller vouches for the memory.
        unsafe {
            let adapted = adapted.after_column(self.column);
            self.a_forward.multiply(kernels, input, None, adapted);
            let rounded = &work.scratch.rounded_adapted;
            let operand = Operand::new(kernels, precision, adapted, self.rank, rounded);
            let first = self.outputs.start - self.outputs.start % PANEL;
            self.b_forward.accumulate(kernels, operand, output.after_column(first));
        }
    }

    /// Computes the gradient of what enters B, scaled, and adds to that of the inputs.
    ///
    /// # Safety
    /// Nobody else uses the memory that is written.
    pub(super) unsafe fn backward(
        &self,
        work: &Work<'_>,
        gradient: Rows<'_>,
        adapter_gradient: Rows<'_>,
        input_gradient: Option<Rows<'_>>,
        (site, first_token): (Site, usize),
    ) {
        let precision = self.a_forward.precision();
        let kernels = work.kernels;
        // SAFETY: the caller vouches for the memory.
        unsafe {
            let gradient = gradient.after_column(self.outputs.start);
            let outputs = self.outputs.len();
            let operand =
                Operand::new(kernels, precision, gradient, outputs, &work.scratch.rounded);
            let adapted = adapter_gradient.after_column(self.column);
            self.b_backward.multiply(kernels, operand, None, adapted);
            let Some(input_gradient) = input_gradient else { return };
            let rounded = &work.scratch.rounded_adapted;
            let operand = Operand::new(kernels, precision, adapted, self.rank, rounded);
            if !site.is_active() {
                self.a_backward.accumulate(kernels, operand, input_gradient);
                return;
            }
            let masked = Rows::new(&work.scratch.masked, 0..adapted.count());
            self.a_backward.multiply(kernels, operand, None, masked);
            for row in 0..masked.count() {
                let values = masked.row_mut(row, self.inputs);
                site.mask(kernels, values, first_token + row);
                let sums = input_gradient.row_mut(row, self.inputs);
                kernels.forward.add_scaled(sums, values, 1.0);
            }
        }
    }

    /// Adds to the gradient of A that of some tokens.
    ///
    /// # Safety
    /// Nobody else does the same, or writes to the memory that is read.
    pub(super) unsafe fn add_gradient_of_a(
        &self,
        work: &Work<'_>,
        tokens: LinearGradients<'_>,
        site: Site,
    ) {
        let add = |rows: Range<usize>, input: Rows<'_>| {
            let gradient = tokens.adapter_gradient.part(rows).after_column(self.column);
            // SAFETY: the caller vouches for the memory.
            unsafe {
                OuterProduct {
                    precision: TrainingPrecision::F32,
                    units: gradient.count(),
                    left: gradient.pointer(0).cast(),
                    left_stride: gradient.stride(),
                    rows: self.rank,
                    right: input.pointer(0).cast(),
                    right_stride: input.stride(),
                    columns: self.inputs,
                    output: self.a.gradient(0),
                    output_stride: self.inputs,
                }
                .add(work.kernels);
            }
        };
        let count = tokens.input.count();
        if !site.is_active() {
            return add(0..count, tokens.input);
        }
        let rows_at_once = work.scratch.masked.rows();
        for start in (0..count).step_by(rows_at_once) {
            let rows = start..count.min(start + rows_at_once);
            let first = tokens.first_token + start;
            // SAFETY: the scratch memory is this thread's.
            let masked =
                unsafe { work.masked(site, tokens.input.part(rows.clone()), self.inputs, first) };
            add(rows, masked);
        }
    }

    /// Adds to the gradient of B that of some tokens.
    ///
    /// # Safety
    /// Nobody else does the same, or writes to the memory that is read.
    pub(super) unsafe fn add_gradient_of_b(&self, work: &Work<'_>, tokens: LinearGradients<'_>) {
        let outputs = self.outputs.len();
        // With the rank as rows, few rows are read again and again, and no panel is wider than the rank.
        let mut transposed = vec![0.0; self.rank * outputs];
        let adapted = tokens.adapted.after_column(self.column);
        let gradient = tokens.gradient.after_column(self.outputs.start);
        // SAFETY: the caller vouches for the memory.
        unsafe {
            OuterProduct {
                precision: TrainingPrecision::F32,
                units: adapted.count(),
                left: adapted.pointer(0).cast(),
                left_stride: adapted.stride(),
                rows: self.rank,
                right: gradient.pointer(0).cast(),
                right_stride: gradient.stride(),
                columns: outputs,
                output: transposed.as_mut_ptr(),
                output_stride: outputs,
            }
            .add(work.kernels);
            let sums = self.b.gradients(0, outputs * self.rank);
            for (index, sum) in sums.iter_mut().enumerate() {
                let (output, rank) = (index / self.rank, index % self.rank);
                *sum += self.scale * transposed[rank * outputs + output];
            }
        }
    }
}
