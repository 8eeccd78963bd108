use burn::backend::Flex;
use burn::tensor::{Tensor, TensorData};
use burn_autodiff::Autodiff;
use coderag_encoder::ModelDirectory;
use coderag_encoder::card::{CardEngine, CardOptions, CardParameter, CardStep};
use coderag_encoder::device::CudaCard;
use coderag_encoder::engine::Trainable;

use super::state::check_state;
use super::{ParameterState, Trainee, TraineeState, Update, Vectors, values_of};
use crate::Result;

/// A BERT or RoBERTa in training on a card, with kernels of our own. The loss is the processor's: vectors and their
/// gradients are all that goes from one to the other, besides the norm of the gradients.
#[derive(Debug)]
pub struct CardTrainee {
    engine: CardEngine,
}

impl CardTrainee {
    /// Lays out a model's weights for training.
    ///
    /// # Errors
    /// Those of [`CardEngine::load`].
    pub fn load(
        model: &ModelDirectory,
        trainable: Trainable,
        card: &CudaCard,
        options: CardOptions,
    ) -> Result<Self> {
        let (architecture, pooling) = (model.architecture(), model.pooling());
        let weights = model.weights();
        let trainable = Some(trainable);
        let engine = CardEngine::load(card, weights, architecture, pooling, trainable, options)?;
        Ok(Self { engine })
    }

    /// What computes.
    pub fn engine(&self) -> &CardEngine {
        &self.engine
    }

    fn vectors(&self, values: Vec<f32>) -> Vectors<Self> {
        let dimensions = self.engine.dimensions();
        let shape = [values.len() / dimensions, dimensions];
        Tensor::from_data(TensorData::new(values, shape), &Default::default())
    }
}

impl Trainee for CardTrainee {
    type Backend = Autodiff<Flex>;

    fn embed(&self, sequences: &[&[u32]], _: Option<u64>) -> Result<Vectors<Self>> {
        Ok(self.vectors(self.engine.encode(sequences)?))
    }

    fn forward(&mut self, sequences: &[&[u32]], _: u64) -> Result<Vectors<Self>> {
        let values = self.engine.forward(sequences)?;
        Ok(self.vectors(values))
    }

    fn backward(&mut self, gradient: Vectors<Self>) -> Result<()> {
        Ok(self.engine.backward(&values_of(gradient)?)?)
    }

    fn step(&mut self, update: &Update) -> Result<f64> {
        let Update { step, learning_rate, adamw, max_gradient_norm } = *update;
        Ok(self.engine.step(&CardStep {
            step,
            learning_rate,
            betas: [adamw.beta1, adamw.beta2],
            epsilon: adamw.epsilon,
            weight_decay: adamw.weight_decay,
            max_gradient_norm,
        })?)
    }

    fn forget_moments(&mut self) -> Result<()> {
        Ok(self.engine.forget_moments()?)
    }

    fn state(&mut self) -> Result<TraineeState> {
        let state = |parameter: CardParameter| {
            let [first_moment, second_moment] = parameter.moments.unwrap_or_default();
            let CardParameter { name, shape, value, .. } = parameter;
            (name, ParameterState { shape, value, first_moment, second_moment })
        };
        Ok(self.engine.parameters()?.into_iter().map(state).collect())
    }

    fn restore(&mut self, state: TraineeState) -> Result<()> {
        check_state(&state, self.engine.trained().map(|(name, shape, _)| (name, shape.to_vec())))?;
        let parameters: Vec<CardParameter> = state
            .into_iter()
            .map(|(name, state)| {
                let ParameterState { shape, value, first_moment, second_moment } = state;
                let moments = (!first_moment.is_empty()).then_some([first_moment, second_moment]);
                CardParameter { name, shape, value, moments }
            })
            .collect();
        Ok(self.engine.set_parameters(&parameters)?)
    }
}
