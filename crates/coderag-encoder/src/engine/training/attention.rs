#![allow(unsafe_code)]

use std::ops::Range;

use super::dropout::Site;
use super::kernels::{Accumulation, HALF_PANEL, InputOrder, TrainingKernels};
use super::rows::Rows;
use crate::engine::buffer::Buffer;
use crate::engine::kernels::{PANEL, Product, Transposition};
use crate::engine::matrix::Matrix;

/// How many queries are worked on at a time: only their scores are ever in memory.
const QUERIES: usize = 56;

const NO_BIAS: [f32; PANEL] = [0.0; PANEL];

/// One thread's memory for attention.
#[derive(Debug)]
pub(super) struct AttentionScratch {
    /// A head's keys in panels, `[keys / PANEL, head_size, PANEL]`.
    keys: Buffer,
    /// A head's values in panels of the same form.
    values: Buffer,
    /// `[QUERIES, keys]`
    scores: Matrix,
    /// The gradient of the scores, `[QUERIES, keys]`.
    score_gradients: Matrix,
    /// What a tile gathers, `[QUERIES, head_size]`.
    gathered: Matrix,
    /// The gradient of a head's keys, `[keys, head_size]`.
    key_gradients: Matrix,
    /// The gradient of a head's values, `[keys, head_size]`.
    value_gradients: Matrix,
}

impl AttentionScratch {
    /// For sequences of at most so many tokens.
    pub(super) fn new(tokens: usize, head_size: usize) -> Self {
        let padded = tokens.next_multiple_of(PANEL);
        Self {
            keys: Buffer::new(padded * head_size),
            values: Buffer::new(padded * head_size),
            scores: Matrix::zeros(QUERIES, padded),
            score_gradients: Matrix::zeros(QUERIES, padded),
            gathered: Matrix::zeros(QUERIES, head_size),
            key_gradients: Matrix::zeros(tokens, head_size),
            value_gradients: Matrix::zeros(tokens, head_size),
        }
    }
}

/// The sizes of attention and its dropout.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attention<'a> {
    pub(super) kernels: &'a TrainingKernels,
    pub(super) hidden_size: usize,
    pub(super) heads: usize,
    pub(super) site: Site,
    /// The number in the call of the token in row 0.
    pub(super) first_token: usize,
}

/// What the forward pass of attention leaves behind.
#[derive(Clone, Copy)]
pub(super) struct Attended<'a> {
    /// Queries, keys and values of all heads, `[tokens, 3 * hidden_size]`, with another panel readable.
    pub(super) projected: Rows<'a>,
    /// `[tokens, hidden_size]`
    pub(super) context: Rows<'a>,
    /// The logarithms of the sums of each query's exponentials, `[tokens, heads]`.
    pub(super) log_sums: Rows<'a>,
}

