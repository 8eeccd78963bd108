use rayon::prelude::*;

use super::CHUNK;

/// Scales gradients so that their norm together is at most `max_norm`, over 0, and returns the norm they
/// had.
///
/// Every number is multiplied by `min(1, max_norm / (norm + 1e-6))`, as `torch.nn.utils.clip_grad_norm_`
/// does (Pascanu, Mikolov and Bengio 2013, arXiv:1211.5063). Gradients whose norm is not finite stay as they
/// are: the caller sees it from what is returned. The result does not depend on the number of threads.
pub fn clip_gradient_norm(gradients: &mut [&mut [f32]], max_norm: f64) -> f64 {
    let norm = gradients.iter().map(|gradient| sum_of_squares(gradient)).sum::<f64>().sqrt();
    if let Some(factor) = clip_factor(norm, max_norm) {
        for gradient in gradients {
            scale(gradient, factor);
        }
    }
    norm
}

/// What gradients of this norm are multiplied with, if it is finite and too large.
pub(crate) fn clip_factor(norm: f64, max_norm: f64) -> Option<f32> {
    let factor = max_norm / (norm + 1e-6);
    (norm.is_finite() && factor < 1.0).then_some(factor as f32)
}

/// Added chunk by chunk, whatever thread each chunk is added on.
fn sum_of_squares(numbers: &[f32]) -> f64 {
    if numbers.len() <= CHUNK {
        return sum_of_squares_in_chunk(numbers);
    }
    let sums: Vec<f64> = numbers.par_chunks(CHUNK).map(sum_of_squares_in_chunk).collect();
    sums.iter().sum()
}

/// In f64, and in lanes: in one sum every addition would wait for the one before.
fn sum_of_squares_in_chunk(numbers: &[f32]) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0f64; LANES];
    let (blocks, rest) = numbers.as_chunks::<LANES>();
    for block in blocks {
        for (sum, number) in sums.iter_mut().zip(block) {
            *sum += f64::from(*number) * f64::from(*number);
        }
    }
    let rest: f64 = rest.iter().map(|number| f64::from(*number) * f64::from(*number)).sum();
    sums.iter().sum::<f64>() + rest
}

fn scale(numbers: &mut [f32], factor: f32) {
    let scale = |chunk: &mut [f32]| chunk.iter_mut().for_each(|number| *number *= factor);
    if numbers.len() <= CHUNK {
        scale(numbers);
    } else {
        numbers.par_chunks_mut(CHUNK).for_each(scale);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_clipped_norm_is_over_the_limit_and_directions_stay(
            mut left in prop::collection::vec(-1e3f32..1e3, 1..40),
            mut right in prop::collection::vec(-1e-2f32..1e-2, 0..40),
            max_norm in 1e-3f64..1e4,
        ) {
            let before: Vec<f32> = left.iter().chain(&right).copied().collect();
            let norm = clip_gradient_norm(&mut [&mut left, &mut right], max_norm);
            let after: Vec<f32> = left.iter().chain(&right).copied().collect();
            let direct = before.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            prop_assert!((norm - direct).abs() <= 1e-12 * direct);
            let clipped = after.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            prop_assert!(clipped <= max_norm * (1.0 + 1e-6));
            if norm <= max_norm - 1e-6 {
                prop_assert_eq!(&before, &after);
            }
            for (before, after) in before.iter().zip(&after) {
                let expected = f64::from(*before) * (max_norm / (norm + 1e-6)).min(1.0);
                prop_assert!((f64::from(*after) - expected).abs() <= 1e-6 * expected.abs());
            }
        }
    }

    #[test]
    fn a_norm_that_is_not_finite_is_reported_and_nothing_is_scaled() {
        let mut gradient = vec![3.0; 3 * CHUNK];
        gradient[2 * CHUNK] = f32::NAN;
        let before = gradient.clone();
        assert!(clip_gradient_norm(&mut [&mut gradient], 1.0).is_nan());
        assert_eq!(gradient[0], before[0]);
        gradient[2 * CHUNK] = f32::INFINITY;
        assert_eq!(clip_gradient_norm(&mut [&mut gradient], 1.0), f64::INFINITY);
        assert_eq!(gradient[0], before[0]);
    }

    #[test]
    fn many_numbers_have_the_norm_of_their_sum_of_squares() {
        let mut gradient = vec![0.5f32; 5 * CHUNK + 3];
        let expected = (gradient.len() as f64 * 0.25).sqrt();
        let norm = clip_gradient_norm(&mut [&mut gradient], 2.0);
        assert!((norm - expected).abs() < 1e-9 * expected);
        let scaled = clip_gradient_norm(&mut [&mut gradient], f64::INFINITY);
        assert!((scaled - 2.0).abs() < 1e-5, "{scaled}");
    }
}
