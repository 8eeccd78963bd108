use coderag_core::Random;

use super::selection::LayerKind;

/// A and B of one layer; they add `scale * B * A` to its weight, seen as `[outputs, inputs]`.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraWeights {
    kind: LayerKind,
    rank: usize,
    inputs: usize,
    outputs: usize,
    a: Vec<f32>,
    b: Vec<f32>,
}

impl LoraWeights {
    /// A, `[rank, inputs]`, and B, `[outputs, rank]`, row by row; nothing when they have other lengths.
    pub fn new(
        kind: LayerKind,
        rank: usize,
        [inputs, outputs]: [usize; 2],
        a: Vec<f32>,
        b: Vec<f32>,
    ) -> Option<Self> {
        let fits =
            rank.checked_mul(inputs) == Some(a.len()) && rank.checked_mul(outputs) == Some(b.len());
        fits.then_some(Self { kind, rank, inputs, outputs, a, b })
    }

    /// What training begins with: at first the layer computes what it did without. As PEFT's
    /// `reset_lora_parameters`: for a linear layer A is uniform between plus and minus one over the root of
    /// `inputs` (`kaiming_uniform_` with `a = sqrt(5)`) and B zero; for an embedding A is zero and B normal.
    pub(super) fn initial(
        kind: LayerKind,
        rank: usize,
        [inputs, outputs]: [usize; 2],
        random: &mut Random,
    ) -> Self {
        let (a, b) = match kind {
            LayerKind::Linear => {
                let bound = 1.0 / (inputs as f64).sqrt();
                let a = (0..rank * inputs).map(|_| ((2.0 * random.uniform() - 1.0) * bound) as f32);
                (a.collect(), vec![0.0; outputs * rank])
            }
            LayerKind::Embedding => {
                let b = (0..outputs * rank).map(|_| random.normal() as f32);
                (vec![0.0; rank * inputs], b.collect())
            }
        };
        Self { kind, rank, inputs, outputs, a, b }
    }

    pub(super) fn has_sizes_of(&self, other: &Self) -> bool {
        let sizes = |weights: &Self| (weights.kind, weights.rank, weights.inputs, weights.outputs);
        sizes(self) == sizes(other)
    }

    /// Whether the layer multiplies or looks up.
    pub fn kind(&self) -> LayerKind {
        self.kind
    }

    /// How many rows A and columns B has.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// The width of what the layer takes; for an embedding, how many tokens it knows.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The width of what the layer gives.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// A, `[rank, inputs]`, row by row.
    pub fn a(&self) -> &[f32] {
        &self.a
    }

    /// B, `[outputs, rank]`, row by row.
    pub fn b(&self) -> &[f32] {
        &self.b
    }
}

/// Turns `[rows, columns]` into `[columns, rows]`.
pub(super) fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let column = |column| (0..rows).map(move |row| values[row * columns + column]);
    (0..columns).flat_map(column).collect()
}
