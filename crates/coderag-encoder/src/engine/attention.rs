#![allow(unsafe_code)]

use std::ops::Range;
use std::sync::PoisonError;

use super::buffer::Buffer;
use super::kernels::{Kernels, PANEL, Product, Transposition};
use super::matrix::Matrix;
use super::profile::Stage;
use super::team::share;
use super::worker::Worker;
use super::workspace::Workspace;

/// How many queries are worked on at a time: only their scores are ever in memory, and stay in the cache.
const QUERIES: usize = 14;

/// A team's task is at most a group of heads, and there are this many tasks for each member where the
/// groups have heads enough.
const TASKS_OF_A_MEMBER: usize = 4;

/// How heads share keys and values, and what a token sees.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttentionShape {
    pub(super) heads: usize,
    /// Each is shared by equally many heads, next to each other (grouped-query attention: Ainslie et al.,
    /// 2023).
    pub(super) key_value_heads: usize,
    pub(super) head_size: usize,
    /// Whether a token attends to itself and those before it only.
    pub(super) causal: bool,
}

impl AttentionShape {
    /// The width of the queries, and of what they gather.
    pub(super) fn query_width(&self) -> usize {
        self.heads * self.head_size
    }

    /// The width of the keys, and of the values.
    pub(super) fn key_width(&self) -> usize {
        self.key_value_heads * self.head_size
    }

    /// The width of queries, keys and values together.
    pub(super) fn projected_width(&self) -> usize {
        self.query_width() + 2 * self.key_width()
    }
}

/// One thread's memory for attention.
#[derive(Debug)]
pub(super) struct AttentionScratch {
    /// A group's keys in panels, `[keys / PANEL, head_size, PANEL]`.
    keys: Buffer,
    /// A group's values in panels, `[head_size / PANEL, keys, PANEL]`.
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

/// Heads that share their keys and values, over one sequence.
struct Group<'a> {
    kernels: &'a Kernels,
    /// Queries, keys and values of all heads, `[tokens, projected_width]`; queries are scaled already.
    projected: &'a Matrix,
    context: &'a Matrix,
    tokens: Range<usize>,
    shape: AttentionShape,
    heads: Range<usize>,
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
    shape: AttentionShape,
) {
    let groups = sequences.len() * shape.key_value_heads;
    let heads_of_a_group = shape.heads / shape.key_value_heads;
    // Tasks of the same group each lay out its keys and values again, which is little work beside the
    // products of a long sequence.
    let parts = if worker.is_alone() {
        1
    } else {
        (TASKS_OF_A_MEMBER * worker.member.count).div_ceil(groups.max(1)).min(heads_of_a_group)
    };
    worker.for_each(Stage::Attention, groups * parts, |task| {
        let mut scratch =
            workspace.scratch[worker.member.index].lock().unwrap_or_else(PoisonError::into_inner);
        let (group, part) = (task / parts, task % parts);
        let first_head = group % shape.key_value_heads * heads_of_a_group;
        let heads = share(heads_of_a_group, parts, part);
        let tokens = sequences[group / shape.key_value_heads].clone();
        scratch.reserve(tokens.len(), shape.head_size);
        let group = Group {
            kernels: worker.kernels,
            projected: &workspace.projected,
            context: &workspace.context,
            tokens,
            shape,
            heads: first_head + heads.start..first_head + heads.end,
        };
        // SAFETY: each task has its own columns of its own rows of the context.
        unsafe { group.attend(&scratch) }
    });
}

