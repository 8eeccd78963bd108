use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};

use super::similarity::normalize;
use super::{Loss, Term};
use crate::{Error, Result};

/// Another loss at several lengths of the vectors, so that their first components can be used alone.
///
/// The sum, over the lengths, of `weight · loss` of the vectors cut to that length and brought back to unit
/// length. (At full length too, so it changes a loss of dot products.) A guide's vectors are not cut.
///
/// Kusupati et al. 2022, arXiv:2205.13147; equal to sentence-transformers' `MatryoshkaLoss`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Settings")]
pub struct Matryoshka {
    /// The loss.
    pub loss: Box<Loss>,
    /// The lengths.
    pub dimensions: Vec<usize>,
    /// The weight of each length.
    pub weights: Vec<f64>,
    /// How many of the lengths, drawn at random, a step uses; all of them where this is `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dimensions_per_step: Option<usize>,
}

/// [`Matryoshka`] as a configuration has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    loss: Box<Loss>,
    dimensions: Vec<usize>,
    weights: Option<Vec<f64>>,
    dimensions_per_step: Option<usize>,
}

impl TryFrom<Settings> for Matryoshka {
    type Error = String;

    fn try_from(settings: Settings) -> Result<Self, String> {
        let dimensions = settings.dimensions;
        if dimensions.is_empty() || dimensions.contains(&0) {
            return Err("`dimensions` must be numbers over 0, at least one".to_owned());
        }
        let weights = settings.weights.unwrap_or_else(|| vec![1.0; dimensions.len()]);
        if weights.len() != dimensions.len() {
            return Err(format!(
                "`weights` has {} numbers, and `dimensions` has {}",
                weights.len(),
                dimensions.len()
            ));
        }
        if weights.iter().any(|weight| !weight.is_finite()) {
            return Err("`weights` must be finite numbers".to_owned());
        }
        if settings.dimensions_per_step == Some(0) {
            return Err("`dimensions_per_step` must be at least 1".to_owned());
        }
        if matches!(*settings.loss, Loss::Matryoshka(_)) {
            return Err("`loss` of a matryoshka loss is a matryoshka loss again".to_owned());
        }
        Ok(Self {
            loss: settings.loss,
            dimensions,
            weights,
            dimensions_per_step: settings.dimensions_per_step,
        })
    }
}

impl Matryoshka {
    /// The loss with the lengths that are drawn for one step.
    pub(super) fn at_step(&self, seed: u64, step: u64) -> Self {
        let mut places: Vec<usize> = (0..self.dimensions.len()).collect();
        let wanted = self.dimensions_per_step.unwrap_or(places.len()).min(places.len());
        // The first places of a Fisher-Yates shuffle.
        let mut state = mix(seed ^ mix(step));
        for place in 0..wanted {
            state = mix(state);
            let left = (places.len() - place) as u64;
            places.swap(place, place + (state % left) as usize);
        }
        places.truncate(wanted);
        places.sort_unstable();
        Self {
            loss: self.loss.clone(),
            dimensions: places.iter().map(|&place| self.dimensions[place]).collect(),
            weights: places.iter().map(|&place| self.weights[place]).collect(),
            dimensions_per_step: None,
        }
    }

    /// Refuses vectors that are shorter than one of the lengths.
    pub(super) fn check(&self, dimensions: usize) -> Result<()> {
        match self.dimensions.iter().find(|length| **length > dimensions) {
            Some(length) => Err(Error::LossBatch(format!(
                "the matryoshka loss cuts vectors to {length} dimensions, and they have {dimensions}"
            ))),
            None => Ok(()),
        }
    }

    /// The inner loss at each length.
    pub(super) fn terms(&self) -> Vec<Term<'_>> {
        let lengths = self.dimensions.iter().zip(&self.weights);
        let term = |(&dimensions, &weight)| Term {
            loss: self.loss.as_ref(),
            dimensions: Some(dimensions),
            weight,
        };
        lengths.map(term).collect()
    }
}

/// Vectors `[texts, dim]` cut to their first components and brought back to unit length.
pub(super) fn shorten<B: Backend>(embeddings: Tensor<B, 2>, dimensions: usize) -> Tensor<B, 2> {
    normalize(embeddings.narrow(1, 0, dimensions))
}

/// A step of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
fn mix(state: u64) -> u64 {
    let mut mixed = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::MultipleNegativesRanking;

    #[test]
    fn a_step_draws_its_lengths_by_seed_and_step_alone() {
        let loss = Matryoshka {
            loss: Box::new(Loss::MultipleNegativesRanking(MultipleNegativesRanking::default())),
            dimensions: vec![64, 32, 16, 8],
            weights: vec![1.0, 2.0, 3.0, 4.0],
            dimensions_per_step: Some(2),
        };
        let mut drawn = [0; 4];
        for step in 0..4000 {
            let at_step = loss.at_step(17, step);
            assert_eq!(at_step, loss.at_step(17, step));
            assert_eq!(at_step.dimensions.len(), 2);
            assert!(at_step.dimensions[0] > at_step.dimensions[1]);
            for (dimensions, weight) in at_step.dimensions.iter().zip(at_step.weights) {
                let place = loss.dimensions.iter().position(|one| one == dimensions).unwrap();
                assert_eq!(loss.weights[place], weight);
                drawn[place] += 1;
            }
        }
        // Each of the four is in half of the draws; 100 is over three standard deviations.
        assert!(drawn.iter().all(|count| (1900..2100).contains(count)), "{drawn:?}");
        assert!((0..20).any(|step| loss.at_step(17, step) != loss.at_step(18, step)));
    }

    #[test]
    fn without_a_number_per_step_every_length_is_used() {
        let loss = Matryoshka {
            loss: Box::new(Loss::MultipleNegativesRanking(MultipleNegativesRanking::default())),
            dimensions: vec![8, 64],
            weights: vec![1.0, 2.0],
            dimensions_per_step: None,
        };
        assert_eq!(loss.at_step(1, 2), loss);
    }
}
