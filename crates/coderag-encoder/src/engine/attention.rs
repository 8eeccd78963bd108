#![allow(unsafe_code)]

use std::ops::Range;
use std::sync::PoisonError;

use super::buffer::Buffer;
use super::kernels::{Kernels, PANEL, Product, Transposition};
use super::matrix::Matrix;
use super::profile::Stage;
use super::worker::Worker;
use super::workspace::Workspace;

/// How many queries are worked on at a time: only their scores are ever in memory, and stay in the cache.
const QUERIES: usize = 14;

/// One thread's memory for attention.
#[derive(Debug)]
pub(super) struct AttentionScratch {
    /// A head's keys in panels, `[keys / PANEL, head_size, PANEL]`.
    keys: Buffer,
    /// A head's values in panels, `[head_size / PANEL, keys, PANEL]`.
    values: Buffer,
    /// `[QUERIES, keys]`
    scores: Matrix,
    /// What the queries gather, not yet divided by the sums of their scores, `[QUERIES, PANEL]`.
    gathered: Matrix,
}

impl Default for AttentionScratch {
    fn default() -> Self {
        Self {
            keys: Buffer::new(0),
            values: Buffer::new(0),
            scores: Matrix::zeros(QUERIES, 0),
            gathered: Matrix::zeros(QUERIES, PANEL),
        }
    }
}

impl AttentionScratch {
    /// Makes room for a sequence.
    fn reserve(&mut self, keys: usize, head_size: usize) {
        let padded = keys.next_multiple_of(PANEL);
        if self.keys.len() < padded * head_size {
            self.keys = Buffer::new(padded * head_size);
        }
        let panels = keys * head_size.next_multiple_of(PANEL);
        if self.values.len() < panels {
            self.values = Buffer::new(panels);
        }
        if self.scores.stride() < padded {
            self.scores = Matrix::zeros(QUERIES, padded);
        }
    }
}

/// One head over one sequence.
struct Head<'a> {
    kernels: &'a Kernels,
    /// Queries, keys and values of all heads, `[tokens, 3 * hidden_size]`; queries are scaled already.
    projected: &'a Matrix,
    context: &'a Matrix,
    tokens: Range<usize>,
    hidden_size: usize,
    head_size: usize,
    /// The head's first column among the queries.
    column: usize,
}

/// Multi-head self-attention (Vaswani et al., 2017) of each sequence, from `workspace.projected` to
/// `workspace.context`.
///
/// # Safety
/// All members of the team call it alike, and nobody else uses the workspace.
pub(super) unsafe fn attend(
    worker: &Worker<'_>,
    workspace: &Workspace,
    sequences: &[Range<usize>],
    [hidden_size, heads]: [usize; 2],
) {
    let head_size = hidden_size / heads;
    worker.for_each(Stage::Attention, sequences.len() * heads, |task| {
        let mut scratch =
            workspace.scratch[worker.member.index].lock().unwrap_or_else(PoisonError::into_inner);
        let tokens = sequences[task / heads].clone();
        scratch.reserve(tokens.len(), head_size);
        let column = task % heads * head_size;
        let head = Head {
            kernels: worker.kernels,
            projected: &workspace.projected,
            context: &workspace.context,
            tokens,
            hidden_size,
            head_size,
            column,
        };
        // SAFETY: each task has its own columns of its own rows of the context.
        unsafe { head.attend(&scratch) }
    });
}

impl Head<'_> {
    /// # Safety
    /// Nobody else uses the scratch memory or this head's part of the context, or writes to `projected`.
    unsafe fn attend(&self, scratch: &AttentionScratch) {
        let keys = self.tokens.len();
        if keys == 0 {
            return;
        }
        let first = self.tokens.start;
        // SAFETY: `reserve` has made room for this many keys.
        unsafe {
            self.kernels.transpose(Transposition {
                rows: keys,
                columns: self.head_size,
                input: self.projected.pointer(first).add(self.hidden_size + self.column),
                input_stride: self.projected.stride(),
                panels: scratch.keys.pointer(),
            });
            self.gather_values(scratch);
        }
        let tiles = keys.div_ceil(QUERIES);
        for tile in 0..tiles {
            let queries = first + keys * tile / tiles..first + keys * (tile + 1) / tiles;
            // SAFETY: as above; the tiles' queries are different rows.
            unsafe { self.attend_tile(scratch, queries) }
        }
    }

    /// Copies the values next to each other: every tile of queries reads them again.
    ///
    /// # Safety
    /// As [`Head::attend`].
    unsafe fn gather_values(&self, scratch: &AttentionScratch) {
        let column = 2 * self.hidden_size + self.column;
        for offset in (0..self.head_size).step_by(PANEL) {
            let width = PANEL.min(self.head_size - offset);
            for (key, row) in self.tokens.clone().enumerate() {
                // SAFETY: `reserve` has made room for this many keys; the scratch memory is this thread's.
                unsafe {
                    let from = self.projected.pointer(row).add(column + offset);
                    let place = offset * self.tokens.len() + key * PANEL;
                    let to = scratch.values.pointer::<f32>().add(place);
                    if width == PANEL {
                        // A copy of known size is a few instructions.
                        to.copy_from_nonoverlapping(from, PANEL);
                    } else {
                        to.copy_from_nonoverlapping(from, width);
                    }
                }
            }
        }
    }

    /// # Safety
    /// As [`Head::attend`]; the scratch memory holds the keys and values.
    unsafe fn attend_tile(&self, scratch: &AttentionScratch, queries: Range<usize>) {
        const NO_BIAS: [f32; PANEL] = [0.0; PANEL];
        let AttentionScratch { keys: key_panels, values, scores, gathered } = scratch;
        let keys = self.tokens.len();
        for key in (0..keys).step_by(PANEL) {
            // SAFETY: the scores have room for whole panels of keys.
            unsafe {
                self.kernels.product_f32(Product {
                    rows: queries.len(),
                    units: self.head_size,
                    input: self.projected.pointer(queries.start).add(self.column).cast(),
                    input_stride: self.projected.stride(),
                    panel: key_panels.pointer::<u32>().add(key * self.head_size),
                    panel_stride: PANEL,
                    bias: NO_BIAS.as_ptr(),
                    output: scores.pointer(0).add(key),
                    output_stride: scores.stride(),
                });
            }
        }
        let mut factors = [0.0; QUERIES];
        for (row, factor) in factors.iter_mut().enumerate().take(queries.len()) {
            // SAFETY: the scratch memory is this thread's.
            *factor = 1.0 / self.kernels.exponentials(unsafe { scores.row_mut(row, 0..keys) });
        }
        for offset in (0..self.head_size).step_by(PANEL) {
            let column = self.column + offset;
            let width = PANEL.min(self.head_size - offset);
            // SAFETY: the panel was filled by `gather_values`; what it has beyond the head is old and left
            // out below. Each task has its own part of the context.
            unsafe {
                self.kernels.product_f32(Product {
                    rows: queries.len(),
                    units: keys,
                    input: scores.pointer(0).cast(),
                    input_stride: scores.stride(),
                    panel: values.pointer::<u32>().add(offset * keys),
                    panel_stride: PANEL,
                    bias: NO_BIAS.as_ptr(),
                    output: gathered.pointer(0),
                    output_stride: gathered.stride(),
                });
                for (row, &factor) in factors.iter().enumerate().take(queries.len()) {
                    let gathered = gathered.row(row, 0..width);
                    let context = self.context.row_mut(queries.start + row, column..column + width);
                    for (context, &value) in context.iter_mut().zip(gathered) {
                        *context = value * factor;
                    }
                }
            }
        }
    }
}
