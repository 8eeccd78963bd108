use std::sync::Mutex;

use super::Precision;
use super::attention::{AttentionScratch, AttentionShape};
use super::gated_linear::GateScratch;
use super::matrix::Matrix;
use super::prepared_input::PreparedInput;

/// How wide the parts of a workspace are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Widths {
    pub(super) hidden: usize,
    /// Inside the feed-forward network.
    pub(super) intermediate: usize,
    pub(super) attention: AttentionShape,
    /// The size of a head whose queries and keys are rotated.
    pub(super) rotation: usize,
    /// The precision in which a linear layer's input takes the most memory.
    pub(super) widest_input: Precision,
}

/// The memory of a forward pass, kept from one to the next.
#[derive(Debug)]
pub(super) struct Workspace {
    /// `[tokens, hidden]`
    pub(super) states: Matrix,
    /// Queries, keys and values, `[tokens, projected_width]`.
    pub(super) projected: Matrix,
    /// The cosines and sines by which queries and keys are rotated, `[tokens, rotation]`.
    pub(super) rotations: Matrix,
    /// What attention gathers, `[tokens, query_width]`.
    pub(super) context: Matrix,
    /// On the way from and to the states, `[tokens, hidden]`.
    pub(super) attended: Matrix,
    /// Inside the feed-forward network, `[tokens, intermediate]`.
    pub(super) expanded: Matrix,
    pub(super) prepared: PreparedInput,
    /// One for each thread.
    pub(super) scratch: Vec<Mutex<AttentionScratch>>,
    /// One for each thread.
    pub(super) gates: Vec<Mutex<GateScratch>>,
    /// One for each sequence, `[sequences, hidden]`.
    pub(super) pooled: Matrix,
}

impl Workspace {
    pub(super) fn new(widths: Widths, threads: usize, tokens: usize, sequences: usize) -> Self {
        let attention = widths.attention;
        let widest = widths.hidden.max(widths.intermediate).max(attention.query_width());
        Self {
            states: Matrix::zeros(tokens, widths.hidden),
            projected: Matrix::zeros(tokens, attention.projected_width()),
            rotations: Matrix::zeros(tokens, widths.rotation),
            context: Matrix::zeros(tokens, attention.query_width()),
            attended: Matrix::zeros(tokens, widths.hidden),
            expanded: Matrix::zeros(tokens, widths.intermediate),
            prepared: PreparedInput::new(widths.widest_input, tokens, widest),
            scratch: (0..threads).map(|_| Mutex::default()).collect(),
            gates: (0..threads).map(|_| Mutex::default()).collect(),
            pooled: Matrix::zeros(sequences, widths.hidden),
        }
    }

    /// Whether there is room for a pass of this size.
    pub(super) fn holds(&self, threads: usize, tokens: usize, sequences: usize) -> bool {
        self.scratch.len() >= threads
            && self.states.rows() >= tokens
            && self.pooled.rows() >= sequences
    }
}
