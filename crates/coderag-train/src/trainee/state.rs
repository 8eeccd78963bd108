use std::collections::BTreeMap;

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
