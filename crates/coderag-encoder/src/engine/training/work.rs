#![allow(unsafe_code)]

use std::cell::Cell;
use std::time::Instant;

use super::attention::AttentionScratch;
use super::dropout::Site;
use super::kernels::TrainingKernels;
use super::profile::{Profile, TrainingStage};
use super::rows::Rows;
use super::tape::{LayerTape, NormTape, Widths};
use crate::engine::matrix::Matrix;
use crate::engine::team::Member;

/// One thread's memory for the tokens of one group.
#[derive(Debug)]
pub(super) struct Scratch {
    tokens: usize,
    /// `[tokens, hidden_size]`
    pub(super) states: Matrix,
    /// The states after attention, `[tokens, hidden_size]`.
    pub(super) attended: Matrix,
    /// Inside the feed-forward network, `[tokens, intermediate_size]`.
    pub(super) activated: Matrix,
    /// The gradient of what attention gathers, `[tokens, hidden_size]`.
    pub(super) context_gradient: Matrix,
    /// The input of a linear layer in its precision.
    pub(super) rounded: Matrix,
    /// The input of an adapter's second matrix in its precision.
    pub(super) rounded_adapted: Matrix,
    /// The input of an adapter after its dropout, or its gradient.
    pub(super) masked: Matrix,
    pub(super) attention: AttentionScratch,
    /// What a forward pass without a tape writes instead.
    pub(super) layer: LayerTape,
    pub(super) norm: NormTape,
}

impl Scratch {
    /// For groups of at most so many tokens.
    pub(super) fn new(widths: &Widths, tokens: usize) -> Self {
        Self {
            tokens,
            states: Matrix::zeros(tokens, widths.hidden),
            attended: Matrix::zeros(tokens, widths.hidden),
            activated: Matrix::zeros(tokens, widths.intermediate),
            context_gradient: Matrix::zeros(tokens, widths.hidden + widths.readable),
            rounded: Matrix::zeros(tokens, widths.widest()),
            rounded_adapted: Matrix::zeros(tokens, widths.rank),
            masked: Matrix::zeros(tokens, widths.widest()),
            attention: AttentionScratch::new(tokens, widths.head),
            layer: LayerTape::new(widths, tokens),
            norm: NormTape::new(widths, tokens),
        }
    }

    pub(super) fn holds(&self, tokens: usize) -> bool {
        self.tokens >= tokens
    }
}

/// A thread at work on some step of a pass.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) kernels: &'a TrainingKernels,
    pub(super) member: Member<'a>,
    pub(super) scratch: &'a Scratch,
    pub(super) profile: &'a Profile,
    /// When the current stage began.
    pub(super) start: &'a Cell<Instant>,
}

impl Work<'_> {
    /// Runs `task` for every number below `count`, divided among the team, and waits for all of them.
    pub(super) fn for_each(&self, count: usize, task: impl Fn(usize)) {
        self.member.for_each(count, task);
        self.lap(TrainingStage::Waiting);
    }

    /// Books the time since the last call on a stage.
    pub(super) fn lap(&self, stage: TrainingStage) {
        let mut start = self.start.get();
        self.profile.lap(stage, &mut start);
        self.start.set(start);
    }

    /// Rows after a dropout.
    ///
    /// # Safety
    /// Nobody writes to the rows, or uses this thread's scratch memory.
    pub(super) unsafe fn masked(
        &self,
        site: Site,
        input: Rows<'_>,
        columns: usize,
        first_token: usize,
    ) -> Rows<'_> {
        let masked = Rows::new(&self.scratch.masked, 0..input.count());
        for row in 0..input.count() {
            // SAFETY: the caller vouches for the memory.
            unsafe {
                let values = masked.row_mut(row, columns);
                values.copy_from_slice(input.row(row, columns));
                site.mask(self.kernels, values, first_token + row);
            }
        }
        masked
    }
}
