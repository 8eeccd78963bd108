//! The innermost loops that training has beyond the forward pass's, for each instruction set.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;
#[cfg(test)]
mod tests;

use super::elementwise::Mask;
use crate::engine::Cpu;
use crate::engine::elementwise::LayerNorm;
use crate::engine::kernels::{Kernels, PANEL};

/// A matrix product with one panel of 32 outputs that is added to what is there:
/// `output += input * panel`.
///
/// Units, panel and strides are as in the forward pass's
/// [`Product`](crate::engine::kernels::Product).
#[derive(Clone, Copy)]
pub(super) struct Accumulation {
    /// How many rows the output has.
    pub(super) rows: usize,
    /// How many units the inner dimension has.
    pub(super) units: usize,
    pub(super) input: *const u32,
    pub(super) input_stride: usize,
    pub(super) order: InputOrder,
    /// `[units, PANEL]`.
    pub(super) panel: *const u32,
    pub(super) panel_stride: usize,
    /// `[rows, PANEL]`.
    pub(super) output: *mut f32,
    pub(super) output_stride: usize,
    /// Whether only the first [`HALF_PANEL`] outputs are computed.
    pub(super) narrow: bool,
}

/// Half as many outputs as a panel has.
pub(super) const HALF_PANEL: usize = PANEL / 2;

/// How the input of an [`Accumulation`] lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InputOrder {
    /// `[rows, units]`: the states of tokens, multiplied to weights.
    Rows,
    /// `[units, rows]`: the inner dimension is tokens, and the product is a weight gradient.
    Units,
}

/// The kernels of one instruction set: the forward pass's and those of training.
///
/// The functions may be called on a CPU that has the set; the products also need every pointer of their
/// arguments to be valid for the sizes and strides that stand beside it, the output's for writing and by
/// nobody else. Only [`TrainingKernels::for_cpu`] makes a table, and it checks the CPU.
pub(super) struct TrainingKernels {
    pub(super) forward: &'static Kernels,
    table: Table,
}

struct Table {
    accumulate_f32: unsafe fn(Accumulation),
    accumulate_bf16: unsafe fn(Accumulation),
    normalize: unsafe fn(&mut [f32], &[f32], LayerNorm<'_>, &mut [f32]) -> f32,
    scale_and_shift: unsafe fn(&[f32], LayerNorm<'_>, &mut [f32]),
    normalize_backward: unsafe fn(&mut [f32], &[f32], &[f32], f32),
    add_product: unsafe fn(&mut [f32], &[f32], &[f32]),
    gelu_backward: unsafe fn(&[f32], &mut [f32], &mut [f32]),
    softmax: unsafe fn(&mut [f32], f32) -> f32,
    probabilities: unsafe fn(&mut [f32], f32, f32),
    softmax_backward: unsafe fn(&[f32], &mut [f32], f32, f32),
    dot: unsafe fn(&[f32], &[f32]) -> f32,
    pair_bf16: unsafe fn(&[f32], &[f32], &mut [u32]),
    mask: unsafe fn(&mut [f32], Mask),
}

impl std::fmt::Debug for TrainingKernels {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "TrainingKernels({})", self.forward.cpu())
    }
}

#[allow(unsafe_code)]
impl TrainingKernels {
    /// The kernels for an instruction set, or the portable ones where this machine lacks it.
    pub(super) fn for_cpu(cpu: Cpu) -> Self {
        let forward = Kernels::for_cpu(cpu);
        let table = match forward.cpu() {
            #[cfg(target_arch = "x86_64")]
            Cpu::Avx512 => avx512::table(),
            #[cfg(target_arch = "x86_64")]
            Cpu::Avx2 => avx2::TABLE,
            _ => portable::TABLE,
        };
        Self { forward, table }
    }

    /// The product in f32.
    ///
    /// # Safety
    /// As [`TrainingKernels`] says of pointers.
    pub(super) unsafe fn accumulate_f32(&self, accumulation: Accumulation) {
        // SAFETY: the caller vouches for the pointers, `for_cpu` for the CPU.
        unsafe { (self.table.accumulate_f32)(accumulation) }
    }

