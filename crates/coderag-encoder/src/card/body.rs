use std::fmt::Debug;

use cudarc::driver::sys::CUdeviceptr;

use super::batch::Batch;
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
