//! The kernels for AVX2 with FMA.
//!
//! A panel is worked through in two halves of two registers: a tile of at most 6 rows has 12 sums, two
//! registers of weights and one for the input.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{Dequantization, Kernels, Product, elementwise_for, for_each_tile, portable};
use crate::engine::Cpu;
use crate::engine::elementwise::{self, LayerNorm, Quantized, RmsNorm};

pub(super) static KERNELS: Kernels = Kernels {
    cpu: Cpu::Avx2,
    f32: product_f32,
    bf16: product_bf16,
    int8: product_int8,
    gelu,
    silu_and_multiply,
    exponentials,
    add_and_normalize,
    normalize_rms,
    rotate,
    add_scaled,
    quantize,
    to_bf16,
    transpose: portable::transpose,
};

elementwise_for!("avx2,fma", true);

/// Where the outputs of a half of a panel begin.
const HALVES: [usize; 2] = [0, 16];

/// The sums of a tile: `$multiply_add` of a broadcast input unit and a register of weights into each.
macro_rules! tile_sums {
    ($product:ident, $row:ident, $outputs:ident, $rows:ident, $start:expr, $multiply_add:expr) => {{
        let start = $start;
        let mut sums = [start; $rows];
        // SAFETY: the caller vouches for the operands; every offset is within their sizes.
        unsafe {
            let inputs: [*const u32; $rows] =
                std::array::from_fn(|row| $product.input.add(($row + row) * $product.input_stride));
            let mut panel = $product.panel.add($outputs);
            for unit in 0..$product.units {
                let weights =
                    [_mm256_loadu_si256(panel.cast()), _mm256_loadu_si256(panel.add(8).cast())];
                panel = panel.add($product.panel_stride);
                for row in 0..$rows {
                    let input = _mm256_set1_epi32(*inputs[row].add(unit) as i32);
                    sums[row][0] = $multiply_add(sums[row][0], input, weights[0]);
                    sums[row][1] = $multiply_add(sums[row][1], input, weights[1]);
                }
            }
        }
        sums
    }};
}

/// # Safety
/// As `Kernels` says.
#[target_feature(enable = "avx2,fma")]
unsafe fn product_f32(product: Product) {
    for outputs in HALVES {
        for_each_tile!(6, [1 2 3 4 5 6], product, |at| tile_f32(&product, outputs, at));
    }
}

/// # Safety
/// As `Kernels` says; `row + ROWS` is at most the product's rows and `outputs` one of `HALVES`.
#[target_feature(enable = "avx2,fma")]
unsafe fn tile_f32<const ROWS: usize>(product: &Product, outputs: usize, row: usize) {
    // SAFETY: the caller vouches for the pointers.
    let bias = unsafe { bias(product, outputs) };
    let sums = tile_sums!(product, row, outputs, ROWS, bias, |sum, input, weights| {
        _mm256_fmadd_ps(_mm256_castsi256_ps(input), _mm256_castsi256_ps(weights), sum)
    });
    // SAFETY: the caller vouches for the output.
    unsafe { store(product, outputs, row, sums) }
}

/// # Safety
/// As `Kernels` says.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn product_bf16(product: Product) {
    for outputs in HALVES {
        for_each_tile!(6, [1 2 3 4 5 6], product, |at| tile_bf16(&product, outputs, at));
    }
}

