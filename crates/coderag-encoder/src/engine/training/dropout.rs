use coderag_core::Random;

use super::elementwise::Mask;
use super::kernels::TrainingKernels;

/// A dropout at one place of the model in one forward pass. Nothing is stored: the backward pass computes
/// the masks again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site {
    rate: f32,
    /// Follows from the seed and the place in the model.
    key: u64,
}

impl Site {
    /// `place` is a number for the place in the model.
    pub(super) fn new(rate: f32, seed: u64, place: usize) -> Self {
        Self { rate, key: mix(mix(seed) ^ place as u64) }
    }

    /// One of several dropouts at the same place.
    pub(super) fn part(self, part: usize) -> Self {
        Self { key: mix(self.key ^ part as u64), ..self }
    }

    pub(super) fn is_active(self) -> bool {
        self.rate > 0.0
    }

    /// Drops some of the values and scales the others up; `row` is the number of their token in the call.
    pub(super) fn mask(self, kernels: &TrainingKernels, values: &mut [f32], row: usize) {
        if self.is_active() {
            let key = mix(self.key ^ row as u64) as u32;
            // All rates are below 1.
            let threshold = (f64::from(self.rate) * 4_294_967_296.0) as u32;
            kernels.mask(values, Mask { key, threshold, factor: 1.0 / (1.0 - self.rate) });
        }
    }
}

fn mix(number: u64) -> u64 {
    Random::new(number).next_u64()
}
