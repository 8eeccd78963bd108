use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::CHUNK;
use crate::{Error, Result};

/// Adam with decoupled weight decay.
///
/// At step `t`, counted from 1, with gradient `g`, learning rate `η` and weight decay `λ`:
///
/// ```text
/// θ ← θ - η λ θ
/// m ← β₁ m + (1 - β₁) g        v ← β₂ v + (1 - β₂) g²
/// θ ← θ - η / (1 - β₁ᵗ) · m / (√v / √(1 - β₂ᵗ) + ε)
/// ```
///
/// Loshchilov and Hutter 2019, arXiv:1711.05101; equal to `torch.optim.AdamW`, in f32.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Settings")]
pub struct AdamW {
    /// How slowly the mean of the gradients follows them, `β₁`.
    pub beta1: f64,
    /// How slowly the mean of their squares follows them, `β₂`.
    pub beta2: f64,
    /// What keeps the division from 0, `ε`.
    pub epsilon: f64,
    /// How fast parameters shrink, `λ`, where [`decays`] says that they do.
    pub weight_decay: f64,
}

/// [`AdamW`] as a configuration has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    beta1: Option<f64>,
    beta2: Option<f64>,
    epsilon: Option<f64>,
    weight_decay: Option<f64>,
}

impl TryFrom<Settings> for AdamW {
    type Error = String;

    fn try_from(settings: Settings) -> Result<Self, String> {
        let defaults = Self::default();
        let optimizer = Self {
            beta1: settings.beta1.unwrap_or(defaults.beta1),
            beta2: settings.beta2.unwrap_or(defaults.beta2),
            epsilon: settings.epsilon.unwrap_or(defaults.epsilon),
            weight_decay: settings.weight_decay.unwrap_or(defaults.weight_decay),
        };
        for (name, beta) in [("beta1", optimizer.beta1), ("beta2", optimizer.beta2)] {
            if !(0.0..1.0).contains(&beta) {
                return Err(format!("`{name}` is {beta} and must be from 0 to below 1"));
            }
        }
        let values = [("epsilon", optimizer.epsilon), ("weight_decay", optimizer.weight_decay)];
        for (name, value) in values {
            if !(value.is_finite() && value >= 0.0) {
                return Err(format!("`{name}` is {value} and must be 0 or more"));
            }
        }
        Ok(optimizer)
    }
}

/// What AdamW remembers of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// The running mean of the gradients, `m`.
    pub first: Vec<f32>,
    /// The running mean of their squares, `v`.
    pub second: Vec<f32>,
}

impl Moments {
    /// Those of a tensor of this many numbers that has not been trained.
    pub fn new(length: usize) -> Self {
        Self { first: vec![0.0; length], second: vec![0.0; length] }
    }
}

impl Default for AdamW {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 }
    }
}

/// Whether the weights of a parameter decay: those of normalizations and biases do not.
///
/// By its name, as transformers' trainer does by name and by type of layer.
pub fn decays(name: &str) -> bool {
    let name = name.to_lowercase();
    let normalization = |part: &str| part.contains("norm") || part.starts_with("ln_");
    !name.contains("bias") && !name.split('.').any(normalization)
}

impl AdamW {
    /// Takes a step, counted from 0, with one tensor.
    ///
    /// # Errors
    /// [`Error::Optimizer`] when the slices have different lengths.
    pub fn step(
        &self,
        step: u64,
        learning_rate: f64,
        decays: bool,
        parameters: &mut [f32],
        gradient: &[f32],
        moments: &mut Moments,
    ) -> Result<()> {
        let lengths = [gradient.len(), moments.first.len(), moments.second.len()];
        if lengths.iter().any(|length| *length != parameters.len()) {
            return Err(Error::Optimizer(format!(
                "a tensor of {} numbers has a gradient of {} and moments of {} and {}",
                parameters.len(),
                lengths[0],
                lengths[1],
                lengths[2]
            )));
        }
        let constants = self.constants(step, learning_rate, decays);
        if parameters.len() <= CHUNK {
            constants.apply(parameters, gradient, &mut moments.first, &mut moments.second);
            return Ok(());
        }
        parameters
            .par_chunks_mut(CHUNK)
            .zip(gradient.par_chunks(CHUNK))
            .zip(moments.first.par_chunks_mut(CHUNK))
            .zip(moments.second.par_chunks_mut(CHUNK))
            .for_each(|(((parameters, gradient), first), second)| {
                constants.apply(parameters, gradient, first, second);
            });
        Ok(())
    }