/// # Safety
/// As `Kernels` says; `row + ROWS` is at most the product's rows and `outputs` one of `HALVES`.
#[target_feature(enable = "avx2,fma")]
unsafe fn tile_bf16<const ROWS: usize>(product: &Product, outputs: usize, row: usize) {
    // A unit holds two values: the upper half of an f32 each.
    let low = |units| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(units));
    let high = |units| {
        _mm256_castsi256_ps(_mm256_and_si256(units, _mm256_set1_epi32(0xffff_0000_u32 as i32)))
    };
    // SAFETY: the caller vouches for the operands; every offset is within their sizes.
    let sums = unsafe {
        let mut sums = [bias(product, outputs); ROWS];
        let inputs: [*const u32; ROWS] =
            std::array::from_fn(|at| product.input.add((row + at) * product.input_stride));
        let mut panel = product.panel.add(outputs);
        for unit in 0..product.units {
            let units = [_mm256_loadu_si256(panel.cast()), _mm256_loadu_si256(panel.add(8).cast())];
            panel = panel.add(product.panel_stride);
            // All lower halves and then all upper ones: with both at a time the registers do not suffice.
            let weights = units.map(low);
            for (sums, input) in sums.iter_mut().zip(inputs) {
                let input = low(_mm256_set1_epi32(*input.add(unit) as i32));
                sums[0] = _mm256_fmadd_ps(input, weights[0], sums[0]);
                sums[1] = _mm256_fmadd_ps(input, weights[1], sums[1]);
            }
            let weights = units.map(high);
            for (sums, input) in sums.iter_mut().zip(inputs) {
                let input = high(_mm256_set1_epi32(*input.add(unit) as i32));
                sums[0] = _mm256_fmadd_ps(input, weights[0], sums[0]);
                sums[1] = _mm256_fmadd_ps(input, weights[1], sums[1]);
            }
        }
        sums
    };
    // SAFETY: the caller vouches for the output.
    unsafe { store(product, outputs, row, sums) }
}

/// # Safety
/// As `Kernels` says.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn product_int8(product: Product, dequantization: Dequantization) {
    for outputs in HALVES {
        for_each_tile!(6, [1 2 3 4 5 6], product, |at| tile_int8(
            &product,
            &dequantization,
            outputs,
            at
        ));
    }
}

/// # Safety
/// As `Kernels` says; `row + ROWS` is at most the product's rows and `outputs` one of `HALVES`.
#[target_feature(enable = "avx2,fma")]
unsafe fn tile_int8<const ROWS: usize>(
    product: &Product,
    dequantization: &Dequantization,
    outputs: usize,
    row: usize,
) {
    // `maddubs` wants one operand unsigned and saturates beyond 16 bits. With the sign moved from the
    // weight to the input, which 128 less makes signed, two products are at most 2 * 127 * 127.
    let dot = |sum, input, weights| {
        let input = _mm256_xor_si256(input, _mm256_set1_epi8(-128));
        let signed = _mm256_sign_epi8(input, weights);
        let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(weights), signed);
        _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
    };
    let sums = tile_sums!(product, row, outputs, ROWS, [_mm256_setzero_si256(); 2], dot);
    let mut values = [[_mm256_setzero_ps(); 2]; ROWS];
    // SAFETY: each row has its `Quantized`, each output its scale, sum and bias.
    unsafe {
        let bias = bias(product, outputs);
        for (at, (values, sums)) in values.iter_mut().zip(sums).enumerate() {
            let read = *dequantization.inputs.add(row + at);
            for half in 0..2 {
                let outputs = outputs + half * 8;
                let weights = _mm256_loadu_si256(dequantization.sums.add(outputs).cast());
                let zero = _mm256_set1_epi32(read.zero - 128);
                let excess = _mm256_mullo_epi32(zero, weights);
                let sum = _mm256_cvtepi32_ps(_mm256_sub_epi32(sums[half], excess));
                let scale = _mm256_mul_ps(
                    _mm256_set1_ps(read.scale),
                    _mm256_loadu_ps(dequantization.scales.add(outputs)),
                );
                values[half] = _mm256_fmadd_ps(sum, scale, bias[half]);
            }
        }
        store(product, outputs, row, values);
    }
}

/// # Safety
/// The bias is valid and `outputs` one of `HALVES`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn bias(product: &Product, outputs: usize) -> [__m256; 2] {
    // SAFETY: a bias has 32 values.
    unsafe {
        let bias = product.bias.add(outputs);
        [_mm256_loadu_ps(bias), _mm256_loadu_ps(bias.add(8))]
    }
}

/// # Safety
/// The output is valid for `ROWS` rows from `row`, and `outputs` one of `HALVES`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store<const ROWS: usize>(
    product: &Product,
    outputs: usize,
    row: usize,
    values: [[__m256; 2]; ROWS],
) {
    for (at, values) in values.into_iter().enumerate() {
        // SAFETY: the row is one of the output's, which has 32 values.
        unsafe {
            let output = product.output.add((row + at) * product.output_stride + outputs);
            _mm256_storeu_ps(output, values[0]);
            _mm256_storeu_ps(output.add(8), values[1]);
        }
    }
}
