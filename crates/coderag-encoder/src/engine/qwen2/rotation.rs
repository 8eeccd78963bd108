#![allow(unsafe_code)]

use crate::engine::batch::Token;
use crate::engine::matrix::Matrix;
use crate::engine::profile::Stage;
use crate::engine::worker::Worker;
use crate::rotary_embedding::frequencies;

/// The angles by which rotary position embedding (Su et al., 2021) turns queries and keys.
#[derive(Debug)]
pub(super) struct Rotation {
    /// Radians for each position, `[head_size / 2]`.
    frequencies: Vec<f32>,
}

impl Rotation {
    pub(super) fn new(head_size: usize, theta: f64) -> Self {
        Self { frequencies: frequencies(head_size, theta) }
    }

    /// Fills the first rows of `rotations`, `[tokens, head_size]`: the cosines of a token's angles, then
    /// the sines.
    ///
    /// # Safety
    /// All members of the team call it alike, and nobody else uses the rotations.
    pub(super) unsafe fn prepare(&self, worker: &Worker<'_>, tokens: &[Token], rotations: &Matrix) {
        let half = self.frequencies.len();
        worker.for_each(Stage::Embedding, tokens.len(), |row| {
            let position = tokens[row].position as f32;
            // SAFETY: each task has its own row.
            let rotation = unsafe { rotations.row_mut(row, 0..2 * half) };
            let (cosines, sines) = rotation.split_at_mut(half);
            for ((cosine, sine), frequency) in cosines.iter_mut().zip(sines).zip(&self.frequencies)
            {
                (*sine, *cosine) = (position * frequency).sin_cos();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_fall_from_one_to_nearly_one_over_theta() {
        let frequencies = Rotation::new(8, 10_000.0).frequencies;
        let expected = [1.0, 0.1, 0.01, 0.001];
        for (found, expected) in frequencies.iter().zip(expected) {
            assert!((found / expected - 1.0_f32).abs() < 1e-6, "{frequencies:?}");
        }
        assert_eq!(frequencies.len(), 4);
    }
}