    /// What all numbers of a tensor have in common at a step, computed in f64 as torch does.
    pub(super) fn constants(&self, step: u64, learning_rate: f64, decays: bool) -> Constants {
        let count = (step + 1) as f64;
        let weight_decay = if decays { self.weight_decay } else { 0.0 };
        Constants {
            shrink: (1.0 - learning_rate * weight_decay) as f32,
            first_weight: (1.0 - self.beta1) as f32,
            beta2: self.beta2 as f32,
            second_weight: (1.0 - self.beta2) as f32,
            step_size: (learning_rate / (1.0 - self.beta1.powf(count))) as f32,
            second_root: (1.0 - self.beta2.powf(count)).sqrt() as f32,
            epsilon: self.epsilon as f32,
        }
    }
}

pub(super) struct Constants {
    pub(super) shrink: f32,
    pub(super) first_weight: f32,
    pub(super) beta2: f32,
    pub(super) second_weight: f32,
    pub(super) step_size: f32,
    pub(super) second_root: f32,
    pub(super) epsilon: f32,
}

impl Constants {
    /// The step of numbers that lie side by side; a loop that compiles to vector instructions.
    fn apply(
        &self,
        parameters: &mut [f32],
        gradient: &[f32],
        first: &mut [f32],
        second: &mut [f32],
    ) {
        let state = first.iter_mut().zip(second);
        for ((parameter, gradient), (first, second)) in
            parameters.iter_mut().zip(gradient).zip(state)
        {
            *first += self.first_weight * (gradient - *first);
            *second = self.beta2 * *second + self.second_weight * gradient * gradient;
            let denominator = second.sqrt() / self.second_root + self.epsilon;
            *parameter = self.shrink * *parameter - self.step_size * *first / denominator;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_tensor_is_updated_as_its_parts_are() {
        let length = 3 * CHUNK + 17;
        let numbers = |scale: f32| -> Vec<f32> {
            (0..length).map(|i| ((i * 7919 % 1000) as f32 - 500.0) * scale).collect()
        };
        let optimizer = AdamW { weight_decay: 0.1, ..Default::default() };
        let (mut whole, mut parts) = (numbers(1e-3), numbers(1e-3));
        let gradient = numbers(1e-2);
        let mut of_whole = Moments::new(length);
        let mut of_parts: Vec<Moments> =
            parts.chunks(1000).map(|part| Moments::new(part.len())).collect();
        for step in 0..3 {
            optimizer.step(step, 0.01, true, &mut whole, &gradient, &mut of_whole).unwrap();
            let tensors = parts.chunks_mut(1000).zip(gradient.chunks(1000));
            for ((part, gradient), moments) in tensors.zip(&mut of_parts) {
                optimizer.step(step, 0.01, true, part, gradient, moments).unwrap();
            }
        }
        assert_ne!(whole, numbers(1e-3));
        assert_eq!(whole, parts);
        let joined: Vec<f32> = of_parts.iter().flat_map(|part| part.second.clone()).collect();
        assert_eq!(of_whole.second, joined);
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let read = |text: &str| coderag_core::config::parse::<AdamW>(text, "train.toml");
        assert_eq!(read("").unwrap(), AdamW::default());
        assert_eq!(read("beta2 = 0.98").unwrap(), AdamW { beta2: 0.98, ..Default::default() });
        for (text, expected) in [
            ("beta1 = 1.0", "`beta1` is 1"),
            ("beta2 = nan", "`beta2` is NaN"),
            ("weight_decay = -0.1", "`weight_decay` is -0.1"),
            ("weight_decays = 0.1", "did you mean `weight_decay`?"),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn slices_of_different_lengths_are_refused() {
        let mut moments = Moments::new(2);
        let mut step = |parameters: &mut [f32], gradient: &[f32]| {
            AdamW::default().step(0, 0.1, true, parameters, gradient, &mut moments)
        };
        assert!(step(&mut [1.0, 2.0], &[1.0, 2.0]).is_ok());
        let message = step(&mut [1.0, 2.0], &[1.0]).unwrap_err().to_string();
        assert!(message.contains("2 numbers") && message.contains("gradient of 1"), "{message}");
        assert!(step(&mut [1.0], &[1.0]).is_err());
    }
}
