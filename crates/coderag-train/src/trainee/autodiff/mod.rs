mod model;
mod parameters;

use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;
use coderag_encoder::lora::Adapter;
use coderag_encoder::{Body, MatrixPrecision, ModelDirectory};

use super::{Trainee, TraineeState, Update, Vectors, no_forward_pass};
use crate::config::DropoutSettings;
use crate::{Error, Result};
use model::{Model, Part};
use parameters::Parameters;

/// How many tokens a card takes through a model together: enough to be busy with one launch. Gradient checkpointing
/// bounds the memory.
pub const TOKENS_AT_ONCE_ON_CARD: usize = 65_536;

/// A BERT, RoBERTa, Qwen2 or Qwen3 in training on any burn backend.
///
/// Of a step's numbers only the norm of the gradients is read from the device. Unlike in torch, the embedding of
/// the padding token is trained where that token stands in a text.
#[derive(Debug)]
pub struct BurnTrainee<B: AutodiffBackend> {
    model: Model<B>,
    parameters: Parameters<B::InnerBackend>,
    gradient_checkpointing: bool,
    /// The last forward pass, unless a backward pass has used it up.
    remembered: Option<Vec<Remembered<B>>>,
}

/// A part of a forward pass's sequences, and what the backward pass needs of it.
#[derive(Debug)]
enum Remembered<B: AutodiffBackend> {
    /// Which sequences they are, and their vectors, `[sequences, dim]`, which know what they were computed
    /// from.
    Graph(Vec<usize>, Tensor<B, 2>),
    /// With gradient checkpointing: what entered each block from the lowest that the backward pass goes
    /// through, and what left the last, `[batch * tokens, hidden_size]`.
    States(Part<B>, Vec<Tensor<B::InnerBackend, 2>>),
}

impl<B: AutodiffBackend> BurnTrainee<B> {
    /// Puts a model's weights on a device. With an adapter, its A and B are trained and nothing else; without
    /// one, every parameter.
    ///
    /// With gradient checkpointing a forward pass remembers what enters each block and nothing else; the
    /// backward pass computes the rest again.
    ///
    /// # Errors
    /// [`Error::Encoder`](crate::Error::Encoder) when the weights cannot be read or the adapter is for another
    /// model, [`Error::Setting`](crate::Error::Setting) for a dropout that the model does not have.
    pub fn load(
        model: &ModelDirectory,
        adapter: Option<&Adapter>,
        dropout: DropoutSettings,
        gradient_checkpointing: bool,
        device: &B::Device,
    ) -> Result<Self> {
        let mut model = Model::load(model, adapter, dropout, device)?;
        let parameters;
        (parameters, model.body) = Parameters::of(model.body);
        Ok(Self { model, parameters, gradient_checkpointing, remembered: None })
    }

    /// Takes other than 4,096 tokens through the model together at the most, padding included. Sequences of
    /// like length are together, so the fewer, the less is padded; the more, the more a device has to do at
    /// once. It changes what dropout leaves out, and nothing else but roundings.
    #[must_use]
    pub fn with_tokens_at_once(mut self, tokens: usize) -> Self {
        self.model.tokens_at_once = tokens;
        self
    }

    /// Has matrix products computed in this format. Parameters and the optimizer's state stay in f32; weights
    /// that an adapter leaves as they are are kept in it.
    #[must_use]
    pub fn with_precision(mut self, precision: MatrixPrecision) -> Self {
        self.model.change_body(|body| body.with_precision(precision));
        self
    }

    /// The model as it is now.
    pub fn body(&self) -> &Body<B> {
        &self.model.body
    }

    /// The backward pass from the last block down, each computed again.
    fn backward_by_layer(
        &mut self,
        part: &Part<B>,
        mut states: Vec<Tensor<B::InnerBackend, 2>>,
        mut gradient: Vectors<Self>,
    ) {
        let embeddings_are_trained = self.parameters.include_embeddings();
        let (model, parameters) = (&self.model, &mut self.parameters);
        let Part { batch, seed, .. } = part;
        let pass = model.body.pass(batch);
        let mut go_back = |output: Tensor<B, 2>, gradient| {
            let mut gradients = backward(output, gradient);
            parameters.add(&model.body, &mut gradients);
            gradients
        };
        let mut index = pass.layers();
        while let Some(input) = states.pop() {
            let input = Tensor::from_inner(input).require_grad();
            let output = if index == pass.layers() {
                model.pool(&*pass, batch, input.clone())
            } else {
                model.layer(&*pass, index, input.clone(), *seed)
            };
            let mut gradients = go_back(output, gradient);
            let Some(of_input) = input.grad_remove(&mut gradients) else { return };
            (gradient, index) = (of_input, index.saturating_sub(1));
        }
        if embeddings_are_trained {
            go_back(model.embeddings(&*pass, *seed), gradient);
        }
    }
}

