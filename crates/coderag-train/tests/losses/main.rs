//! Losses against sentence-transformers, against a plain computation, and against themselves.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod against_sentence_transformers;
mod naive;
mod properties;
#[path = "../reference/mod.rs"]
mod reference;
mod settings;

use burn::backend::Flex;
use burn::tensor::{DType, Tensor, TensorData};
use burn_autodiff::Autodiff;
use coderag_train::loss::{Loss, LossBatch};

/// The backend of the tests, which computes in the type of the vectors.
type Backend = Autodiff<Flex>;

/// Vectors `[texts, dim]`.
fn vectors(values: &[f64], dimensions: usize, dtype: DType) -> Tensor<Flex, 2> {
    let shape = [values.len() / dimensions, dimensions];
    Tensor::from_data(TensorData::new(values.to_vec(), shape), (&Default::default(), dtype))
}

fn numbers(tensor: Tensor<Flex, 2>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

fn loss(settings: &str) -> Loss {
    coderag_core::config::parse(settings, "train.toml").unwrap()
}

/// The loss and its gradient in blocks.
fn in_blocks(
    loss: &Loss,
    vectors: Tensor<Flex, 2>,
    batch: &LossBatch,
    rows_per_block: usize,
) -> (f64, Vec<f64>) {
    let result = loss.value_and_gradient::<Backend>(vectors, batch, rows_per_block).unwrap();
    (result.value, numbers(result.gradient))
}

/// The loss and its gradient as one graph, with nothing but autodiff.
fn whole(loss: &Loss, vectors: Tensor<Flex, 2>, batch: &LossBatch) -> (f64, Vec<f64>) {
    let leaf = Tensor::<Backend, 2>::from_inner(vectors).require_grad();
    let value = loss.value(leaf.clone(), batch).unwrap();
    let gradient = leaf.grad(&value.backward()).unwrap();
    (value.into_data().iter::<f64>().next().unwrap(), numbers(gradient))
}

/// The largest difference, as a part of the largest number of `expected`.
fn relative_difference(ours: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(ours.len(), expected.len());
    let largest = expected.iter().fold(f64::MIN_POSITIVE, |largest, x| largest.max(x.abs()));
    let difference = ours.iter().zip(expected).map(|(x, y)| (x - y).abs());
    // A number that is none is infinitely far.
    let far = |x: f64| if x.is_nan() { f64::INFINITY } else { x };
    difference.map(far).fold(0.0, f64::max) / largest
}
