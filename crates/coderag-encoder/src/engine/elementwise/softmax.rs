use super::{LANES, exp_of_negative, greater, sum};

/// Replaces each score by e to the power of its distance to the greatest and returns their sum; divided
/// by it they are the softmax.
#[inline(always)]
pub(in crate::engine) fn exponentials<const FUSED: bool>(scores: &mut [f32]) -> f32 {
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