impl<B: AutodiffBackend> Remembered<B> {
    fn indices(&self) -> &[usize] {
        match self {
            Self::Graph(indices, _) | Self::States(Part { indices, .. }, _) => indices,
        }
    }
}

/// The gradients, given that of the loss with respect to some tensor.
fn backward<B: AutodiffBackend>(
    output: Tensor<B, 2>,
    gradient: Tensor<B::InnerBackend, 2>,
) -> B::Gradients {
    (output * Tensor::from_inner(gradient)).sum().backward()
}

impl<B: AutodiffBackend> Trainee for BurnTrainee<B> {
    type Backend = B;

    fn embed(&self, sequences: &[&[u32]], seed: Option<u64>) -> Result<Vectors<Self>> {
        let model = &self.model;
        model.architecture.check_sequences(sequences)?;
        let Some(seed) = seed else { return Ok(model.embed(sequences)) };
        let embed = |part: Part<B>| (model.vectors_without_graph(&part, |_, _| {}), part.indices);
        Ok(model.in_order(model.parts(sequences, seed).into_iter().map(embed)))
    }

    fn forward(&mut self, sequences: &[&[u32]], seed: u64) -> Result<Vectors<Self>> {
        // What was remembered makes room first.
        self.remembered = None;
        let model = &self.model;
        model.architecture.check_sequences(sequences)?;
        let lowest = self.parameters.lowest_layer();
        let mut remembered = Vec::new();
        let forward = |part: Part<B>| {
            let indices = part.indices.clone();
            if !self.gradient_checkpointing {
                let vectors = model.vectors(&part);
                remembered.push(Remembered::Graph(part.indices, vectors.clone()));
                return (vectors.inner(), indices);
            }
            let mut states = Vec::new();
            let vectors = model.vectors_without_graph(&part, |index, state| {
                if index >= lowest {
                    states.push(state);
                }
            });
            remembered.push(Remembered::States(part, states));
            (vectors, indices)
        };
        let vectors = model.in_order(model.parts(sequences, seed).into_iter().map(forward));
        self.remembered = Some(remembered);
        Ok(vectors)
    }

    fn backward(&mut self, gradient: Vectors<Self>) -> Result<()> {
        let Some(remembered) = self.remembered.take() else { return Err(no_forward_pass()) };
        let sequences = remembered.iter().map(|part| part.indices().len()).sum();
        let (found, expected) = (gradient.dims(), [sequences, self.model.dimensions()]);
        if found != expected {
            return Err(Error::Encoder(coderag_encoder::Error::Training(format!(
                "there are gradients of the shape {found:?} for vectors of the shape {expected:?}"
            ))));
        }
        for part in remembered {
            let gradient = gradient.clone().select(0, self.model.rows(part.indices()));
            match part {
                Remembered::Graph(_, vectors) => {
                    let mut gradients = backward(vectors, gradient);
                    self.parameters.add(&self.model.body, &mut gradients);
                }
                Remembered::States(part, states) => self.backward_by_layer(&part, states, gradient),
            }
        }
        Ok(())
    }

    fn step(&mut self, update: &Update) -> Result<f64> {
        let norm = self.parameters.gradient_norm()?;
        if norm.is_finite() {
            let parameters = &mut self.parameters;
            self.model.change_body(|body| parameters.step(body, update, norm));
        }
        self.parameters.forget_gradients();
        Ok(norm)
    }

    fn forget_moments(&mut self) -> Result<()> {
        self.parameters.forget_moments();
        Ok(())
    }

    fn state(&mut self) -> Result<TraineeState> {
        self.parameters.state(&self.model.body)
    }

    fn restore(&mut self, state: TraineeState) -> Result<()> {
        self.parameters.check(&state)?;
        self.remembered = None;
        let parameters = &mut self.parameters;
        self.model.change_body(|body| parameters.restore(body, state));
        Ok(())
    }
}
