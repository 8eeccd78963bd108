use coderag_core::BoxError;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong in training.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written, or its settings make no sense.
    #[error(transparent)]
    Core(#[from] coderag_core::Error),

    /// A batch or its vectors do not fit the loss.
    #[error("the loss cannot be computed: {0}")]
    LossBatch(String),

    /// Parameters, gradients and the optimizer's state do not fit together.
    #[error("the optimizer cannot take a step: {0}")]
    Optimizer(String),

    /// The device failed while it computed.
    #[error("cannot compute the loss")]
    Backend(#[source] BoxError),
}
