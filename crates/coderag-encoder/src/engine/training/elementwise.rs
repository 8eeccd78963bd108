//! The steps of training between matrix products, in the manner of the forward pass's: plain loops over
//! [`LANES`] values at a time, compiled once for each instruction set (in `kernels`).

use crate::engine::elementwise::{
    LANES, Lanes, LayerNorm, accumulate, erf, exp_of_negative, greater, multiply_add, sum,
};

/// Adds `residual` to `row` and normalises the sum (Ba et al., 2016), in place. Writes the values before
/// weight and bias to `normalized` and returns what the distances to the mean were multiplied by.
#[inline(always)]
pub(super) fn normalize<const FUSED: bool>(
    row: &mut [f32],
    residual: &[f32],
    norm: LayerNorm<'_>,
    normalized: &mut [f32],
) -> f32 {
    let size = row.len();
    let residual = &residual[..size];
    let one_over_size = 1.0 / size as f32;
    let total = accumulate(row, residual, |value, addend, sum| {
        *value += addend;
        *sum += *value;
    });
    let mean = total * one_over_size;
    let squares = accumulate(row, residual, |value, _, sum| {
        let distance = *value - mean;
        *sum = multiply_add::<FUSED>(distance, distance, *sum);
    });
    let scale = 1.0 / (squares * one_over_size + norm.epsilon).sqrt();
    for (normalized, &value) in normalized.iter_mut().zip(&*row) {
        *normalized = (value - mean) * scale;
    }
    scale_and_shift::<FUSED>(normalized, norm, row);
    scale
}

/// The outputs of a layer normalisation from its normalised values.
#[inline(always)]
pub(super) fn scale_and_shift<const FUSED: bool>(
    normalized: &[f32],
    norm: LayerNorm<'_>,
    output: &mut [f32],
) {
    let parameters = norm.weight.iter().zip(norm.bias);
    for ((output, &value), (&weight, &bias)) in output.iter_mut().zip(normalized).zip(parameters) {
        *output = multiply_add::<FUSED>(value, weight, bias);
    }
}

/// Turns the gradient of a layer normalisation's outputs into that of its inputs, in place.
///
/// With the normalised values n, which are `scale` times the distances to the mean, and g the gradient
/// times the weight: `scale * (g - mean(g) - n * mean(g * n))`.
#[inline(always)]
pub(super) fn normalize_backward<const FUSED: bool>(
    gradient: &mut [f32],
    normalized: &[f32],
    weight: &[f32],
    scale: f32,
) {
    let size = gradient.len();
    let (normalized, weight) = (&normalized[..size], &weight[..size]);
    let one_over_size = 1.0 / size as f32;
    let mean = one_over_size
        * accumulate(gradient, weight, |gradient, weight, sum| {
            *gradient *= weight;
            *sum += *gradient;
        });
    let slope = one_over_size
        * accumulate(gradient, normalized, |gradient, normalized, sum| {
            *sum = multiply_add::<FUSED>(*gradient, normalized, *sum);
        });
    for (gradient, &normalized) in gradient.iter_mut().zip(normalized) {
        *gradient = scale * multiply_add::<FUSED>(normalized, -slope, *gradient - mean);
    }
}

/// Adds the products of `left` and `right` to `sums`.
#[inline(always)]
pub(super) fn add_product<const FUSED: bool>(sums: &mut [f32], left: &[f32], right: &[f32]) {
    for ((sum, &left), &right) in sums.iter_mut().zip(left).zip(right) {
        *sum = multiply_add::<FUSED>(left, right, *sum);
    }
}

/// Turns the gradient of GELU's outputs into that of its inputs, in place, and computes the outputs again.
///
/// The derivative is the normal distribution's function of x, plus x times its density.
#[inline(always)]
pub(super) fn gelu_backward<const FUSED: bool>(
    inputs: &[f32],
    gradient: &mut [f32],
    activated: &mut [f32],
) {
    let size = inputs.len();
    let (chunks, rest) = inputs.as_chunks::<LANES>();
    let (gradients, gradients_rest) = gradient[..size].as_chunks_mut::<LANES>();
    let (outputs, outputs_rest) = activated[..size].as_chunks_mut::<LANES>();
    for ((inputs, gradient), output) in chunks.iter().zip(gradients).zip(outputs) {
        gelu_backward_lanes::<FUSED>(inputs, gradient, output);
    }
    if !rest.is_empty() {
        let (mut inputs, mut gradient, mut output) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        inputs[..rest.len()].copy_from_slice(rest);
        gradient[..rest.len()].copy_from_slice(gradients_rest);
        gelu_backward_lanes::<FUSED>(&inputs, &mut gradient, &mut output);
        gradients_rest.copy_from_slice(&gradient[..rest.len()]);
        outputs_rest.copy_from_slice(&output[..rest.len()]);
    }
}

