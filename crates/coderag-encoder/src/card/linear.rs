use cudarc::driver::sys::CUdeviceptr;

use super::operations::Run;
use super::product::{Factor, Output, Product};
use crate::Result;
use crate::engine::TrainingPrecision;

/// Linear layers with the same inputs that are computed as one, and their adapters.
#[derive(Debug)]
pub(super) struct Linear {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// `[outputs, inputs]`
    pub(super) weight: CUdeviceptr,
    /// `[outputs]`
    pub(super) bias: Option<CUdeviceptr>,
    /// Of the weight in f32, where it is trained.
    pub(super) weight_gradient: Option<CUdeviceptr>,
    /// Of the bias.
    pub(super) bias_gradient: Option<CUdeviceptr>,
    pub(super) adapters: Vec<LinearAdapter>,
}

/// A low-rank adapter (LoRA: Hu et al., 2022) of some of the outputs.
#[derive(Debug)]
pub(super) struct LinearAdapter {
    pub(super) first_output: usize,
    pub(super) outputs: usize,
    pub(super) rank: usize,
    pub(super) scale: f32,
    /// `[rank, inputs]`
    pub(super) a: CUdeviceptr,
    /// `[outputs, rank]`
    pub(super) b: CUdeviceptr,
    /// Of A and B in f32.
    pub(super) gradients: [CUdeviceptr; 2],
    /// Where its numbers stand among what enters the B of all adapters.
    pub(super) column: usize,
}

impl Linear {
    /// How many numbers a token has that enter the B of the adapters.
    pub(super) fn adapted_width(&self) -> usize {
        self.adapters.last().map_or(0, |last| last.column + padded(last.rank))
    }

    /// Whether anything of it is trained.
    pub(super) fn is_trained(&self) -> bool {
        self.weight_gradient.is_some() || !self.adapters.is_empty()
    }

    /// `[tokens, inputs]` to `[tokens, outputs]`; `adapted` takes what enters B, `[tokens, adapted_width]`.
    pub(super) fn forward(
        &self,
        run: &Run<'_>,
        input: CUdeviceptr,
        output: CUdeviceptr,
        adapted: CUdeviceptr,
    ) -> Result<()> {
        run.product(&Product {
            rows: run.tokens,
            inner: self.inputs,
            columns: self.outputs,
            left: Factor::new(input, self.inputs),
            right: Factor::transposed(self.weight, self.inputs),
            output: run.states(output, self.outputs),
            alpha: 1.0,
            beta: 0.0,
            bias: self.bias,
        })?;
        let width = self.adapted_width();
        for adapter in &self.adapters {
            let adapted = run.after(adapted, adapter.column);
            run.product(&Product {
                rows: run.tokens,
                inner: self.inputs,
                columns: adapter.rank,
                left: Factor::new(input, self.inputs),
                right: Factor::transposed(adapter.a, self.inputs),
                output: run.states(adapted, width),
                alpha: 1.0,
                beta: 0.0,
                bias: None,
            })?;
            run.product(&Product {
                rows: run.tokens,
                inner: adapter.rank,
                columns: adapter.outputs,
                left: Factor::new(adapted, width),
                right: Factor::transposed(adapter.b, adapter.rank),
                output: run.states(run.after(output, adapter.first_output), self.outputs),
                alpha: adapter.scale,
                beta: 1.0,
                bias: None,
            })?;
        }
        Ok(())
    }

