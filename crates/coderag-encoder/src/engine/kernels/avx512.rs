//! The kernels for AVX-512.
//!
//! A tile of at most 14 rows by two registers of outputs stays in registers along the whole inner
//! dimension: 28 sums, two registers of weights and one for the input.

#![allow(unsafe_code)]

use std::arch::x86_64::*;
use std::sync::LazyLock;

use super::{Dequantization, Kernels, Product, elementwise_for, for_each_tile, portable};
use crate::engine::Cpu;
use crate::engine::elementwise::{self, LayerNorm, Quantized, RmsNorm};

/// The table; what VNNI and BF16 speed up is AVX2's or the portable kernel where they are missing.
pub(super) fn kernels() -> &'static Kernels {
    static KERNELS: LazyLock<Kernels> = LazyLock::new(|| Kernels {
        cpu: Cpu::Avx512,
        f32: product_f32,
        bf16: if is_x86_feature_detected!("avx512bf16") {
            product_bf16
        } else {
            super::avx2::product_bf16
        },
        int8: if is_x86_feature_detected!("avx512vnni") {
            product_int8
        } else {
            super::avx2::product_int8
        },
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
    });
    &KERNELS
}

elementwise_for!("avx512f,avx512bw,avx512dq,avx512vl,fma", true);

/// The sums of a tile: `$multiply_add` of a broadcast input unit and a register of weights into each.
macro_rules! tile_sums {
    ($product:ident, $row:ident, $rows:ident, $start:expr, $multiply_add:expr) => {{
        let start = $start;
        let mut sums = [start; $rows];
        // SAFETY: the caller vouches for the operands; every offset is within their sizes.
        unsafe {
            let inputs: [*const u32; $rows] =
                std::array::from_fn(|row| $product.input.add(($row + row) * $product.input_stride));
            let mut panel = $product.panel;
            for unit in 0..$product.units {
                let weights =
                    [_mm512_loadu_epi32(panel.cast()), _mm512_loadu_epi32(panel.add(16).cast())];
                panel = panel.add($product.panel_stride);
                for row in 0..$rows {
                    let input = _mm512_set1_epi32(*inputs[row].add(unit) as i32);
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
#[target_feature(enable = "avx512f")]
unsafe fn product_f32(product: Product) {
    for_each_tile!(14, [1 2 3 4 5 6 7 8 9 10 11 12 13 14], product, |at| tile_f32(&product, at));
}

/// # Safety
/// As `Kernels` says; `row + ROWS` is at most the product's rows.
#[target_feature(enable = "avx512f")]
unsafe fn tile_f32<const ROWS: usize>(product: &Product, row: usize) {
    // SAFETY: a bias has 32 values.
    let bias = unsafe { [_mm512_loadu_ps(product.bias), _mm512_loadu_ps(product.bias.add(16))] };
    let sums = tile_sums!(product, row, ROWS, bias, |sum, input, weights| _mm512_fmadd_ps(
        _mm512_castsi512_ps(input),
        _mm512_castsi512_ps(weights),
        sum
    ));
    // SAFETY: the caller vouches for the output.
    unsafe { store(product, row, sums) }
}

/// # Safety
/// As `Kernels` says.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn product_bf16(product: Product) {
    for_each_tile!(14, [1 2 3 4 5 6 7 8 9 10 11 12 13 14], product, |at| tile_bf16(&product, at));
}

/// # Safety
/// As `Kernels` says; `row + ROWS` is at most the product's rows.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn tile_bf16<const ROWS: usize>(product: &Product, row: usize) {
    // SAFETY: a bias has 32 values.
    let bias = unsafe { [_mm512_loadu_ps(product.bias), _mm512_loadu_ps(product.bias.add(16))] };
    let sums = tile_sums!(product, row, ROWS, bias, |sum, input, weights| {
        // SAFETY: any bits are bf16 values.
        let bf16 = |bits| std::mem::transmute::<__m512i, __m512bh>(bits);
        _mm512_dpbf16_ps(sum, bf16(input), bf16(weights))
    });
    // SAFETY: the caller vouches for the output.
    unsafe { store(product, row, sums) }
}

/// # Safety
/// As `Kernels` says.
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn product_int8(product: Product, dequantization: Dequantization) {
    for_each_tile!(14, [1 2 3 4 5 6 7 8 9 10 11 12 13 14], product, |at| tile_int8(
        &product,
        &dequantization,
        at
    ));
}

/// # Safety
/// As `Kernels` says; `row + ROWS` is at most the product's rows.
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn tile_int8<const ROWS: usize>(
    product: &Product,
    dequantization: &Dequantization,
    row: usize,
) {
    let sums =
        tile_sums!(product, row, ROWS, [_mm512_setzero_si512(); 2], |sum, input, weights| {
            _mm512_dpbusd_epi32(sum, input, weights)
        });
    let mut values = [[_mm512_setzero_ps(); 2]; ROWS];
    // SAFETY: each row has its `Quantized`, each output its scale, sum and bias.
    unsafe {
        for (at, (values, sums)) in values.iter_mut().zip(sums).enumerate() {
            let read = *dequantization.inputs.add(row + at);
            for half in 0..2 {
                let outputs = half * 16;
                let weights = _mm512_loadu_epi32(dequantization.sums.add(outputs));
                let excess = _mm512_mullo_epi32(_mm512_set1_epi32(read.zero), weights);
                let sum = _mm512_cvtepi32_ps(_mm512_sub_epi32(sums[half], excess));
                let scale = _mm512_mul_ps(
                    _mm512_set1_ps(read.scale),
                    _mm512_loadu_ps(dequantization.scales.add(outputs)),
                );
                values[half] =
                    _mm512_fmadd_ps(sum, scale, _mm512_loadu_ps(product.bias.add(outputs)));
            }
        }
        store(product, row, values);
    }
}

/// # Safety
/// The output is valid for `ROWS` rows from `row`.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn store<const ROWS: usize>(product: &Product, row: usize, values: [[__m512; 2]; ROWS]) {
    for (at, values) in values.into_iter().enumerate() {
        // SAFETY: the row is one of the output's, which has 32 values.
        unsafe {
            let output = product.output.add((row + at) * product.output_stride);
            _mm512_storeu_ps(output, values[0]);
            _mm512_storeu_ps(output.add(16), values[1]);
        }
    }
}
