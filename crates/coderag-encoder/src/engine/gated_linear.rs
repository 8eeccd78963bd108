#![allow(unsafe_code)]

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::kernels::PANEL;
use super::linear::{Division, Linear};
use super::matrix::Matrix;
use super::prepared_input::PreparedInput;
use super::profile::Stage;
use super::worker::{MOST_ROWS, Worker};

/// Two linear layers with the same input, of which one, through SiLU, is multiplied to the other: the
/// first half of SwiGLU (Shazeer, 2020).
#[derive(Debug)]
pub(super) struct GatedLinear {
    pub(super) gate: Linear,
    pub(super) up: Linear,
}

/// One thread's memory for a gated linear layer: a panel of outputs of `up`.
#[derive(Debug)]
pub(super) struct GateScratch(Matrix);

impl Default for GateScratch {
    fn default() -> Self {
        Self(Matrix::zeros(MOST_ROWS, PANEL))
    }
}

impl GatedLinear {
    /// Computes some rows of `output` from the same rows of `input`; alone, [`MOST_ROWS`] at most.
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
        scratch: &[Mutex<GateScratch>],
    ) {
        let Self { gate, up } = self;
        assert!(gate.fits(&rows, output) && gate.panels() == up.panels());
        // SAFETY: the caller vouches for the rows.
        unsafe { gate.prepare(worker, rows.clone(), input, prepared) };
        let division = Division::new(worker, rows, gate.panels());
        worker.for_each(Stage::Linear, division.tasks(), |task| {
            let (rows, panels) = division.part(task);
            let scratch = scratch[worker.member.index].lock();
            let GateScratch(raised) = &*scratch.unwrap_or_else(PoisonError::into_inner);
            assert!(rows.len() <= raised.rows());
            for panel in panels {
                let columns = panel * PANEL..(panel + 1) * PANEL;
                // SAFETY: the rows and panels are inside the output, and each task has its own; the
                // scratch memory is this thread's.
                unsafe {
                    let gates = output.pointer(rows.start).add(columns.start);
                    let gates = (gates, output.stride());
                    gate.multiply(worker.kernels, panel, rows.clone(), input, prepared, gates);
                    let raised = (raised.pointer(0), raised.stride());
                    up.multiply(worker.kernels, panel, rows.clone(), input, prepared, raised);
                }
                worker.lap(Stage::Linear);
                // The panel is still in the cache.
                for (index, row) in rows.clone().enumerate() {
                    // SAFETY: as above.
                    let (gates, raised) = unsafe {
                        (output.row_mut(row, columns.clone()), raised.row(index, 0..PANEL))
                    };
                    worker.kernels.silu_and_multiply(gates, raised);
                }
                worker.lap(Stage::Activation);
            }
        });
    }
}
