#![allow(unsafe_code)]

use super::parameter::Parameter;
use super::rows::Rows;
use super::tape::NormRows;
use super::work::Work;
use crate::BertConfig;
use crate::checkpoint::Checkpoint;
use crate::engine::elementwise::LayerNorm;

/// A layer normalisation.
#[derive(Debug)]
pub(super) struct Norm {
    weight: Parameter,
    bias: Parameter,
    epsilon: f32,
}

impl Norm {
    pub(super) fn take(checkpoint: &mut Checkpoint, name: &str, config: &BertConfig) -> Self {
        let mut vector = |part: &str| {
            let name = format!("{name}.{part}");
            let value = checkpoint.take_vector(&name, config.hidden_size);
            Parameter::new(name, vec![config.hidden_size], value)
        };
        Self {
            weight: vector("weight"),
            bias: vector("bias"),
            epsilon: config.layer_norm_eps as f32,
        }
    }

    fn size(&self) -> usize {
        self.weight.value().len()
    }

    fn view(&self) -> LayerNorm<'_> {
        LayerNorm { weight: self.weight.value(), bias: self.bias.value(), epsilon: self.epsilon }
    }

    /// Weight and bias.
    pub(super) fn vectors(&self) -> [&Parameter; 2] {
        [&self.weight, &self.bias]
    }

    pub(super) fn parameters(&mut self) -> [&mut Parameter; 2] {
        [&mut self.weight, &mut self.bias]
    }

    /// Adds the residual to a row and normalises it.
    ///
    /// # Safety
    /// Nobody else uses the row of the tape.
    pub(super) unsafe fn forward(
        &self,
        work: &Work<'_>,
        values: &mut [f32],
        residual: &[f32],
        tape: NormRows<'_>,
        row: usize,
    ) {
        // SAFETY: the caller vouches for the row.
        unsafe {
            let normalized = tape.normalized.row_mut(row, self.size());
            let scale = work.kernels.normalize(values, residual, self.view(), normalized);
            tape.scales.row_mut(row, 1)[0] = scale;
        }
    }

    /// Writes the outputs again.
    ///
    /// # Safety
    /// Nobody writes to the tape, or uses the output.
    pub(super) unsafe fn repeat(&self, work: &Work<'_>, tape: NormRows<'_>, output: Rows<'_>) {
        for row in 0..output.count() {
            // SAFETY: the caller vouches for the memory.
            unsafe {
                let normalized = tape.normalized.row(row, self.size());
                let output = output.row_mut(row, self.size());
                work.kernels.scale_and_shift(normalized, self.view(), output);
            }
        }
    }

    /// Turns the gradient of the outputs into that of the inputs, in place, and adds to the gradients of
    /// weight and bias, where they are wanted.
    ///
    /// # Safety
    /// Nobody writes to the tape, or uses the gradient.
    pub(super) unsafe fn backward(
        &self,
        work: &Work<'_>,
        tape: NormRows<'_>,
        gradient: Rows<'_>,
        mut sums: Option<[&mut [f32]; 2]>,
    ) {
        let kernels = work.kernels;
        for row in 0..gradient.count() {
            // SAFETY: the caller vouches for the memory.
            unsafe {
                let normalized = tape.normalized.row(row, self.size());
                let gradient = gradient.row_mut(row, self.size());
                if let Some([weight, bias]) = &mut sums {
                    kernels.add_product(weight, gradient, normalized);
                    kernels.forward.add_scaled(bias, gradient, 1.0);
                }
                let scale = tape.scales.row(row, 1)[0];
                kernels.normalize_backward(gradient, normalized, self.weight.value(), scale);
            }
        }
    }
}
