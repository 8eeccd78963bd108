use std::fmt::Debug;

use cudarc::driver::sys::CUdeviceptr;

use super::batch::Batch;
use super::memory::Places;
use super::operations::Run;
use crate::Result;

/// What a forward pass keeps for a backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeping {
    /// Nothing.
    Nothing,
    /// What enters each layer; the rest is computed again.
    Inputs,
    /// All that would have to be computed again.
    Everything,
}

impl Keeping {
    /// Whether there will be a backward pass.
    pub(super) fn is_training(self) -> bool {
        self != Self::Nothing
    }

    /// Places of so many bytes for what enters each of `count` layers and what leaves the last: the same for all where
    /// nothing is kept.
    pub(super) fn states(
        self,
        places: &mut Places,
        count: usize,
        bytes: usize,
    ) -> Vec<CUdeviceptr> {
        let mut states = vec![places.take(bytes); count + 1];
        if self.is_training() {
            states[1..].fill_with(|| places.take(bytes));
        }
        states
    }

    /// What each of `count` layers leaves behind, each in places of its own where all of it is kept.
    pub(super) fn tapes<T: Clone>(self, count: usize, mut tape: impl FnMut() -> T) -> Vec<T> {
        match self {
            Self::Everything => (0..count).map(|_| tape()).collect(),
            Self::Nothing | Self::Inputs => vec![tape(); count],
        }
    }
}

/// A transformer on a card, from tokens to their states and back. A call works in memory of its own at `address`, as
/// much as [`bytes`](Self::bytes) says; a backward pass in that of its forward pass.
pub(super) trait CardBody: Debug + Send + Sync {
    /// The memory that a call needs.
    fn bytes(&self, run: &Run<'_>, keeping: Keeping) -> usize;

    /// Where the states of the tokens are, `[tokens, hidden]`.
    ///
    /// # Errors
    /// [`Error::Cuda`](crate::Error::Cuda).
    fn forward(
        &self,
        run: &Run<'_>,
        batch: &Batch,
        address: CUdeviceptr,
        keeping: Keeping,
    ) -> Result<CUdeviceptr>;

    /// Where the backward pass finds the gradient of the states, `[tokens, hidden]`.
    fn state_gradient(&self, run: &Run<'_>, address: CUdeviceptr, keeping: Keeping) -> CUdeviceptr;

    /// Adds to the gradients of the parameters.
    ///
    /// # Errors
    /// [`Error::Cuda`](crate::Error::Cuda).
    fn backward(
        &self,
        run: &Run<'_>,
        batch: &Batch,
        address: CUdeviceptr,
        keeping: Keeping,
    ) -> Result<()>;

    /// Whether the embeddings are trained.
    fn trains_embeddings(&self) -> bool;
}
