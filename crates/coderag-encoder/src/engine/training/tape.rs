use std::ops::Range;

use super::batch::Batch;
use super::rows::Rows;
use crate::engine::kernels::PANEL;
use crate::engine::matrix::Matrix;

/// How wide the parts of a pass's memory are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Widths {
    pub(super) hidden: usize,
    /// Inside the feed-forward network.
    pub(super) intermediate: usize,
    pub(super) heads: usize,
    /// The size of a head.
    pub(super) head: usize,
    /// What enters the second matrices of adapters, for each of a layer's linear layers.
    pub(super) adapted: [usize; 4],
    /// The greatest rank of an adapter.
    pub(super) rank: usize,
    /// So many columns may be read beyond the last head.
    pub(super) readable: usize,
}

impl Widths {
    pub(super) fn new(
        [hidden, intermediate, heads]: [usize; 3],
        adapted: [usize; 4],
        rank: usize,
    ) -> Self {
        let head = hidden / heads;
        let readable = if head.is_multiple_of(PANEL) { 0 } else { PANEL };
        Self { hidden, intermediate, heads, head, adapted, rank, readable }
    }

    /// The widest input or output of a linear layer.
    pub(super) fn widest(&self) -> usize {
        self.intermediate.max(3 * self.hidden)
    }
}

/// What the backward pass needs of a forward pass.
///
/// It belongs to the engine that made it and to the parameters of that time.
#[derive(Debug)]
pub struct Tape {
    /// The engine's number.
    pub(super) engine: u64,
    pub(super) batch: Batch,
    pub(super) seed: u64,
    pub(super) memory: TapeMemory,
}

impl Tape {
    /// How many sequences there are.
    pub fn sequences(&self) -> usize {
        self.batch.sequences().len()
    }
}

/// The memory of a tape, kept from one to the next.
#[derive(Debug)]
pub(super) struct TapeMemory {
    /// Of the embeddings, and of each layer's output.
    pub(super) norms: Vec<NormTape>,
    /// Nothing where layers are computed again.
    pub(super) layers: Vec<LayerTape>,
    /// `[sequences, hidden_size]`
    pub(super) pooled: Matrix,
}

impl TapeMemory {
    /// For so many tokens and sequences; layers whose outputs no gradient reaches need no memory.
    pub(super) fn new(
        widths: &Widths,
        [norms, layers]: [usize; 2],
        tokens: usize,
        sequences: usize,
    ) -> Self {
        Self {
            norms: (0..norms).map(|_| NormTape::new(widths, tokens)).collect(),
            layers: (0..layers).map(|_| LayerTape::new(widths, tokens)).collect(),
            pooled: Matrix::zeros(sequences, widths.hidden),
        }
    }

    /// Whether there is room for so many tokens and sequences.
    pub(super) fn holds(&self, tokens: usize, sequences: usize) -> bool {
        self.norms.first().is_none_or(|norm| norm.normalized.rows() >= tokens)
            && self.pooled.rows() >= sequences
    }
}

/// What a layer normalisation leaves for its backward pass.
#[derive(Debug)]
pub(super) struct NormTape {
    /// The values before weight and bias, `[tokens, hidden_size]`.
    normalized: Matrix,
    /// What the distances to the mean were multiplied by, `[tokens, 1]`.
    scales: Matrix,
}

/// Some rows of a [`NormTape`].
#[derive(Clone, Copy)]
pub(super) struct NormRows<'a> {
    pub(super) normalized: Rows<'a>,
    pub(super) scales: Rows<'a>,
}

impl NormTape {
    pub(super) fn new(widths: &Widths, tokens: usize) -> Self {
        Self { normalized: Matrix::zeros(tokens, widths.hidden), scales: Matrix::zeros(tokens, 1) }
    }

    pub(super) fn rows(&self, rows: Range<usize>) -> NormRows<'_> {
        NormRows {
            normalized: Rows::new(&self.normalized, rows.clone()),
            scales: Rows::new(&self.scales, rows),
        }
    }
}

/// What a layer's forward pass leaves for its backward pass.
#[derive(Debug)]
pub(super) struct LayerTape {
    /// Queries, keys and values, `[tokens, 3 * hidden_size]`.
    projected: Matrix,
    /// The logarithms of the sums of each query's exponentials, `[tokens, heads]`.
    log_sums: Matrix,
    /// What attention gathers, `[tokens, hidden_size]`.
    context: Matrix,
    attention_norm: NormTape,
    /// Before the activation, `[tokens, intermediate_size]`.
    expanded: Matrix,
    /// What enters the second matrices of adapters.
    adapted: [Matrix; 4],
}

/// Some rows of a [`LayerTape`].
#[derive(Clone, Copy)]
pub(super) struct LayerRows<'a> {
    pub(super) projected: Rows<'a>,
    pub(super) log_sums: Rows<'a>,
    pub(super) context: Rows<'a>,
    pub(super) attention_norm: NormRows<'a>,
    pub(super) expanded: Rows<'a>,
    pub(super) adapted: [Rows<'a>; 4],
}

impl LayerTape {
    pub(super) fn new(widths: &Widths, tokens: usize) -> Self {
        Self {
            projected: Matrix::zeros(tokens, 3 * widths.hidden + widths.readable),
            log_sums: Matrix::zeros(tokens, widths.heads),
            context: Matrix::zeros(tokens, widths.hidden),
            attention_norm: NormTape::new(widths, tokens),
            expanded: Matrix::zeros(tokens, widths.intermediate),
            adapted: widths.adapted.map(|width| Matrix::zeros(tokens, width)),
        }
    }

    pub(super) fn rows(&self, rows: Range<usize>) -> LayerRows<'_> {
        let part = |matrix| Rows::new(matrix, rows.clone());
        LayerRows {
            projected: part(&self.projected),
            log_sums: part(&self.log_sums),
            context: part(&self.context),
            attention_norm: self.attention_norm.rows(rows.clone()),
            expanded: part(&self.expanded),
            adapted: self.adapted.each_ref().map(part),
        }
    }
}