    /// The gradient of the inputs, where it is wanted, from that of the outputs, `[tokens, outputs]`; and of what
    /// enters the B of the adapters, `[tokens, adapted_width]`.
    pub(super) fn backward_inputs(
        &self,
        run: &Run<'_>,
        gradient: CUdeviceptr,
        adapted_gradient: CUdeviceptr,
        input_gradient: Option<CUdeviceptr>,
    ) -> Result<()> {
        if let Some(input_gradient) = input_gradient {
            run.product(&Product {
                rows: run.tokens,
                inner: self.outputs,
                columns: self.inputs,
                left: Factor::new(gradient, self.outputs),
                right: Factor::new(self.weight, self.inputs),
                output: run.states(input_gradient, self.inputs),
                alpha: 1.0,
                beta: 0.0,
                bias: None,
            })?;
        }
        let width = self.adapted_width();
        for adapter in &self.adapters {
            let adapted_gradient = run.after(adapted_gradient, adapter.column);
            run.product(&Product {
                rows: run.tokens,
                inner: adapter.outputs,
                columns: adapter.rank,
                left: Factor::new(run.after(gradient, adapter.first_output), self.outputs),
                right: Factor::new(adapter.b, adapter.rank),
                output: run.states(adapted_gradient, width),
                alpha: adapter.scale,
                beta: 0.0,
                bias: None,
            })?;
            if let Some(input_gradient) = input_gradient {
                run.product(&Product {
                    rows: run.tokens,
                    inner: adapter.rank,
                    columns: self.inputs,
                    left: Factor::new(adapted_gradient, width),
                    right: Factor::new(adapter.a, self.inputs),
                    output: run.states(input_gradient, self.inputs),
                    alpha: 1.0,
                    beta: 1.0,
                    bias: None,
                })?;
            }
        }
        Ok(())
    }

    /// Adds to the gradient of the bias, given that of the outputs, `[tokens, outputs]`; `partials` as
    /// [`Run::add_column_sums`] has it.
    pub(super) fn backward_bias(
        &self,
        run: &Run<'_>,
        gradient: CUdeviceptr,
        partials: CUdeviceptr,
    ) -> Result<()> {
        match self.bias_gradient {
            Some(bias) => run.add_column_sums(gradient, self.outputs, bias, partials),
            None => Ok(()),
        }
    }

    /// Adds to the gradients of the weight and the adapters, given that of the outputs, `[tokens, outputs]`, and what
    /// [`backward_inputs`](Self::backward_inputs) has left in `adapted_gradient`.
    pub(super) fn backward_parameters(
        &self,
        run: &Run<'_>,
        gradient: CUdeviceptr,
        input: CUdeviceptr,
        [adapted, adapted_gradient]: [CUdeviceptr; 2],
    ) -> Result<()> {
        if let Some(weight_gradient) = self.weight_gradient {
            run.product(&Product {
                rows: self.outputs,
                inner: run.tokens,
                columns: self.inputs,
                left: Factor::transposed(gradient, self.outputs),
                right: Factor::new(input, self.inputs),
                output: added(weight_gradient, self.inputs),
                alpha: 1.0,
                beta: 1.0,
                bias: None,
            })?;
        }
        let width = self.adapted_width();
        for adapter in &self.adapters {
            let [adapted, adapted_gradient] =
                [adapted, adapted_gradient].map(|at| run.after(at, adapter.column));
            let [of_a, of_b] = adapter.gradients;
            run.product(&Product {
                rows: adapter.outputs,
                inner: run.tokens,
                columns: adapter.rank,
                left: Factor::transposed(run.after(gradient, adapter.first_output), self.outputs),
                right: Factor::new(adapted, width),
                output: added(of_b, adapter.rank),
                alpha: adapter.scale,
                beta: 1.0,
                bias: None,
            })?;
            run.product(&Product {
                rows: adapter.rank,
                inner: run.tokens,
                columns: self.inputs,
                left: Factor::transposed(adapted_gradient, width),
                right: Factor::new(input, self.inputs),
                output: added(of_a, self.inputs),
                alpha: 1.0,
                beta: 1.0,
                bias: None,
            })?;
        }
        Ok(())
    }
}

/// The widths of what enters the B of the adapters of layers' linear layers, each in the layer where it is widest.
pub(super) fn adapted_widths<'a>(layers: impl Iterator<Item = [&'a Linear; 4]>) -> [usize; 4] {
    layers.fold([0; 4], |mut widest, linears| {
        for (width, linear) in widest.iter_mut().zip(linears) {
            *width = linear.adapted_width().max(*width);
        }
        widest
    })
}

/// A gradient of parameters as a product's result.
fn added(at: CUdeviceptr, stride: usize) -> Output {
    Output { at, stride, format: TrainingPrecision::F32 }
}

/// The numbers that a rank takes up, so that each adapter's begin where 16 bytes do.
pub(super) fn padded(rank: usize) -> usize {
    rank.next_multiple_of(8)
}