    /// The product of bf16 values with sums in f32.
    ///
    /// # Safety
    /// As [`TrainingKernels`] says of pointers.
    pub(super) unsafe fn accumulate_bf16(&self, accumulation: Accumulation) {
        // SAFETY: the caller vouches for the pointers, `for_cpu` for the CPU.
        unsafe { (self.table.accumulate_bf16)(accumulation) }
    }

    /// See [`normalize`](super::elementwise::normalize).
    pub(super) fn normalize(
        &self,
        row: &mut [f32],
        residual: &[f32],
        norm: LayerNorm<'_>,
        normalized: &mut [f32],
    ) -> f32 {
        // SAFETY: `for_cpu` has checked the CPU.
        unsafe { (self.table.normalize)(row, residual, norm, normalized) }
    }

    /// See [`scale_and_shift`](super::elementwise::scale_and_shift).
    pub(super) fn scale_and_shift(
        &self,
        normalized: &[f32],
        norm: LayerNorm<'_>,
        output: &mut [f32],
    ) {
        // SAFETY: `for_cpu` has checked the CPU.
        unsafe { (self.table.scale_and_shift)(normalized, norm, output) }
    }

    /// See [`normalize_backward`](super::elementwise::normalize_backward).
    pub(super) fn normalize_backward(
        &self,
        gradient: &mut [f32],
        normalized: &[f32],
        weight: &[f32],
        scale: f32,
    ) {
        // SAFETY: `for_cpu` has checked the CPU.
        unsafe { (self.table.normalize_backward)(gradient, normalized, weight, scale) }
    }

    /// See [`add_product`](super::elementwise::add_product).
    pub(super) fn add_product(&self, sums: &mut [f32], left: &[f32], right: &[f32]) {
        // SAFETY: `for_cpu` has checked the CPU.
        unsafe { (self.table.add_product)(sums, left, right) }
    }

    /// See [`gelu_backward`](super::elementwise::gelu_backward).
    pub(super) fn gelu_backward(
        &self,
        inputs: &[f32],
        gradient: &mut [f32],
        activated: &mut [f32],
    ) {
        // SAFETY: `for_cpu` has checked the CPU.
        unsafe { (self.table.gelu_backward)(inputs, gradient, activated) }
    }

    /// See [`softmax`](super::elementwise::softmax).
    pub(super) fn softmax(&self, scores: &mut [f32], scale: f32) -> f32 {
        // SAFETY: `for_cpu` has checked the CPU.
        unsafe { (self.table.softmax)(scores, scale) }
    }

    /// See [`probabilities`](super::elementwise::probabilities).
    pub(super) fn probabilities(&self, scores: &mut [f32], scale: f32, log_sum: f32) {
        // SAFETY: `for_cpu` has checked the CPU.
        unsafe { (self.table.probabilities)(scores, scale, log_sum) }
    }

    /// See [`softmax_backward`](super::elementwise::softmax_backward).
    pub(super) fn softmax_backward(
        &self,
        probabilities: &[f32],
        gradient: &mut [f32],
        mean: f32,
        scale: f32,
    ) {
        // SAFETY: `for_cpu` has checked the CPU.
        unsafe { (self.table.softmax_backward)(probabilities, gradient, mean, scale) }
    }

    /// See [`dot`](super::elementwise::dot).
    pub(super) fn dot(&self, left: &[f32], right: &[f32]) -> f32 {
        // SAFETY: `for_cpu` has checked the CPU.
        unsafe { (self.table.dot)(left, right) }
    }

    /// See [`pair_bf16`](super::elementwise::pair_bf16).
    pub(super) fn pair_bf16(&self, first: &[f32], second: &[f32], pairs: &mut [u32]) {
        // SAFETY: `for_cpu` has checked the CPU.
        unsafe { (self.table.pair_bf16)(first, second, pairs) }
    }

