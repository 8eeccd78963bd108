use super::{LANES, Lanes, exp_of_negative, for_each_lanes, multiply_add};

/// x times the normal distribution's function of x, the exact GELU (Hendrycks and Gimpel, 2016), in place.
#[inline(always)]
pub(in crate::engine) fn gelu<const FUSED: bool>(values: &mut [f32]) {
    for_each_lanes(values, |lanes| {
        for value in lanes {
            let half = 0.5 * *value;
            let erf = erf::<FUSED>(*value * std::f32::consts::FRAC_1_SQRT_2);
            *value = multiply_add::<FUSED>(half, erf, half);
        }
    });
}

/// The error function within 3e-7: the rational approximation that Eigen and XLA use.
#[inline(always)]
pub(in crate::engine) fn erf<const FUSED: bool>(x: f32) -> f32 {
    const NUMERATOR: [f32; 7] = [
        -2.726_142_3e-10,
        2.770_681_4e-8,
        -2.101_024e-6,
        -5.692_506_4e-5,
        -7.349_906_4e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ];
    const DENOMINATOR: [f32; 5] =
        [-1.456_607_2e-5, -2.133_740_5e-4, -1.682_827e-3, -7.373_329e-3, -1.426_473_9e-2];
    // Beyond 4 it is 1 to the last digit.
    let x = x.clamp(-4.0, 4.0);
    let square = x * x;
    let polynomial = |coefficients: &[f32]| {
        let (first, rest) = (coefficients[0], &coefficients[1..]);
        rest.iter().fold(first, |value, &c| multiply_add::<FUSED>(value, square, c))
    };
    x * polynomial(&NUMERATOR) / polynomial(&DENOMINATOR)
}

/// Multiplies SiLU of the gate, x times the logistic function of x, to `up`, in place of the gate
/// (SwiGLU: Shazeer, 2020).
#[inline(always)]
pub(in crate::engine) fn silu_and_multiply<const FUSED: bool>(gate: &mut [f32], up: &[f32]) {
    let (chunks, rest) = gate.as_chunks_mut::<LANES>();
    let (up_chunks, up_rest) = up[..chunks.len() * LANES + rest.len()].as_chunks::<LANES>();
    for (gate, up) in chunks.iter_mut().zip(up_chunks) {
        silu_and_multiply_lanes::<FUSED>(gate, up);
    }
    if !rest.is_empty() {
        let (mut gate, mut up) = ([0.0; LANES], [0.0; LANES]);
        gate[..rest.len()].copy_from_slice(rest);
        up[..rest.len()].copy_from_slice(up_rest);
        silu_and_multiply_lanes::<FUSED>(&mut gate, &up);
        rest.copy_from_slice(&gate[..rest.len()]);
    }
}

#[inline(always)]
fn silu_and_multiply_lanes<const FUSED: bool>(gate: &mut Lanes, up: &Lanes) {
    for (gate, &up) in gate.iter_mut().zip(up) {
        // 1 / (1 + e^-x) is e^x / (1 + e^x): the exponent is always negative, and nothing overflows.
        let power = exp_of_negative::<FUSED>(-gate.abs());
        let numerator = if *gate < 0.0 { *gate * power } else { *gate };
        *gate = numerator / (1.0 + power) * up;
    }
}
