use std::collections::{BTreeMap, BTreeSet};

use crate::{Error, Result};

/// The trained parameters of a trainee by name, with what the optimizer remembers.
pub type TraineeState = BTreeMap<String, ParameterState>;

/// A trained parameter at some step.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterState {
    /// The sizes of the tensor, the slowest first.
    pub shape: Vec<usize>,
    /// The values, row by row.
    pub value: Vec<f32>,
    /// The running mean of the gradients; empty before the first step.
    pub first_moment: Vec<f32>,
    /// The running mean of their squares; empty before the first step.
    pub second_moment: Vec<f32>,
}

/// Refuses a state that is not of parameters of these names and shapes.
///
/// # Errors
/// [`Error::Optimizer`].
pub(super) fn check_state<'a>(
    state: &TraineeState,
    parameters: impl Iterator<Item = (&'a str, Vec<usize>)>,
) -> Result<()> {
    let mut known = BTreeSet::new();
    for (name, shape) in parameters {
        let Some(found) = state.get(name).filter(|found| found.shape == shape) else {
            return Err(Error::Optimizer(format!(
                "the checkpoint has no parameter `{name}` of the shape {shape:?}"
            )));
        };
        let length: usize = shape.iter().product();
        let moments = [found.first_moment.len(), found.second_moment.len()];
        if found.value.len() != length || (moments != [0, 0] && moments != [length, length]) {
            return Err(Error::Optimizer(format!(
                "the parameter `{name}` of the shape {shape:?} has {} numbers in the checkpoint, and \
                 moments of {} and {}",
                found.value.len(),
                moments[0],
                moments[1]
            )));
        }
        known.insert(name);
    }
    match state.keys().find(|name| !known.contains(name.as_str())) {
        Some(name) => Err(Error::Optimizer(format!("the model has no parameter `{name}`"))),
        None => Ok(()),
    }
}
