use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

/// Rotary position embedding in the half-split order: dimension `i` of a head is rotated together with
/// dimension `i + head_dim / 2`.
///
/// From "RoFormer: Enhanced Transformer with Rotary Position Embedding" (Su et al., 2021), with the order
/// of transformers' `rotate_half`. (The paper and burn's `RotaryEncoding` rotate neighbours, `2 i` and
/// `2 i + 1`; weights trained in one order are wrong in the other.)
#[derive(Clone, Debug)]
pub(crate) struct RotaryEmbedding<B: Backend> {
    /// `[tokens, head_dim / 2]`, as `sine`.
    cosine: Tensor<B, 2>,
    sine: Tensor<B, 2>,
}

impl<B: Backend> RotaryEmbedding<B> {
    /// The rotations of the positions `0..tokens`. `head_dim` is even, `theta` the base of the wavelengths.
    pub(crate) fn new(tokens: usize, head_dim: usize, theta: f64, device: &B::Device) -> Self {
        let angles = angles(tokens, head_dim, theta);
        let table = |function: fn(f64) -> f64| {
            let values: Vec<f32> =
                angles.iter().map(|&angle| function(f64::from(angle)) as f32).collect();
            Tensor::from_data(TensorData::new(values, [tokens, head_dim / 2]), device)
        };
        Self { cosine: table(f64::cos), sine: table(f64::sin) }
    }

    /// Rotates the heads of each token by the token's position: `[batch, heads, tokens, head_dim]` to the
    /// same.
    pub(crate) fn rotate(&self, states: Tensor<B, 4>) -> Tensor<B, 4> {
        let [_, _, _, head_dim] = states.dims();
        let half = head_dim / 2;
        let first = states.clone().narrow(3, 0, half);
        let second = states.narrow(3, half, half);
        let cosine = self.cosine.clone().unsqueeze::<4>();
        let sine = self.sine.clone().unsqueeze::<4>();
        let turned_first = first.clone() * cosine.clone() - second.clone() * sine.clone();
        let turned_second = second * cosine + first * sine;
        Tensor::cat(vec![turned_first, turned_second], 3)
    }
}

/// How many radians a position further is in each pair of dimensions, `[head_dim / 2]`, rounded to f32 after
/// each step as transformers does: at position 1000 a rounding of the frequency is a visible angle.
pub(crate) fn frequencies(head_dim: usize, theta: f64) -> Vec<f32> {
    let theta = f64::from(theta as f32);
    let frequency = |index: usize| {
        let exponent = (2 * index) as f32 / head_dim as f32;
        1.0 / theta.powf(f64::from(exponent)) as f32
    };
    (0..head_dim / 2).map(frequency).collect()
}

/// The angle of each position and dimension, `tokens` rows of `head_dim / 2`, in f32 as transformers has it.
fn angles(tokens: usize, head_dim: usize, theta: f64) -> Vec<f32> {
    let frequencies = frequencies(head_dim, theta);
    (0..tokens)
        .flat_map(|position| frequencies.iter().map(move |frequency| position as f32 * frequency))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CpuBackend;

    fn rotated(values: &[f32], positions: usize) -> Vec<f32> {
        let device = Default::default();
        let head_dim = values.len();
        let repeated: Vec<f32> = values.repeat(positions);
        let states = TensorData::new(repeated, [1, 1, positions, head_dim]);
        let rotary = RotaryEmbedding::<CpuBackend>::new(positions, head_dim, 10_000.0, &device);
        rotary.rotate(Tensor::from_data(states, &device)).into_data().to_vec().unwrap_or_default()
    }

    #[test]
    fn the_first_position_is_not_rotated() {
        assert_eq!(rotated(&[1.0, 2.0, 3.0, 4.0], 1), [1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn halves_are_rotated_together() {
        let turned = rotated(&[1.0, 0.0, 0.0, 0.0, 0.0, 0.0], 2);
        let (sine, cosine) = 1.0_f32.sin_cos();
        for (index, expected) in [cosine, 0.0, 0.0, sine, 0.0, 0.0].into_iter().enumerate() {
            assert!((turned[6 + index] - expected).abs() <= 1e-7, "{turned:?}");
        }
    }

    /// What makes the embedding relative: the product of two rotated vectors depends on their distance
    /// only.
    #[test]
    fn products_depend_on_the_distance_only() {
        let (left, right) = ([0.3, -1.2, 0.7, 2.0, 0.1, -0.4], [1.5, 0.2, -0.9, 0.4, -2.2, 0.8]);
        let (left, right) = (rotated(&left, 40), rotated(&right, 40));
        let product = |a: usize, b: usize| -> f32 {
            left[a * 6..][..6].iter().zip(&right[b * 6..][..6]).map(|(a, b)| a * b).sum()
        };
        for distance in 0..20 {
            for start in 0..20 {
                let difference = product(start, start + distance) - product(0, distance);
                assert!(difference.abs() <= 1e-5, "{start} {distance}: {difference}");
            }
        }
    }
}
