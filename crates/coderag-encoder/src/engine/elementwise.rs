//! The steps between matrix products, written as plain loops over [`LANES`] values at a time. Compiled
//! once for each instruction set (in `kernels`), where they become vector instructions; `FUSED` says
//! whether that set multiplies and adds in one.

/// How many values are worked on together: one AVX-512 register.
const LANES: usize = 16;

type Lanes = [f32; LANES];

/// Added to a number below 2^22 in size, it rounds it to the nearest whole number, ties to even, which
/// then stands in the low bits.
const ROUND: f32 = 12_582_912.0;

/// The nearest whole number, of at most 127 in size.
pub(super) fn nearest(value: f32) -> i8 {
    (value + ROUND).to_bits() as i8
}

#[inline(always)]
fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
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
fn greater(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// The sum of a register's values, pairwise.
#[inline(always)]
fn sum(mut lanes: Lanes) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for index in 0..width {
            lanes[index] += lanes[index + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// x times the normal distribution's function of x, the exact GELU (Hendrycks and Gimpel, 2016), in place.
#[inline(always)]
pub(super) fn gelu<const FUSED: bool>(values: &mut [f32]) {
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
fn erf<const FUSED: bool>(x: f32) -> f32 {
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

/// e to the power x within 2 units in the last place, for x of at most 0; below -87 it is e^-87, which
/// no softmax feels.
#[inline(always)]
fn exp_of_negative<const FUSED: bool>(x: f32) -> f32 {
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

/// Replaces each score by e to the power of its distance to the greatest and returns their sum; divided
/// by it they are the softmax.
#[inline(always)]
pub(super) fn exponentials<const FUSED: bool>(scores: &mut [f32]) -> f32 {
    let mut greatest = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = scores.as_chunks::<LANES>();
    for chunk in chunks {
        for (greatest, &score) in greatest.iter_mut().zip(chunk) {
            *greatest = greater(score, *greatest);
        }
    }
    for (greatest, &score) in greatest.iter_mut().zip(rest) {
        *greatest = greater(score, *greatest);
    }
    let greatest = greatest.into_iter().fold(f32::NEG_INFINITY, |most, value| greater(value, most));

    let mut sums = [0.0; LANES];
    let (chunks, rest) = scores.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for (score, sum) in chunk.iter_mut().zip(&mut sums) {
            *score = exp_of_negative::<FUSED>(*score - greatest);
            *sum += *score;
        }
    }
    if !rest.is_empty() {
        let mut chunk = [0.0; LANES];
        chunk[..rest.len()].copy_from_slice(rest);
        for score in &mut chunk {
            *score = exp_of_negative::<FUSED>((*score - greatest).min(0.0));
        }
        rest.copy_from_slice(&chunk[..rest.len()]);
        for (&score, sum) in rest.iter().zip(&mut sums) {
            *sum += score;
        }
    }
    sum(sums)
}

/// The parameters of a layer normalisation.
#[derive(Clone, Copy)]
pub(super) struct LayerNorm<'a> {
    pub(super) weight: &'a [f32],
    pub(super) bias: &'a [f32],
    pub(super) epsilon: f32,
}

/// Adds `residual` to `row` and normalises the sum (Ba et al., 2016), in place.
#[inline(always)]
pub(super) fn add_and_normalize<const FUSED: bool>(
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

/// Visits the values of two rows with [`LANES`] sums in turn and returns the sum of the sums.
#[inline(always)]
fn accumulate(row: &mut [f32], other: &[f32], visit: impl Fn(&mut f32, f32, &mut f32)) -> f32 {
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

/// How a quantised row is read: a value is `scale * (byte - zero)`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Quantized {
    pub(super) scale: f32,
    pub(super) zero: i32,
}

/// Quantises a row to bytes from 1 to 255. Signed, with 128 taken off, they are from -127 to 127: their
/// products with weights of the same range fit, two by two, the 16-bit sums of AVX2's `maddubs`.
#[inline(always)]
pub(super) fn quantize(values: &[f32], bytes: &mut [u8]) -> Quantized {
    let mut least = [0.0_f32; LANES];
    let mut greatest = [0.0_f32; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            least[lane] = smaller(chunk[lane], least[lane]);
            greatest[lane] = greater(chunk[lane], greatest[lane]);
        }
    }
    let least = least.iter().chain(rest).fold(0.0, |least, &value| smaller(value, least));
    let greatest = greatest.iter().chain(rest).fold(0.0, |most, &value| greater(value, most));
    let range = greatest - least;
    // Rows of zeros, and sums that overflowed: any scale does.
    let scale = if range > 0.0 && range.is_finite() { range / 254.0 } else { 1.0 };
    let zero = (1.0 - least / scale).round_ties_even().clamp(1.0, 255.0);
    let inverse = 1.0 / scale;
    for (byte, &value) in bytes.iter_mut().zip(values) {
        let level = smaller(greater(value * inverse + zero, 1.0), 255.0);
        *byte = (level + ROUND).to_bits() as u8;
    }
    Quantized { scale, zero: zero as i32 }
}

/// Rounds to bfloat16, to nearest and ties to even.
#[inline(always)]
pub(super) fn to_bf16(values: &[f32], rounded: &mut [u16]) {
    for (rounded, &value) in rounded.iter_mut().zip(values) {
        let bits = value.to_bits();
        *rounded = (bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16) as u16;
    }
}

/// Adds `factor * addend` to `row`.
#[inline(always)]
pub(super) fn add_scaled<const FUSED: bool>(row: &mut [f32], addend: &[f32], factor: f32) {
    for (value, &addend) in row.iter_mut().zip(addend) {
        *value = multiply_add::<FUSED>(addend, factor, *value);
    }
}