#[inline(always)]
fn gelu_backward_lanes<const FUSED: bool>(
    inputs: &Lanes,
    gradient: &mut Lanes,
    activated: &mut Lanes,
) {
    use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};
    /// One over the root of 2 pi.
    const DENSITY_OF_ZERO: f32 = 0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
    for lane in 0..LANES {
        let x = inputs[lane];
        let erf = erf::<FUSED>(x * FRAC_1_SQRT_2);
        let probability = multiply_add::<FUSED>(0.5, erf, 0.5);
        let density = DENSITY_OF_ZERO * exp_of_negative::<FUSED>(-0.5 * x * x);
        activated[lane] = x * probability;
        gradient[lane] *= multiply_add::<FUSED>(x, density, probability);
    }
}

/// Replaces scores by the softmax of `scale` times them and returns the logarithm of the sum of the
/// exponentials, from which [`probabilities`] computes the same again. `scale` is positive.
#[inline(always)]
pub(super) fn softmax<const FUSED: bool>(scores: &mut [f32], scale: f32) -> f32 {
    let mut most = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = scores.as_chunks::<LANES>();
    for chunk in chunks {
        for (most, &score) in most.iter_mut().zip(chunk) {
            *most = greater(score, *most);
        }
    }
    for (most, &score) in most.iter_mut().zip(rest) {
        *most = greater(score, *most);
    }
    let most = scale * most.into_iter().fold(f32::NEG_INFINITY, |most, value| greater(value, most));
    probabilities::<FUSED>(scores, scale, most);
    let total = total(scores);
    let factor = 1.0 / total;
    for score in scores {
        *score *= factor;
    }
    most + total.ln()
}

/// The sum of a row.
#[inline(always)]
fn total(values: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (sum, &value) in sums.iter_mut().zip(chunk) {
            *sum += value;
        }
    }
    for (sum, &value) in sums.iter_mut().zip(rest) {
        *sum += value;
    }
    sum(sums)
}

/// Replaces scores by the exponentials of `scale` times them less `log_sum`.
#[inline(always)]
pub(super) fn probabilities<const FUSED: bool>(scores: &mut [f32], scale: f32, log_sum: f32) {
    let exponential = |lanes: &mut Lanes| {
        for score in lanes {
            let power = multiply_add::<FUSED>(*score, scale, -log_sum);
            *score = exp_of_negative::<FUSED>(power.min(0.0));
        }
    };
    let (chunks, rest) = scores.as_chunks_mut::<LANES>();
    for chunk in chunks {
        exponential(chunk);
    }
    if !rest.is_empty() {
        let mut chunk = [0.0; LANES];
        chunk[..rest.len()].copy_from_slice(rest);
        exponential(&mut chunk);
        rest.copy_from_slice(&chunk[..rest.len()]);
    }
}

/// Turns the gradient of a softmax's outputs into that of its scores, which `scale` multiplies, in place;
/// `mean` is the gradients' mean by the probabilities.
#[inline(always)]
pub(super) fn softmax_backward(probabilities: &[f32], gradient: &mut [f32], mean: f32, scale: f32) {
    for (gradient, &probability) in gradient.iter_mut().zip(probabilities) {
        *gradient = (*gradient - mean) * (probability * scale);
    }
}

/// The sum of the products of two rows.
#[inline(always)]
pub(super) fn dot<const FUSED: bool>(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    let (left_chunks, left_rest) = left.as_chunks::<LANES>();
    let (right_chunks, right_rest) = right.as_chunks::<LANES>();
    for (left, right) in left_chunks.iter().zip(right_chunks) {
        for lane in 0..LANES {
            sums[lane] = multiply_add::<FUSED>(left[lane], right[lane], sums[lane]);
        }
    }
    for ((&left, &right), sum) in left_rest.iter().zip(right_rest).zip(&mut sums) {
        *sum = multiply_add::<FUSED>(left, right, *sum);
    }
    sum(sums)
}

/// Rounds two rows to bfloat16, to nearest and ties to even, each pair of values to the lower and the
/// upper half of 32 bits.
#[inline(always)]
pub(super) fn pair_bf16(first: &[f32], second: &[f32], pairs: &mut [u32]) {
    let round = |value: f32| {
        let bits = value.to_bits();
        bits.wrapping_add(0x7fff + ((bits >> 16) & 1))
    };
    for ((pair, &first), &second) in pairs.iter_mut().zip(first).zip(second) {
        *pair = round(first) >> 16 | round(second) & 0xffff_0000;
    }
}

/// Which values of a row a dropout keeps, as a function of their places.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mask {
    /// The row's; all its masks follow from it.
    pub(super) key: u32,
    /// Values whose numbers are below are dropped.
    pub(super) threshold: u32,
    /// What the others are multiplied by.
    pub(super) factor: f32,
}

/// Multiplies each value by 0 or the factor of the mask.
#[inline(always)]
pub(super) fn mask(values: &mut [f32], mask: Mask) {
    let mut place = mask.key;
    for value in values {
        // The finaliser of MurmurHash3.
        let mut number = place;
        number = (number ^ (number >> 16)).wrapping_mul(0x85eb_ca6b);
        number = (number ^ (number >> 13)).wrapping_mul(0xc2b2_ae35);
        number ^= number >> 16;
        *value *= if number < mask.threshold { 0.0 } else { mask.factor };
        place = place.wrapping_add(0x9e37_79b9);
    }
}
