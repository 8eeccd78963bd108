use std::collections::BTreeMap;

use burn::backend::Flex;
use burn::tensor::{Tensor, TensorData};
use burn_autodiff::Autodiff;
use coderag_encoder::ModelDirectory;
use coderag_encoder::engine::{Tape, Trainable, TrainingEngine, TrainingOptions};

use super::state::check_state;
use super::{ParameterState, Trainee, TraineeState, Update, Vectors, no_forward_pass, values_of};
use crate::Result;
use crate::optimizer::{Moments, clip_gradient_norm, decays};

/// A BERT or RoBERTa in training on the processor, with kernels of our own.
#[derive(Debug)]
pub struct CpuTrainee {
    engine: TrainingEngine,
    tape: Option<Tape>,
    /// What AdamW remembers, by the parameter's name.
    moments: BTreeMap<String, Moments>,
}

impl CpuTrainee {
    /// Lays out a model's weights for training.
    ///
    /// # Errors
    /// Those of [`TrainingEngine::load`].
    pub fn load(
        model: &ModelDirectory,
        trainable: Trainable,
        options: &TrainingOptions,
    ) -> Result<Self> {
        let (architecture, pooling) = (model.architecture(), model.pooling());
        let engine =
            TrainingEngine::load(model.weights(), architecture, pooling, trainable, options)?;
        Ok(Self { engine, tape: None, moments: BTreeMap::new() })
    }

    fn vectors(&self, values: Vec<f32>) -> Vectors<Self> {
        let dimensions = self.engine.dimensions();
        let shape = [values.len() / dimensions, dimensions];
        Tensor::from_data(TensorData::new(values, shape), &Default::default())
    }
}

impl Trainee for CpuTrainee {
    type Backend = Autodiff<Flex>;

    fn embed(&self, sequences: &[&[u32]], seed: Option<u64>) -> Result<Vectors<Self>> {
        Ok(self.vectors(self.engine.encode(sequences, seed)?))
    }

    fn forward(&mut self, sequences: &[&[u32]], seed: u64) -> Result<Vectors<Self>> {
        let (values, tape) = self.engine.forward(sequences, seed)?;
        self.tape = Some(tape);
        Ok(self.vectors(values))
    }

    fn backward(&mut self, gradient: Vectors<Self>) -> Result<()> {
        let Some(tape) = self.tape.take() else { return Err(no_forward_pass()) };
        Ok(self.engine.backward(tape, &values_of(gradient)?)?)
    }

    fn step(&mut self, update: &Update) -> Result<f64> {
        let Update { step, learning_rate, adamw, max_gradient_norm } = *update;
        let mut parameters = self.engine.parameters();
        let mut gradients: Vec<&mut [f32]> =
            parameters.iter_mut().map(|parameter| &mut *parameter.gradient).collect();
        let norm = clip_gradient_norm(&mut gradients, max_gradient_norm);
        if norm.is_finite() {
            for parameter in &mut parameters {
                let length = parameter.value.len();
                if !self.moments.contains_key(parameter.name) {
                    self.moments.insert(parameter.name.to_owned(), Moments::new(length));
                }
                let Some(moments) = self.moments.get_mut(parameter.name) else { continue };
                let decays = decays(parameter.name);
                adamw.step(
                    step,
                    learning_rate,
                    decays,
                    parameter.value,
                    parameter.gradient,
                    moments,
                )?;
            }
            drop(parameters);
            self.engine.parameters_changed();
        }
        self.engine.set_gradients_to_zero();
        Ok(norm)
    }

    fn forget_moments(&mut self) -> Result<()> {
        self.moments.clear();
        Ok(())
    }

    fn state(&mut self) -> Result<TraineeState> {
        // The copy takes no more than what a step works in.
        self.engine.release_memory();
        let moments = &self.moments;
        let state = |parameter: &coderag_encoder::engine::ParameterMut<'_>| {
            let moments = moments.get(parameter.name);
            ParameterState {
                shape: parameter.shape.to_vec(),
                value: parameter.value.to_vec(),
                first_moment: moments.map(|moments| moments.first.clone()).unwrap_or_default(),
                second_moment: moments.map(|moments| moments.second.clone()).unwrap_or_default(),
            }
        };
        let parameters = self.engine.parameters();
        Ok(parameters
            .iter()
            .map(|parameter| (parameter.name.to_owned(), state(parameter)))
            .collect())
    }

    fn restore(&mut self, mut state: TraineeState) -> Result<()> {
        let mut parameters = self.engine.parameters();
        let shapes = parameters.iter().map(|parameter| (parameter.name, parameter.shape.to_vec()));
        check_state(&state, shapes)?;
        self.moments.clear();
        for parameter in &mut parameters {
            let Some(found) = state.remove(parameter.name) else { continue };
            parameter.value.copy_from_slice(&found.value);
            if !found.first_moment.is_empty() {
                let moments = Moments { first: found.first_moment, second: found.second_moment };
                self.moments.insert(parameter.name.to_owned(), moments);
            }
        }
        drop(parameters);
        self.engine.parameters_changed();
        self.engine.set_gradients_to_zero();
        self.tape = None;
        Ok(())
    }
}
