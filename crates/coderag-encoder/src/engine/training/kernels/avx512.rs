//! The kernels for AVX-512.
//!
//! As in the forward pass, a tile of at most 14 rows by two registers of outputs stays in registers along
//! the whole inner dimension.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{Accumulation, InputOrder, Table, elementwise_for, for_each_tile};
use crate::engine::elementwise::LayerNorm;
use crate::engine::training::elementwise::{self, Mask};

/// The table; what BF16 speeds up is AVX2's where it is missing.
pub(super) fn table() -> Table {
    Table {
        accumulate_f32,
        accumulate_bf16: if is_x86_feature_detected!("avx512bf16") {
            accumulate_bf16
        } else {
            super::avx2::accumulate_bf16
        },
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
    }
}

elementwise_for!("avx512f,avx512bw,avx512dq,avx512vl,fma");

/// Adds a tile's products to its outputs: `$multiply_add` of a broadcast input unit and a register of
/// weights into each sum.
macro_rules! tile {
    ($registers:literal, $accumulation:ident, $row:ident, $rows:ident, $by_unit:ident, $multiply_add:expr) => {
        // SAFETY: the caller vouches for the operands; every offset is within their sizes.
        unsafe {
            let output =
                |row: usize| $accumulation.output.add(($row + row) * $accumulation.output_stride);
            let mut sums: [[__m512; $registers]; $rows] = std::array::from_fn(|row| {
                std::array::from_fn(|register| _mm512_loadu_ps(output(row).add(16 * register)))
            });
            let stride = $accumulation.input_stride;
            let inputs: [*const u32; $rows] = std::array::from_fn(|row| {
                let row = $row + row;
                $accumulation.input.add(if $by_unit { row } else { row * stride })
            });
            let mut panel = $accumulation.panel;
            for unit in 0..$accumulation.units {
                let weights: [__m512i; $registers] = std::array::from_fn(|register| {
                    _mm512_loadu_epi32(panel.add(16 * register).cast())
                });
                panel = panel.add($accumulation.panel_stride);
                for row in 0..$rows {
                    let input = if $by_unit {
                        inputs[0].add(unit * stride + row)
                    } else {
                        inputs[row].add(unit)
                    };
                    let input = _mm512_set1_epi32(*input as i32);
                    for register in 0..$registers {
                        let sum = sums[row][register];
                        sums[row][register] = $multiply_add(sum, input, weights[register]);
                    }
                }
            }
            for row in 0..$rows {
                for register in 0..$registers {
                    _mm512_storeu_ps(output(row).add(16 * register), sums[row][register]);
                }
            }
        }
    };
}

/// # Safety
/// As `TrainingKernels` says.
#[target_feature(enable = "avx512f")]
unsafe fn accumulate_f32(accumulation: Accumulation) {
    for_each_tile!(14, [1 2 3 4 5 6 7 8 9 10 11 12 13 14], accumulation, |at| tile_f32(&accumulation, at));
}

/// # Safety
/// As `TrainingKernels` says; `row + ROWS` is at most the rows.
#[target_feature(enable = "avx512f")]
unsafe fn tile_f32<const ROWS: usize, const BY_UNIT: bool>(
    accumulation: &Accumulation,
    row: usize,
) {
    let multiply_add = |sum, input, weights| {
        _mm512_fmadd_ps(_mm512_castsi512_ps(input), _mm512_castsi512_ps(weights), sum)
    };
    if accumulation.narrow {
        tile!(1, accumulation, row, ROWS, BY_UNIT, multiply_add);
    } else {
        tile!(2, accumulation, row, ROWS, BY_UNIT, multiply_add);
    }
}

/// # Safety
/// As `TrainingKernels` says.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn accumulate_bf16(accumulation: Accumulation) {
    for_each_tile!(14, [1 2 3 4 5 6 7 8 9 10 11 12 13 14], accumulation, |at| tile_bf16(&accumulation, at));
}

/// # Safety
/// As `TrainingKernels` says; `row + ROWS` is at most the rows.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn tile_bf16<const ROWS: usize, const BY_UNIT: bool>(
    accumulation: &Accumulation,
    row: usize,
) {
    let multiply_add = |sum, input, weights| {
        // SAFETY: any bits are bf16 values.
        let bf16 = |bits| unsafe { std::mem::transmute::<__m512i, __m512bh>(bits) };
        _mm512_dpbf16_ps(sum, bf16(input), bf16(weights))
    };
    if accumulation.narrow {
        tile!(1, accumulation, row, ROWS, BY_UNIT, multiply_add);
    } else {
        tile!(2, accumulation, row, ROWS, BY_UNIT, multiply_add);
    }
}
