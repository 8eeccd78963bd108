use std::sync::Mutex;

use super::Precision;
use super::attention::AttentionScratch;
use super::linear::PreparedInput;
use super::matrix::Matrix;
use crate::BertConfig;

/// The memory of a forward pass, kept from one to the next.
#[derive(Debug)]
pub(super) struct Workspace {
    /// `[tokens, hidden_size]`
    pub(super) states: Matrix,
    /// Queries, keys and values, `[tokens, 3 * hidden_size]`.
    pub(super) projected: Matrix,
    /// What attention gathers, `[tokens, hidden_size]`.
    pub(super) context: Matrix,
    /// The states after attention, `[tokens, hidden_size]`.
    pub(super) attended: Matrix,
    /// Inside the feed-forward network, `[tokens, intermediate_size]`.
    pub(super) expanded: Matrix,
    pub(super) prepared: PreparedInput,
    /// One for each thread.
    pub(super) scratch: Vec<Mutex<AttentionScratch>>,
    /// One for each sequence, `[sequences, hidden_size]`.
    pub(super) pooled: Matrix,
}

impl Workspace {
    pub(super) fn new(
        config: &BertConfig,
        precision: Precision,
        threads: usize,
        tokens: usize,
        sequences: usize,
    ) -> Self {
        let widest = config.hidden_size.max(config.intermediate_size);
        Self {
            states: Matrix::zeros(tokens, config.hidden_size),
            projected: Matrix::zeros(tokens, 3 * config.hidden_size),
            context: Matrix::zeros(tokens, config.hidden_size),
            attended: Matrix::zeros(tokens, config.hidden_size),
            expanded: Matrix::zeros(tokens, config.intermediate_size),
            prepared: PreparedInput::new(precision, tokens, widest),
            scratch: (0..threads).map(|_| Mutex::default()).collect(),
            pooled: Matrix::zeros(sequences, config.hidden_size),
        }
    }

    /// Whether there is room for a pass of this size.
    pub(super) fn holds(&self, threads: usize, tokens: usize, sequences: usize) -> bool {
        self.scratch.len() >= threads
            && self.states.rows() >= tokens
            && self.pooled.rows() >= sequences
    }
}
