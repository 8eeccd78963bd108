use std::ops::Range;

use super::rows::Rows;
use super::tape::{LayerTape, NormTape, Widths};
use crate::engine::matrix::Matrix;

/// The memory of a backward pass over some groups of sequences.
#[derive(Debug)]
pub(super) struct Gradients {
    tokens: usize,
    groups: usize,
    /// The gradient of the states between two layers, `[tokens, hidden_size]`.
    states_gradient: Matrix,
    /// The inputs of a layer's linear layers and the gradients of their outputs, in their order.
    linear: [LinearMemory; 4],
    /// The sums over a group's tokens that are the gradients of biases and normalisation parameters,
    /// `[groups, vectors]`.
    vectors: Matrix,
    /// A layer whose forward pass is computed again.
    layer: Option<LayerTape>,
    /// What the last normalisation of that layer writes again, and nobody reads.
    norm: Option<NormTape>,
}

/// One linear layer's part.
#[derive(Debug)]
struct LinearMemory {
    /// `[tokens, inputs]`; nothing where the tape has them.
    input: Option<Matrix>,
    /// `[tokens, outputs]`
    gradient: Matrix,
    /// The gradient of what enters the adapters' B.
    adapter_gradient: Matrix,
    /// Both as pairs of tokens in bf16, `[pairs, ...]`.
    pairs: Option<[Matrix; 2]>,
}

/// A group's rows, or all.
#[derive(Clone, Copy)]
pub(super) struct GradientRows<'a> {
    pub(super) states_gradient: Rows<'a>,
    pub(super) linear: [LinearRows<'a>; 4],
    /// The row of this group, or all.
    pub(super) vectors: Rows<'a>,
}

#[derive(Clone, Copy)]
pub(super) struct LinearRows<'a> {
    pub(super) input: Option<Rows<'a>>,
    pub(super) gradient: Rows<'a>,
    pub(super) adapter_gradient: Rows<'a>,
    pub(super) pairs: Option<[Rows<'a>; 2]>,
}

impl Gradients {
    /// For so many tokens and groups; `vectors` is how many values the biases and normalisation parameters
    /// of a layer have.
    pub(super) fn new(
        widths: &Widths,
        tokens: usize,
        groups: usize,
        vectors: usize,
        pairs: bool,
        recompute: bool,
    ) -> Self {
        let Widths { hidden, intermediate, .. } = *widths;
        let sizes = [
            (hidden, 3 * hidden + widths.readable, true),
            // The context, which the tape has.
            (hidden, hidden, false),
            (hidden, intermediate, true),
            (intermediate, hidden, true),
        ];
        let mut adapted = widths.adapted.into_iter();
        let linear = sizes.map(|(inputs, outputs, keep)| LinearMemory {
            input: keep.then(|| Matrix::zeros(tokens, inputs)),
            gradient: Matrix::zeros(tokens, outputs),
            adapter_gradient: Matrix::zeros(tokens, adapted.next().unwrap_or(0)),
            pairs: pairs.then(|| {
                // Each group may end with half a pair.
                let rows = tokens / 2 + groups;
                [Matrix::zeros(rows, inputs), Matrix::zeros(rows, outputs)]
            }),
        });
        Self {
            tokens,
            groups,
            states_gradient: Matrix::zeros(tokens, hidden),
            linear,
            vectors: Matrix::zeros(groups, vectors),
            layer: recompute.then(|| LayerTape::new(widths, tokens)),
            norm: recompute.then(|| NormTape::new(widths, tokens)),
        }
    }

    /// Whether there is room for so many tokens and groups.
    pub(super) fn holds(&self, tokens: usize, groups: usize) -> bool {
        self.tokens >= tokens && self.groups >= groups
    }

    /// The memory for a layer whose forward pass is computed again.
    pub(super) fn recomputed(&self) -> Option<(&LayerTape, &NormTape)> {
        self.layer.as_ref().zip(self.norm.as_ref())
    }

    pub(super) fn rows(
        &self,
        tokens: Range<usize>,
        pairs: Range<usize>,
        groups: Range<usize>,
    ) -> GradientRows<'_> {
        GradientRows {
            states_gradient: Rows::new(&self.states_gradient, tokens.clone()),
            linear: self.linear.each_ref().map(|memory| LinearRows {
                input: memory.input.as_ref().map(|input| Rows::new(input, tokens.clone())),
                gradient: Rows::new(&memory.gradient, tokens.clone()),
                adapter_gradient: Rows::new(&memory.adapter_gradient, tokens.clone()),
                pairs: memory
                    .pairs
                    .as_ref()
                    .map(|both| both.each_ref().map(|matrix| Rows::new(matrix, pairs.clone()))),
            }),
            vectors: Rows::new(&self.vectors, groups),
        }
    }
}
