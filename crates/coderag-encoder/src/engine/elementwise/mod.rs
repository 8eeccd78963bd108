//! The steps between matrix products, written as plain loops over [`LANES`] values at a time. Compiled
//! once for each instruction set (in `kernels`), where they become vector instructions; `FUSED` says
//! whether that set multiplies and adds in one.

mod activation;
mod normalization;
mod quantization;
mod rotation;
mod softmax;

pub(super) use activation::{erf, gelu, silu_and_multiply};
pub(super) use normalization::{LayerNorm, RmsNorm, add_and_normalize, normalize_rms};
pub(super) use quantization::{Quantized, nearest, quantize, to_bf16};
pub(super) use rotation::rotate;
pub(super) use softmax::exponentials;

/// How many values are worked on together: one AVX-512 register.
pub(super) const LANES: usize = 16;

pub(super) type Lanes = [f32; LANES];

/// Added to a number below 2^22 in size, it rounds it to the nearest whole number, ties to even, which
/// then stands in the low bits.
const ROUND: f32 = 12_582_912.0;

#[inline(always)]
pub(super) fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    // Without the instruction `mul_add` is a slow library call.
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// Applies `function` to every value, [`LANES`] at a time.
#[inline(always)]
fn for_each_lanes(values: &mut [f32], function: impl Fn(&mut Lanes)) {
    let (chunks, rest) = values.as_chunks_mut::<LANES>();
    for chunk in chunks {
        function(chunk);
    }
    if !rest.is_empty() {
        let mut chunk = [0.0; LANES];
        chunk[..rest.len()].copy_from_slice(rest);
        function(&mut chunk);
        rest.copy_from_slice(&chunk[..rest.len()]);
    }
}

/// As one instruction does it: the second where the first is not a number.
#[inline(always)]
fn smaller(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// As one instruction does it: the second where the first is not a number.
#[inline(always)]
pub(super) fn greater(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// The sum of a register's values, pairwise.
#[inline(always)]
pub(super) fn sum(mut lanes: Lanes) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for index in 0..width {
            lanes[index] += lanes[index + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// Visits the values of two rows with [`LANES`] sums in turn and returns the sum of the sums.
#[inline(always)]
pub(super) fn accumulate(
    row: &mut [f32],
    other: &[f32],
    visit: impl Fn(&mut f32, f32, &mut f32),
) -> f32 {
    let mut sums = [0.0; LANES];
    let (chunks, rest) = row.as_chunks_mut::<LANES>();
    let (others, others_rest) = other.as_chunks::<LANES>();
    for (chunk, other) in chunks.iter_mut().zip(others) {
        for lane in 0..LANES {
            visit(&mut chunk[lane], other[lane], &mut sums[lane]);
        }
    }
    for ((value, &other), sum) in rest.iter_mut().zip(others_rest).zip(&mut sums) {
        visit(value, other, sum);
    }
    sum(sums)
}

/// e to the power x within 2 units in the last place, for x of at most 0; below -87 it is e^-87, which
/// is nothing beside 1.
#[inline(always)]
pub(super) fn exp_of_negative<const FUSED: bool>(x: f32) -> f32 {
    // x = n ln 2 + r with n whole and |r| at most ln 2 / 2; ln 2 in two parts so that r is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = x.max(-87.0);
    let shifted = multiply_add::<FUSED>(x, std::f32::consts::LOG2_E, ROUND);
    let whole = shifted - ROUND;
    let r = multiply_add::<FUSED>(whole, -LN_2_HIGH, x);
    let r = multiply_add::<FUSED>(whole, -LN_2_LOW, r);
    // Cephes' polynomial for e^r.
    let mut value = 1.987_569_2e-4;
    for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        value = multiply_add::<FUSED>(value, r, c);
    }
    value = multiply_add::<FUSED>(value, r * r, r + 1.0);
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    value * f32::from_bits(exponent)
}

/// Adds `factor * addend` to `row`.
#[inline(always)]
pub(super) fn add_scaled<const FUSED: bool>(row: &mut [f32], addend: &[f32], factor: f32) {
    for (value, &addend) in row.iter_mut().zip(addend) {
        *value = multiply_add::<FUSED>(addend, factor, *value);
    }
}
