use std::collections::HashMap;

use burn::module::{Module as _, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Shape, Tensor, TensorData};
use coderag_encoder::{Body, ParameterPlace};

use crate::optimizer::{TensorMoments, clip_factor, decays, norm};
use crate::trainee::state::check_state;
use crate::trainee::{ParameterState, TraineeState, Update, values_of};
use crate::{Error, Result};

/// What training knows of a body's parameters: their names, their gradients and what AdamW remembers. `B` is
/// the backend without gradients.
#[derive(Debug)]
pub(super) struct Parameters<B: Backend> {
    /// In the body's order, so that sums over parameters are always the same.
    list: Vec<Parameter<B>>,
    by_id: HashMap<ParamId, usize>,
}

#[derive(Debug)]
struct Parameter<B: Backend> {
    place: ParameterPlace,
    /// The sizes of the tensor as burn has it.
    shape: Vec<usize>,
    /// `[numbers]`, in burn's order.
    gradient: Option<Tensor<B, 1>>,
    moments: Option<TensorMoments<B>>,
}

impl<B: Backend> Parameters<B> {
    /// The trained parameters of a body, whose numbers are put in the order in which a step leaves them.
    pub(super) fn of<A: AutodiffBackend<InnerBackend = B>>(body: Body<A>) -> (Self, Body<A>) {
        let mut parameters = Self { list: Vec::new(), by_id: HashMap::new() };
        for (id, place) in body.trained_parameters() {
            parameters.by_id.insert(id, parameters.list.len());
            let shape = Vec::new();
            parameters.list.push(Parameter { place, shape, gradient: None, moments: None });
        }
        let body = body.map(&mut Register(&mut parameters));
        (parameters, body)
    }

    /// The lowest block that a backward pass goes through.
    pub(super) fn lowest_layer(&self) -> usize {
        if self.include_embeddings() {
            return 0;
        }
        self.list.iter().filter_map(|parameter| parameter.place.layer).min().unwrap_or(0)
    }

    /// Whether a parameter before the first block is trained.
    pub(super) fn include_embeddings(&self) -> bool {
        // Behind the last block, parameters are trained with all others or not at all.
        self.list.iter().any(|parameter| parameter.place.layer.is_none())
    }

    /// Adds the gradients of a backward pass.
    pub(super) fn add<A: AutodiffBackend<InnerBackend = B>>(
        &mut self,
        body: &Body<A>,
        gradients: &mut A::Gradients,
    ) {
        body.visit(&mut Add { parameters: self, gradients });
    }

    /// Forgets the gradients.
    pub(super) fn forget_gradients(&mut self) {
        self.list.iter_mut().for_each(|parameter| parameter.gradient = None);
    }

    pub(super) fn forget_moments(&mut self) {
        self.list.iter_mut().for_each(|parameter| parameter.moments = None);
    }

    /// The norm of all gradients together.
    pub(super) fn gradient_norm(&self) -> Result<f64> {
        let rows = |parameter: &Parameter<B>| {
            let columns = parameter.shape.last().copied().unwrap_or(1).max(1);
            let gradient = parameter.gradient.clone()?;
            let [numbers] = gradient.dims();
            Some(gradient.reshape([numbers / columns, columns]))
        };
        norm(self.list.iter().filter_map(rows)).map_err(|error| Error::Backend(error.into()))
    }

    /// Takes a step with gradients of this norm.
    pub(super) fn step<A: AutodiffBackend<InnerBackend = B>>(
        &mut self,
        body: Body<A>,
        update: &Update,
        norm: f64,
    ) -> Body<A> {
        let factor = clip_factor(norm, update.max_gradient_norm);
        body.map(&mut Step { parameters: self, update, factor })
    }

    /// The values of a body's parameters, and what AdamW remembers.
    pub(super) fn state<A: AutodiffBackend<InnerBackend = B>>(
        &self,
        body: &Body<A>,
    ) -> Result<TraineeState> {
        let mut read = Read { parameters: self, found: Ok(TraineeState::new()) };
        body.visit(&mut read);
        read.found
    }

    /// Refuses a state that is another model's.
    pub(super) fn check(&self, state: &TraineeState) -> Result<()> {
        let parameters = self.list.iter();
        check_state(
            state,
            parameters.map(|Parameter { place, shape, .. }| {
                (place.name.as_str(), stored_shape(place, shape))
            }),
        )
    }

    /// Puts a state that passed [`check`](Self::check) into a body and here.
    pub(super) fn restore<A: AutodiffBackend<InnerBackend = B>>(
        &mut self,
        body: Body<A>,
        state: TraineeState,
    ) -> Body<A> {
        self.forget_gradients();
        body.map(&mut Restore { parameters: self, state })
    }

    fn get(&self, id: ParamId) -> Option<&Parameter<B>> {
        self.list.get(*self.by_id.get(&id)?)
    }

    fn get_mut(&mut self, id: ParamId) -> Option<&mut Parameter<B>> {
        self.list.get_mut(*self.by_id.get(&id)?)
    }
}

/// The sizes of a tensor in checkpoints.
fn stored_shape(place: &ParameterPlace, shape: &[usize]) -> Vec<usize> {
    let mut shape = shape.to_vec();
    if place.transposed {
        shape.reverse();
    }
    shape
}

