use super::{accumulate, multiply_add};

/// The parameters of a layer normalisation.
#[derive(Clone, Copy)]
pub(in crate::engine) struct LayerNorm<'a> {
    pub(in crate::engine) weight: &'a [f32],
    pub(in crate::engine) bias: &'a [f32],
    pub(in crate::engine) epsilon: f32,
}

/// Adds `residual` to `row` and normalises the sum (Ba et al., 2016), in place.
#[inline(always)]
pub(in crate::engine) fn add_and_normalize<const FUSED: bool>(
    row: &mut [f32],
    residual: &[f32],
    norm: LayerNorm<'_>,
) {
    let size = row.len();
    let (residual, weight, bias) = (&residual[..size], &norm.weight[..size], &norm.bias[..size]);
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
    for ((value, &weight), &bias) in row.iter_mut().zip(weight).zip(bias) {
        *value = multiply_add::<FUSED>((*value - mean) * scale, weight, bias);
    }
}

/// The parameters of a root mean square normalisation.
#[derive(Clone, Copy)]
pub(in crate::engine) struct RmsNorm<'a> {
    pub(in crate::engine) weight: &'a [f32],
    pub(in crate::engine) epsilon: f32,
}

/// Divides `row` by the root of its mean square (Zhang and Sennrich, 2019) and multiplies the weights, in
/// place.
#[inline(always)]
pub(in crate::engine) fn normalize_rms<const FUSED: bool>(row: &mut [f32], norm: RmsNorm<'_>) {
    let size = row.len();
    let weight = &norm.weight[..size];
    let squares = accumulate(row, weight, |value, _, sum| {
        *sum = multiply_add::<FUSED>(*value, *value, *sum);
    });
    let scale = 1.0 / (squares / size as f32 + norm.epsilon).sqrt();
    for (value, &weight) in row.iter_mut().zip(weight) {
        *value = *value * scale * weight;
    }
}