    /// See [`mask`](super::elementwise::mask).
    pub(super) fn mask(&self, values: &mut [f32], mask: Mask) {
        // SAFETY: `for_cpu` has checked the CPU.
        unsafe { (self.table.mask)(values, mask) }
    }
}

/// Compiles the functions of `elementwise` for an instruction set, as functions of the same names.
macro_rules! elementwise_for {
    ($features:literal) => {
        #[target_feature(enable = $features)]
        fn normalize(
            row: &mut [f32],
            residual: &[f32],
            norm: LayerNorm<'_>,
            normalized: &mut [f32],
        ) -> f32 {
            elementwise::normalize::<true>(row, residual, norm, normalized)
        }

        #[target_feature(enable = $features)]
        fn scale_and_shift(normalized: &[f32], norm: LayerNorm<'_>, output: &mut [f32]) {
            elementwise::scale_and_shift::<true>(normalized, norm, output);
        }

        #[target_feature(enable = $features)]
        fn normalize_backward(
            gradient: &mut [f32],
            normalized: &[f32],
            weight: &[f32],
            scale: f32,
        ) {
            elementwise::normalize_backward::<true>(gradient, normalized, weight, scale);
        }

        #[target_feature(enable = $features)]
        fn add_product(sums: &mut [f32], left: &[f32], right: &[f32]) {
            elementwise::add_product::<true>(sums, left, right);
        }

        #[target_feature(enable = $features)]
        fn gelu_backward(inputs: &[f32], gradient: &mut [f32], activated: &mut [f32]) {
            elementwise::gelu_backward::<true>(inputs, gradient, activated);
        }

        #[target_feature(enable = $features)]
        fn softmax(scores: &mut [f32], scale: f32) -> f32 {
            elementwise::softmax::<true>(scores, scale)
        }

        #[target_feature(enable = $features)]
        fn probabilities(scores: &mut [f32], scale: f32, log_sum: f32) {
            elementwise::probabilities::<true>(scores, scale, log_sum);
        }

        #[target_feature(enable = $features)]
        fn softmax_backward(probabilities: &[f32], gradient: &mut [f32], mean: f32, scale: f32) {
            elementwise::softmax_backward(probabilities, gradient, mean, scale);
        }

        #[target_feature(enable = $features)]
        fn dot(left: &[f32], right: &[f32]) -> f32 {
            elementwise::dot::<true>(left, right)
        }

        #[target_feature(enable = $features)]
        fn pair_bf16(first: &[f32], second: &[f32], pairs: &mut [u32]) {
            elementwise::pair_bf16(first, second, pairs);
        }

        #[target_feature(enable = $features)]
        fn mask(values: &mut [f32], mask: Mask) {
            elementwise::mask(values, mask);
        }
    };
}
#[cfg(target_arch = "x86_64")]
use elementwise_for;

/// Computes an accumulation tile by tile through the function `$tile`, which has the number of rows of a
/// tile and whether the input lies unit by unit as constant parameters. The rows are divided evenly, so
/// that no tile is too small to keep the arithmetic units busy.
macro_rules! for_each_tile {
    ($most:literal, [$($rows:literal)*], $accumulation:expr, |$at:ident| $tile:ident $arguments:tt) => {{
        let accumulation: Accumulation = $accumulation;
        let tiles = accumulation.rows.div_ceil($most);
        let mut $at = 0;
        for tile in 0..tiles {
            let size = (accumulation.rows - $at).div_ceil(tiles - tile);
            match (size, accumulation.order) {
                // SAFETY: `$at + size` is at most `rows`, and the caller vouches for the rest.
                $(($rows, InputOrder::Rows) => unsafe { $tile::<$rows, false> $arguments },)*
                // SAFETY: as above.
                $(($rows, InputOrder::Units) => unsafe { $tile::<$rows, true> $arguments },)*
                _ => unreachable!("a tile has at most {} rows", $most),
            }
            $at += size;
        }
    }};
}
#[cfg(target_arch = "x86_64")]
use for_each_tile;
