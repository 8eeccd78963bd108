#![allow(unsafe_code)]

use std::ops::Range;

use crate::BertConfig;
use crate::checkpoint::Checkpoint;
use crate::engine::elementwise::LayerNorm;
use crate::engine::matrix::Matrix;
use crate::engine::profile::Stage;
use crate::engine::worker::Worker;

/// A layer normalisation.
#[derive(Debug)]
pub(super) struct Norm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    epsilon: f32,
}

impl Norm {
    pub(super) fn take(checkpoint: &mut Checkpoint, name: &str, config: &BertConfig) -> Self {
        let mut vector =
            |part| checkpoint.take_vector(&format!("{name}.{part}"), config.hidden_size);
        Self {
            weight: vector("weight"),
            bias: vector("bias"),
            epsilon: config.layer_norm_eps as f32,
        }
    }

    pub(super) fn view(&self) -> LayerNorm<'_> {
        LayerNorm { weight: &self.weight, bias: &self.bias, epsilon: self.epsilon }
    }

    /// Adds the residual to some rows and normalises them.
    ///
    /// # Safety
    /// All members of the team call it alike, and nobody else uses the rows or writes to the residual.
    pub(super) unsafe fn apply(
        &self,
        worker: &Worker<'_>,
        rows: Range<usize>,
        sums: &Matrix,
        residual: &Matrix,
    ) {
        let columns = 0..self.weight.len();
        worker.for_each(Stage::Normalization, rows.len(), |row| {
            let row = rows.start + row;
            // SAFETY: each task has its own row.
            unsafe {
                let residual = residual.row(row, columns.clone());
                let sums = sums.row_mut(row, columns.clone());
                worker.kernels.add_and_normalize(sums, residual, self.view());
            }
        });
    }
}
