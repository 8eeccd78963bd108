use super::{LANES, ROUND, greater, smaller};

/// The nearest whole number, of at most 127 in size.
pub(in crate::engine) fn nearest(value: f32) -> i8 {
    (value + ROUND).to_bits() as i8
}

/// How a quantised row is read: a value is `scale * (byte - zero)`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::engine) struct Quantized {
    pub(in crate::engine) scale: f32,
    pub(in crate::engine) zero: i32,
}

/// Quantises a row to bytes from 1 to 255. Signed, with 128 taken off, they are from -127 to 127: their
/// products with weights of the same range fit, two by two, the 16-bit sums of AVX2's `maddubs`.
#[inline(always)]
pub(in crate::engine) fn quantize(values: &[f32], bytes: &mut [u8]) -> Quantized {
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
pub(in crate::engine) fn to_bf16(values: &[f32], rounded: &mut [u16]) {
    for (rounded, &value) in rounded.iter_mut().zip(values) {
        let bits = value.to_bits();
        *rounded = (bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16) as u16;
    }
}