/// Notes the sizes of parameters and orders their numbers: in another order, sums could have other roundings.
struct Register<'a, B: Backend>(&'a mut Parameters<B>);

impl<A: AutodiffBackend> ModuleMapper<A> for Register<'_, A::InnerBackend> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<A, D>>) -> Param<Tensor<A, D>> {
        let Some(parameter) = self.0.get_mut(param.id) else { return param };
        param.map(|tensor| {
            let shape = tensor.shape();
            parameter.shape = shape.to_vec();
            trained(tensor.inner().reshape([-1]), shape)
        })
    }
}

/// A parameter from its numbers.
fn trained<A: AutodiffBackend, const D: usize>(
    numbers: Tensor<A::InnerBackend, 1>,
    shape: Shape,
) -> Tensor<A, D> {
    Tensor::from_inner(numbers.reshape(shape)).require_grad()
}

/// Takes gradients out of a backward pass.
struct Add<'a, A: AutodiffBackend> {
    parameters: &'a mut Parameters<A::InnerBackend>,
    gradients: &'a mut A::Gradients,
}

impl<A: AutodiffBackend> ModuleVisitor<A> for Add<'_, A> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<A, D>>) {
        let Some(parameter) = self.parameters.get_mut(param.id) else { return };
        let Some(gradient) = param.val().grad_remove(self.gradients) else { return };
        let gradient = gradient.reshape([-1]);
        parameter.gradient = Some(match parameter.gradient.take() {
            Some(sum) => sum + gradient,
            None => gradient,
        });
    }
}

/// A step of AdamW for each parameter.
struct Step<'a, B: Backend> {
    parameters: &'a mut Parameters<B>,
    update: &'a Update,
    /// What gradients are multiplied with, if they are too long.
    factor: Option<f32>,
}

impl<A: AutodiffBackend> ModuleMapper<A> for Step<'_, A::InnerBackend> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<A, D>>) -> Param<Tensor<A, D>> {
        let Some(parameter) = self.parameters.get_mut(param.id) else { return param };
        let Update { step, learning_rate, adamw, .. } = *self.update;
        param.map(|tensor| {
            let shape = tensor.shape();
            let numbers: Tensor<A::InnerBackend, 1> = tensor.inner().reshape([-1]);
            let gradient = match (parameter.gradient.take(), self.factor) {
                (Some(gradient), Some(factor)) => gradient * factor,
                (Some(gradient), None) => gradient,
                (None, _) => numbers.zeros_like(),
            };
            let moments = parameter.moments.take();
            let moments = moments.unwrap_or_else(|| TensorMoments::new(&numbers));
            let decays = decays(&parameter.place.name);
            let (numbers, moments) =
                adamw.step_tensor((step, learning_rate), decays, numbers, gradient, moments);
            parameter.moments = Some(moments);
            trained(numbers, shape)
        })
    }
}

/// Reads parameters and moments.
struct Read<'a, B: Backend> {
    parameters: &'a Parameters<B>,
    found: Result<TraineeState>,
}

impl<A: AutodiffBackend> ModuleVisitor<A> for Read<'_, A::InnerBackend> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<A, D>>) {
        let (Some(parameter), Ok(found)) = (self.parameters.get(param.id), &mut self.found) else {
            return;
        };
        let Parameter { place, shape, moments, .. } = parameter;
        let value = param.val().inner();
        let read = |tensor: Tensor<A::InnerBackend, D>| {
            values_of(if place.transposed { tensor.transpose() } else { tensor })
        };
        let moment = |moment: Option<&Tensor<A::InnerBackend, 1>>| match moment {
            Some(moment) => read(moment.clone().reshape(value.shape())),
            None => Ok(Vec::new()),
        };
        let state = || {
            Ok(ParameterState {
                shape: stored_shape(place, shape),
                value: read(value.clone())?,
                first_moment: moment(moments.as_ref().map(|moments| &moments.first))?,
                second_moment: moment(moments.as_ref().map(|moments| &moments.second))?,
            })
        };
        match state() {
            Ok(state) => drop(found.insert(place.name.clone(), state)),
            Err(error) => self.found = Err(error),
        }
    }
}

/// Writes parameters and moments.
struct Restore<'a, B: Backend> {
    parameters: &'a mut Parameters<B>,
    state: TraineeState,
}

impl<A: AutodiffBackend> ModuleMapper<A> for Restore<'_, A::InnerBackend> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<A, D>>) -> Param<Tensor<A, D>> {
        let Some(parameter) = self.parameters.get_mut(param.id) else { return param };
        let Some(state) = self.state.remove(&parameter.place.name) else { return param };
        let device = param.device();
        let transposed = parameter.place.transposed;
        let numbers = |values: Vec<f32>| -> Tensor<A::InnerBackend, 1> {
            let data = TensorData::new(values, state.shape.clone());
            let tensor = Tensor::<A::InnerBackend, D>::from_data(data, &device);
            if transposed { tensor.transpose().reshape([-1]) } else { tensor.reshape([-1]) }
        };
        let is_trained = !state.first_moment.is_empty();
        parameter.moments = is_trained.then(|| TensorMoments {
            first: numbers(state.first_moment),
            second: numbers(state.second_moment),
        });
        let numbers = numbers(state.value);
        param.map(|tensor| trained(numbers, tensor.shape()))
    }
}
