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
        let width = values.len();
        let factors = &self.left[row * self.rank..][..self.rank];
        // Four at a time: each pass reads and writes all values once.
        let (fours, rest) = factors.as_chunks::<4>();
        let (right_fours, right_rest) = self.right.split_at(fours.len() * 4 * width);
        for ([f0, f1, f2, f3], right) in fours.iter().zip(right_fours.chunks_exact(4 * width)) {
            let (r01, r23) = right.split_at(2 * width);
            let ((r0, r1), (r2, r3)) = (r01.split_at(width), r23.split_at(width));
            let right = r0.iter().zip(r1).zip(r2.iter().zip(r3));
            for (value, ((r0, r1), (r2, r3))) in values.iter_mut().zip(right) {
                *value += (f0 * r0 + f1 * r1) + (f2 * r2 + f3 * r3);
            }
        }
        for (factor, right) in rest.iter().zip(right_rest.chunks_exact(width)) {
            values.iter_mut().zip(right).for_each(|(value, right)| *value += factor * right);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lora::LoraWeights;

    proptest! {
        #[test]
        fn a_row_gets_its_row_of_the_product(
            rank in 1usize..11, inputs in 1usize..20, outputs in 1usize..20, seed in any::<u32>(),
            embedding in any::<bool>(),
        ) {
            let values = |count: usize, step: u32| -> Vec<f32> {
                let value = |index: usize| ((seed % 1000 * step) as f32 + index as f32).sin();
                (0..count).map(value).collect()
            };
            let (a, b) = (values(rank * inputs, 3), values(outputs * rank, 7));
            let kind = if embedding { LayerKind::Embedding } else { LayerKind::Linear };
            let sizes = [inputs, outputs];
            let weights = LoraWeights::new(kind, rank, sizes, a.clone(), b.clone()).unwrap();
            let update = LowRank::of(&Placed { weights: &weights, scale: 0.5 });
            let expected = |output: usize, input: usize| {
                let terms = (0..rank).map(|k| b[output * rank + k] * a[k * inputs + input]);
                1.0 + 0.5 * terms.sum::<f32>()
            };
            let [rows, columns] = if embedding { [inputs, outputs] } else { [outputs, inputs] };
            for row in 0..rows {
                let mut found = vec![1.0; columns];
                update.add_to_row(row, &mut found);
                for (column, found) in found.iter().enumerate() {
                    let [output, input] = if embedding { [column, row] } else { [row, column] };
                    prop_assert!((found - expected(output, input)).abs() <= 1e-4);
                }
            }
        }
    }
}
