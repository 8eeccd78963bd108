//! The kernels for AVX2 with FMA.
//!
//! As in the forward pass, a panel is worked through in two halves of two registers, a tile of at most 6
//! rows at a time.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{Accumulation, InputOrder, Table, elementwise_for, for_each_tile};
use crate::engine::elementwise::LayerNorm;
use crate::engine::training::elementwise::{self, Mask};

pub(super) const TABLE: Table = Table {
    accumulate_f32,
    accumulate_bf16,
    normalize,
    scale_and_shift,
    normalize_backward,
    add_product,
    gelu_backward,
    softmax,
    probabilities,
    softmax_backward,
    dot,
    pair_bf16,
    mask,
};

elementwise_for!("avx2,fma");

/// Where the outputs of a half of a panel begin.
const HALVES: [usize; 2] = [0, 16];

/// Adds a tile's products to its outputs: `$multiply_add` of a broadcast input unit and a register of
/// weights into each sum.
macro_rules! tile {
    ($accumulation:ident, $half:ident, $row:ident, $rows:ident, $by_unit:ident, $multiply_add:expr) => {
        // SAFETY: the caller vouches for the operands; every offset is within their sizes.
        unsafe {
            let output = |row: usize| {
                $accumulation.output.add(($row + row) * $accumulation.output_stride + $half)
            };
            let mut sums: [[__m256; 2]; $rows] = std::array::from_fn(|row| {
                [_mm256_loadu_ps(output(row)), _mm256_loadu_ps(output(row).add(8))]
            });
            let stride = $accumulation.input_stride;
            let inputs: [*const u32; $rows] = std::array::from_fn(|row| {
                let row = $row + row;
                $accumulation.input.add(if $by_unit { row } else { row * stride })
            });
            let mut panel = $accumulation.panel.add($half);
            for unit in 0..$accumulation.units {
                let weights =
                    [_mm256_loadu_si256(panel.cast()), _mm256_loadu_si256(panel.add(8).cast())];
                panel = panel.add($accumulation.panel_stride);
                for row in 0..$rows {
                    let input = if $by_unit {
                        inputs[0].add(unit * stride + row)
                    } else {
                        inputs[row].add(unit)
                    };
                    let input = _mm256_set1_epi32(*input as i32);
                    sums[row][0] = $multiply_add(sums[row][0], input, weights[0]);
                    sums[row][1] = $multiply_add(sums[row][1], input, weights[1]);
                }
            }
            for row in 0..$rows {
                _mm256_storeu_ps(output(row), sums[row][0]);
                _mm256_storeu_ps(output(row).add(8), sums[row][1]);
            }
        }
    };
}

/// # Safety
/// As `TrainingKernels` says.
#[target_feature(enable = "avx2,fma")]
unsafe fn accumulate_f32(accumulation: Accumulation) {
    for &half in &HALVES[..if accumulation.narrow { 1 } else { 2 }] {
        for_each_tile!(6, [1 2 3 4 5 6], accumulation, |at| tile_f32(&accumulation, half, at));
    }
}

/// # Safety
/// As `TrainingKernels` says; `row + ROWS` is at most the rows and `half` one of `HALVES`.
#[target_feature(enable = "avx2,fma")]
unsafe fn tile_f32<const ROWS: usize, const BY_UNIT: bool>(
    accumulation: &Accumulation,
    half: usize,
    row: usize,
) {
    tile!(accumulation, half, row, ROWS, BY_UNIT, |sum, input, weights| _mm256_fmadd_ps(
        _mm256_castsi256_ps(input),
        _mm256_castsi256_ps(weights),
        sum
    ));
}

/// # Safety
/// As `TrainingKernels` says.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn accumulate_bf16(accumulation: Accumulation) {
    for &half in &HALVES[..if accumulation.narrow { 1 } else { 2 }] {
        for_each_tile!(6, [1 2 3 4 5 6], accumulation, |at| tile_bf16(&accumulation, half, at));
    }
}

/// # Safety
/// As `TrainingKernels` says; `row + ROWS` is at most the rows and `half` one of `HALVES`.
#[target_feature(enable = "avx2,fma")]
unsafe fn tile_bf16<const ROWS: usize, const BY_UNIT: bool>(
    accumulation: &Accumulation,
    half: usize,
    row: usize,
) {
    // A unit holds two values: the upper half of an f32 each.
    let low = |units| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(units));
    let high = |units| {
        _mm256_castsi256_ps(_mm256_and_si256(units, _mm256_set1_epi32(0xffff_0000_u32 as i32)))
    };
    tile!(accumulation, half, row, ROWS, BY_UNIT, |sum, input, weights| {
        let sum = _mm256_fmadd_ps(low(input), low(weights), sum);
        _mm256_fmadd_ps(high(input), high(weights), sum)
    });
}
