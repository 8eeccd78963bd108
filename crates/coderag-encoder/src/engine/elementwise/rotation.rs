use super::multiply_add;

/// Rotates the two halves of each head of a row against each other, in place: rotary position embedding
/// (Su et al., 2021) as transformers' `rotate_half` pairs the dimensions. A head has twice as many values
/// as there are angles.
#[inline(always)]
pub(in crate::engine) fn rotate<const FUSED: bool>(
    row: &mut [f32],
    cosines: &[f32],
    sines: &[f32],
) {
    let half = cosines.len();
    let sines = &sines[..half];
    for head in row.chunks_exact_mut(2 * half) {
        let (first, second) = head.split_at_mut(half);
        for ((x, y), (&cosine, &sine)) in
            first.iter_mut().zip(second).zip(cosines.iter().zip(sines))
        {
            let rotated = multiply_add::<FUSED>(*x, cosine, -(*y * sine));
            *y = multiply_add::<FUSED>(*y, cosine, *x * sine);
            *x = rotated;
        }
    }
}
