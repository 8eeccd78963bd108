//! Models in training: vectors of sequences, gradients from those of the vectors, steps of the optimizer.

mod autodiff;
mod card;
mod cpu;
mod state;

pub use autodiff::{BurnTrainee, TOKENS_AT_ONCE_ON_CARD};
pub use card::CardTrainee;
pub use cpu::CpuTrainee;
pub use state::{ParameterState, TraineeState};

use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};

use crate::optimizer::AdamW;
use crate::{Error, Result};

/// A text encoder in training.
///
/// The vectors are pooled token states, `[sequences, dim]`, not normalised: that is the loss's affair.
pub trait Trainee {
    /// Where the vectors are, and what computes the loss.
    type Backend: AutodiffBackend;

    /// The vectors of sequences; with a seed, those that [`forward`](Self::forward) with this seed gives
    /// for the same sequences.
    ///
    /// # Errors
    /// [`Error::Encoder`](crate::Error::Encoder) when a sequence cannot be embedded.
    fn embed(&self, sequences: &[&[u32]], seed: Option<u64>) -> Result<Vectors<Self>>;

    /// The vectors of sequences in training, and what the backward pass needs. The seed decides what
    /// dropout leaves out.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    fn forward(&mut self, sequences: &[&[u32]], seed: u64) -> Result<Vectors<Self>>;

    /// Adds to the gradients of the parameters, given the gradient of the loss with respect to the vectors
    /// of the last [`forward`](Self::forward).
    ///
    /// # Errors
    /// [`Error::Encoder`](crate::Error::Encoder) when there was no forward pass.
    fn backward(&mut self, gradient: Vectors<Self>) -> Result<()>;

    /// Clips the gradients, changes the parameters and forgets the gradients. Returns the gradients' norm
    /// before clipping; where it is not finite, nothing is changed.
    ///
    /// # Errors
    /// [`Error::Optimizer`](crate::Error::Optimizer).
    fn step(&mut self, update: &Update) -> Result<f64>;

    /// Has the optimizer begin anew, with the parameters as they are.
    ///
    /// # Errors
    /// [`Error::Encoder`](crate::Error::Encoder) when the device fails.
    fn forget_moments(&mut self) -> Result<()>;

    /// The trained parameters and what the optimizer remembers of them.
    ///
    /// # Errors
    /// [`Error::Backend`](crate::Error::Backend) when the device fails.
    fn state(&mut self) -> Result<TraineeState>;

    /// Puts the trainee where another stood; where a parameter comes without moments, the optimizer
    /// remembers nothing of it.
    ///
    /// # Errors
    /// [`Error::Optimizer`](crate::Error::Optimizer) when the state is another model's; then nothing is changed.
    fn restore(&mut self, state: TraineeState) -> Result<()>;
}

/// What a backward pass says that no forward pass came before.
fn no_forward_pass() -> Error {
    let problem = "a backward pass needs a forward pass before it";
    Error::Encoder(coderag_encoder::Error::Training(problem.to_owned()))
}

/// `[sequences, dim]`, without a graph.
pub type Vectors<T> = Tensor<<<T as Trainee>::Backend as AutodiffBackend>::InnerBackend, 2>;

/// The numbers of a tensor, row by row.
pub(crate) fn values_of<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Result<Vec<f32>> {
    let data = tensor.try_into_data().map_err(|error| Error::Backend(error.into()))?;
    data.convert::<f32>().into_vec().map_err(|error| Error::Backend(format!("{error:?}").into()))
}

/// A step of the optimizer.
#[derive(Clone, Copy, Debug)]
pub struct Update {
    /// The step's number, counted from 0.
    pub step: u64,
    /// How far parameters go.
    pub learning_rate: f64,
    /// The optimizer.
    pub adamw: AdamW,
    /// The longest that all gradients together may be.
    pub max_gradient_norm: f64,
}
