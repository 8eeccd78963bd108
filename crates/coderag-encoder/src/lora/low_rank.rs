use super::adapter::Placed;
use super::selection::LayerKind;
use super::weights::transposed;

/// What an adapter adds to a weight as a checkpoint has it, as the product of two thin matrices.
#[derive(Debug)]
pub(crate) struct LowRank {
    rank: usize,
    /// `[rows, rank]`, scaled.
    left: Vec<f32>,
    /// `[rank, columns]`.
    right: Vec<f32>,
}

impl LowRank {
    /// `scale * B * A` for a linear layer, whose rows are its outputs; the transpose for an embedding,
    /// whose rows are its inputs.
    pub(crate) fn of(Placed { weights, scale }: &Placed<'_>) -> Self {
        let [rank, inputs, outputs] = [weights.rank(), weights.inputs(), weights.outputs()];
        let (mut left, right) = match weights.kind() {
            LayerKind::Linear => (weights.b().to_vec(), weights.a().to_vec()),
            LayerKind::Embedding => {
                (transposed(weights.a(), rank, inputs), transposed(weights.b(), outputs, rank))
            }
        };
        left.iter_mut().for_each(|value| *value *= *scale as f32);
        Self { rank, left, right }
    }

    /// Adds a row of the product to `values`.
    pub(crate) fn add_to_row(&self, row: usize, values: &mut [f32]) {
        let factors = &self.left[row * self.rank..][..self.rank];
        for (factor, right) in factors.iter().zip(self.right.chunks_exact(values.len())) {
            values.iter_mut().zip(right).for_each(|(value, right)| *value += factor * right);
        }
    }
}
