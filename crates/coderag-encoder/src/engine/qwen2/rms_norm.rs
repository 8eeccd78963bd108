#![allow(unsafe_code)]

use std::ops::Range;

use crate::checkpoint::Checkpoint;
use crate::engine::elementwise::RmsNorm;
use crate::engine::matrix::Matrix;
use crate::engine::profile::Stage;
use crate::engine::worker::Worker;

/// A root mean square normalisation.
#[derive(Debug)]
pub(super) struct Norm {
    weight: Vec<f32>,
    epsilon: f32,
}

impl Norm {
    /// What `name.weight`, `[size]`, holds, multiplied by `factor`.
    pub(super) fn take(
        checkpoint: &mut Checkpoint,
        name: &str,
        size: usize,
        epsilon: f64,
        factor: f32,
    ) -> Self {
        let mut weight = checkpoint.take_vector(&format!("{name}.weight"), size);
        weight.iter_mut().for_each(|weight| *weight *= factor);
        Self { weight, epsilon: epsilon as f32 }
    }

    pub(super) fn view(&self) -> RmsNorm<'_> {
        RmsNorm { weight: &self.weight, epsilon: self.epsilon }
    }

    /// Normalises some rows of `input` into the same rows of `output`.
    ///
    /// # Safety
    /// All members of the team call it alike, and nobody else uses the rows of the output or writes to
    /// those of the input.
    pub(super) unsafe fn apply(
        &self,
        worker: &Worker<'_>,
        rows: Range<usize>,
        input: &Matrix,
        output: &Matrix,
    ) {
        worker.for_each(Stage::Normalization, rows.len(), |row| {
            let row = rows.start + row;
            // SAFETY: each task has its own row.
            unsafe { self.apply_to_row(worker, row, input, output) }
        });
    }

    /// # Safety
    /// Nobody else uses the row of the output or writes to that of the input.
    pub(super) unsafe fn apply_to_row(
        &self,
        worker: &Worker<'_>,
        row: usize,
        input: &Matrix,
        output: &Matrix,
    ) {
        let columns = 0..self.weight.len();
        // SAFETY: the caller vouches for the rows, which are of two matrices.
        unsafe {
            let output = output.row_mut(row, columns.clone());
            output.copy_from_slice(input.row(row, columns));
            worker.kernels.normalize_rms(output, self.view());
        }
    }
}