impl Attention<'_> {
    fn head_size(&self) -> usize {
        self.hidden_size / self.heads
    }

    /// What the scores are multiplied by.
    fn scale(&self) -> f32 {
        1.0 / (self.head_size() as f32).sqrt()
    }

    /// Multi-head self-attention (Vaswani et al., 2017) of one sequence, whose tokens these are.
    ///
    /// # Safety
    /// Nobody else uses the scratch memory, the context or the logarithms, or writes to `projected`.
    pub(super) unsafe fn forward(
        &self,
        scratch: &AttentionScratch,
        attended: Attended<'_>,
        tokens: Range<usize>,
    ) {
        for head in 0..self.heads {
            // SAFETY: the caller vouches for the memory.
            unsafe {
                self.transpose(attended, &tokens, self.hidden_size, head, &scratch.keys);
                for queries in tiles(tokens.clone()) {
                    self.forward_tile(scratch, attended, &tokens, head, queries);
                }
            }
        }
    }

    /// Copies a head's keys or values into panels; `first` is the first head's first column.
    ///
    /// # Safety
    /// As [`Attention::forward`].
    unsafe fn transpose(
        &self,
        attended: Attended<'_>,
        tokens: &Range<usize>,
        first: usize,
        head: usize,
        panels: &Buffer,
    ) {
        let column = first + head * self.head_size();
        // SAFETY: the scratch memory has room for this many tokens.
        unsafe {
            self.kernels.forward.transpose(Transposition {
                rows: tokens.len(),
                columns: self.head_size(),
                input: attended.projected.pointer(tokens.start).add(column),
                input_stride: attended.projected.stride(),
                panels: panels.pointer(),
            });
        }
    }

    /// Products of some rows' columns of a head with panels of its keys or values.
    ///
    /// # Safety
    /// As [`Attention::forward`]; the panels hold the tokens.
    unsafe fn multiply(
        &self,
        rows: Rows<'_>,
        queries: &Range<usize>,
        head: usize,
        panels: &Buffer,
        keys: usize,
        output: &Matrix,
    ) {
        for key in (0..keys).step_by(PANEL) {
            // SAFETY: the output has room for whole panels of keys.
            unsafe {
                self.kernels.forward.product_f32(Product {
                    rows: queries.len(),
                    units: self.head_size(),
                    input: rows.pointer(queries.start).add(head * self.head_size()).cast(),
                    input_stride: rows.stride(),
                    panel: panels.pointer::<u32>().add(key * self.head_size()),
                    panel_stride: PANEL,
                    bias: NO_BIAS.as_ptr(),
                    output: output.pointer(0).add(key),
                    output_stride: output.stride(),
                });
            }
        }
    }

    /// `output = weights * values`, where the values are columns of rows that lie one after the other.
    ///
    /// # Safety
    /// As [`Attention::forward`].
    unsafe fn gather(
        &self,
        weights: &Matrix,
        queries: usize,
        values: Rows<'_>,
        tokens: &Range<usize>,
        column: usize,
        output: &Matrix,
    ) {
        for offset in (0..self.head_size()).step_by(PANEL) {
            // SAFETY: what a panel has beyond the head is other values or the row's padding, and is left
            // out by who reads the output.
            unsafe {
                self.kernels.forward.product_f32(Product {
                    rows: queries,
                    units: tokens.len(),
                    input: weights.pointer(0).cast(),
                    input_stride: weights.stride(),
                    panel: values.pointer(tokens.start).add(column + offset).cast(),
                    panel_stride: values.stride(),
                    bias: NO_BIAS.as_ptr(),
                    output: output.pointer(0).add(offset),
                    output_stride: output.stride(),
                });
            }
        }
    }

    /// # Safety
    /// As [`Attention::forward`]; the scratch memory holds the keys.
    unsafe fn forward_tile(
        &self,
        scratch: &AttentionScratch,
        attended: Attended<'_>,
        tokens: &Range<usize>,
        head: usize,
        queries: Range<usize>,
    ) {
        let AttentionScratch { scores, gathered, .. } = scratch;
        let (keys, head_size) = (tokens.len(), self.head_size());
        let column = head * head_size;
        // SAFETY: the caller vouches for the memory; the queries are among the rows.
        unsafe {
            self.multiply(attended.projected, &queries, head, &scratch.keys, keys, scores);
            for (row, query) in queries.clone().enumerate() {
                let scores = scores.row_mut(row, 0..keys);
                let log_sum = self.kernels.softmax(scores, self.scale());
                attended.log_sums.row_mut(query, self.heads)[head] = log_sum;
                let row = self.first_token + query;
                self.site.part(head).mask(self.kernels, scores, row);
            }
            let values = 2 * self.hidden_size + column;
            self.gather(scores, queries.len(), attended.projected, tokens, values, gathered);
            for (row, query) in queries.enumerate() {
                let context = attended.context.row_mut(query, column + head_size);
                context[column..].copy_from_slice(gathered.row(row, 0..head_size));
            }
        }
    }

    /// The gradient of queries, keys and values, `[tokens, 3 * hidden_size]`, from that of the context,
    /// `[tokens, hidden_size]` with another panel readable, for one sequence; scores and probabilities are computed again tile by tile
    /// (FlashAttention: Dao et al., 2022).
    ///
    /// # Safety
    /// Nobody else uses the scratch memory or `projected_gradient`, or writes to the rest.
    pub(super) unsafe fn backward(
        &self,
        scratch: &AttentionScratch,
        attended: Attended<'_>,
        context_gradient: Rows<'_>,
        projected_gradient: Rows<'_>,
        tokens: Range<usize>,
    ) {
        let head_size = self.head_size();
        for head in 0..self.heads {
            // SAFETY: the caller vouches for the memory, and the scratch memory has room for the tokens.
            unsafe {
                self.transpose(attended, &tokens, self.hidden_size, head, &scratch.keys);
                self.transpose(attended, &tokens, 2 * self.hidden_size, head, &scratch.values);
                let sums = [&scratch.key_gradients, &scratch.value_gradients];
                for sums in sums {
                    for row in 0..tokens.len() {
                        sums.row_mut(row, 0..head_size.next_multiple_of(PANEL)).fill(0.0);
                    }
                }
                for queries in tiles(tokens.clone()) {
                    self.backward_tile(
                        scratch,
                        attended,
                        context_gradient,
                        projected_gradient,
                        &tokens,
                        head,
                        queries,
                    );
                }
                for (part, sums) in sums.into_iter().enumerate() {
                    let column = (part + 1) * self.hidden_size + head * head_size;
                    for (row, token) in tokens.clone().enumerate() {
                        let gradient = projected_gradient.row_mut(token, column + head_size);
                        gradient[column..].copy_from_slice(sums.row(row, 0..head_size));
                    }
                }
            }
        }
    }

    /// # Safety
    /// As [`Attention::backward`]; the scratch memory holds keys and values.
    #[allow(clippy::too_many_arguments, reason = "a step of one function")]
    unsafe fn backward_tile(
        &self,
        scratch: &AttentionScratch,
        attended: Attended<'_>,
        context_gradient: Rows<'_>,
        projected_gradient: Rows<'_>,
        tokens: &Range<usize>,
        head: usize,
        queries: Range<usize>,
    ) {
        let AttentionScratch { scores, score_gradients, gathered, .. } = scratch;
        let (keys, head_size) = (tokens.len(), self.head_size());
        let column = head * head_size;
        let width = column + head_size;
        // SAFETY: the caller vouches for the memory; the queries are among the rows.
        unsafe {
            self.multiply(attended.projected, &queries, head, &scratch.keys, keys, scores);
            self.multiply(context_gradient, &queries, head, &scratch.values, keys, score_gradients);
            for (row, query) in queries.clone().enumerate() {
                let scores = scores.row_mut(row, 0..keys);
                let gradients = score_gradients.row_mut(row, 0..keys);
                let (site, place) = (self.site.part(head), self.first_token + query);
                let log_sum = attended.log_sums.row(query, self.heads)[head];
                self.kernels.probabilities(scores, self.scale(), log_sum);
                let mean = self.kernels.dot(
                    &context_gradient.row(query, width)[column..],
                    &attended.context.row(query, width)[column..],
                );
                site.mask(self.kernels, gradients, place);
                self.kernels.softmax_backward(scores, gradients, mean, self.scale());
                site.mask(self.kernels, scores, place);
            }
            let keys_column = self.hidden_size + column;
            let count = queries.len();
            self.gather(score_gradients, count, attended.projected, tokens, keys_column, gathered);
            for (row, query) in queries.clone().enumerate() {
                let gradient = projected_gradient.row_mut(query, width);
                gradient[column..].copy_from_slice(gathered.row(row, 0..head_size));
            }
            let values = &scratch.value_gradients;
            self.scatter(scores, &queries, keys, context_gradient, column, values);
            let keys_sums = &scratch.key_gradients;
            self.scatter(score_gradients, &queries, keys, attended.projected, column, keys_sums);
        }
    }

    /// `output += weights^T * values`, for all keys.
    ///
    /// # Safety
    /// As [`Attention::backward`].
    unsafe fn scatter(
        &self,
        weights: &Matrix,
        queries: &Range<usize>,
        keys: usize,
        values: Rows<'_>,
        column: usize,
        output: &Matrix,
    ) {
        for offset in (0..self.head_size()).step_by(PANEL) {
            // SAFETY: as in `gather`.
            unsafe {
                self.kernels.accumulate_f32(Accumulation {
                    rows: keys,
                    units: queries.len(),
                    input: weights.pointer(0).cast(),
                    input_stride: weights.stride(),
                    order: InputOrder::Units,
                    panel: values.pointer(queries.start).add(column + offset).cast(),
                    panel_stride: values.stride(),
                    output: output.pointer(0).add(offset),
                    output_stride: output.stride(),
                    narrow: self.head_size() - offset <= HALF_PANEL,
                });
            }
        }
    }
}

/// Divides queries into tiles of about the same size.
fn tiles(queries: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let count = queries.len().div_ceil(QUERIES);
    (0..count).map(move |tile| {
        let bound = |tile| queries.start + queries.len() * tile / count;
        bound(tile)..bound(tile + 1)
    })
}