impl Group<'_> {
    /// # Safety
    /// Nobody else uses the scratch memory or these heads' part of the context, or writes to `projected`.
    unsafe fn attend(&self, scratch: &AttentionScratch) {
        let AttentionShape { heads, key_value_heads, head_size, .. } = self.shape;
        let keys = self.tokens.len();
        if keys == 0 {
            return;
        }
        let first = self.tokens.start;
        let shared = self.heads.start / (heads / key_value_heads) * head_size;
        let column = self.shape.query_width() + shared;
        // SAFETY: `reserve` has made room for this many keys.
        unsafe {
            self.kernels.transpose(Transposition {
                rows: keys,
                columns: head_size,
                input: self.projected.pointer(first).add(column),
                input_stride: self.projected.stride(),
                panels: scratch.keys.pointer(),
            });
            self.gather_values(scratch, column + self.shape.key_width());
        }
        let tiles = keys.div_ceil(QUERIES);
        for head in self.heads.clone() {
            for tile in 0..tiles {
                let queries = share(keys, tiles, tile);
                // SAFETY: as above; the tiles' queries are different rows.
                unsafe { self.attend_tile(scratch, head * head_size, queries) }
            }
        }
    }

    /// Copies the values next to each other: every tile of queries reads them again.
    ///
    /// # Safety
    /// As [`Group::attend`].
    unsafe fn gather_values(&self, scratch: &AttentionScratch, column: usize) {
        let head_size = self.shape.head_size;
        for offset in (0..head_size).step_by(PANEL) {
            let width = PANEL.min(head_size - offset);
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

    /// What some queries, counted from the sequence's start, of the head at `column` gather.
    ///
    /// # Safety
    /// As [`Group::attend`]; the scratch memory holds the keys and values.
    unsafe fn attend_tile(&self, scratch: &AttentionScratch, column: usize, queries: Range<usize>) {
        const NO_BIAS: [f32; PANEL] = [0.0; PANEL];
        let AttentionScratch { keys: key_panels, values, scores, gathered } = scratch;
        let AttentionShape { head_size, causal, .. } = self.shape;
        // Keys after the last query are seen by none.
        let keys = if causal { queries.end } else { self.tokens.len() };
        let first_row = self.tokens.start + queries.start;
        for key in (0..keys).step_by(PANEL) {
            // SAFETY: the scores have room for whole panels of keys.
            unsafe {
                self.kernels.product_f32(Product {
                    rows: queries.len(),
                    units: head_size,
                    input: self.projected.pointer(first_row).add(column).cast(),
                    input_stride: self.projected.stride(),
                    panel: key_panels.pointer::<u32>().add(key * head_size),
                    panel_stride: PANEL,
                    bias: NO_BIAS.as_ptr(),
                    output: scores.pointer(0).add(key),
                    output_stride: scores.stride(),
                });
            }
        }
        let mut factors = [0.0; QUERIES];
        for (row, factor) in factors.iter_mut().enumerate().take(queries.len()) {
            let seen = if causal { queries.start + row + 1 } else { keys };
            // SAFETY: the scratch memory is this thread's.
            let (seen, unseen) = unsafe { scores.row_mut(row, 0..keys) }.split_at_mut(seen);
            *factor = 1.0 / self.kernels.exponentials(seen);
            unseen.fill(0.0);
        }
        for offset in (0..head_size).step_by(PANEL) {
            let column = column + offset;
            let width = PANEL.min(head_size - offset);
            // SAFETY: the panel was filled by `gather_values`; what it has beyond the head is old and left
            // out below. Each task has its own part of the context.
            unsafe {
                self.kernels.product_f32(Product {
                    rows: queries.len(),
                    units: keys,
                    input: scores.pointer(0).cast(),
                    input_stride: scores.stride(),
                    panel: values.pointer::<u32>().add(offset * self.tokens.len()),
                    panel_stride: PANEL,
                    bias: NO_BIAS.as_ptr(),
                    output: gathered.pointer(0),
                    output_stride: gathered.stride(),
                });
                for (row, &factor) in factors.iter().enumerate().take(queries.len()) {
                    let gathered = gathered.row(row, 0..width);
                    let context = self.context.row_mut(first_row + row, column..column + width);
                    for (context, &value) in context.iter_mut().zip(gathered) {
                        *context = value * factor;
                    }
                }
            }
        }
    }
}
