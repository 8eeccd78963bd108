//! Alone in its process, because it counts what the process allocates.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod allocations;

use allocations::peak_of;
use burn::backend::Flex;
use burn::tensor::{Tensor, TensorData};
use burn_autodiff::Autodiff;
use coderag_train::loss::{Loss, LossBatch, MultipleNegativesRanking};

#[test]
fn the_matrix_of_similarities_is_never_whole() {
    const PAIRS: usize = 2048;
    const DIMENSIONS: usize = 32;
    let texts = 3 * PAIRS;
    let values: Vec<f32> =
        (0..texts * DIMENSIONS).map(|i| (i * 7919 % 10_007) as f32 / 5_000.0 - 1.0).collect();
    let vectors = TensorData::new(values, [texts, DIMENSIONS]);
    let vectors = Tensor::<Flex, 2>::from_data(vectors, &Default::default());
    let batch = LossBatch::new(PAIRS, (0..PAIRS).collect()).unwrap();
    let loss = Loss::MultipleNegativesRanking(MultipleNegativesRanking::default());
    let whole_matrix = PAIRS * batch.documents() * size_of::<f32>();

    let peak = |rows_per_block: usize| {
        peak_of(|| {
            loss.value_and_gradient::<Autodiff<Flex>>(vectors.clone(), &batch, rows_per_block)
                .unwrap()
        })
    };
    let (in_blocks, cached) = peak(64);
    let (at_once, uncached) = peak(PAIRS);
    println!(
        "{} MB in blocks of 64 rows, {} MB at once; the matrix has {} MB",
        in_blocks / 1_000_000,
        at_once / 1_000_000,
        whole_matrix / 1_000_000
    );
    assert!(in_blocks < whole_matrix / 2, "{in_blocks}");
    assert!(at_once > whole_matrix, "{at_once}");
    assert!((cached.value - uncached.value).abs() < 1e-6 * uncached.value);
    let difference = (cached.gradient - uncached.gradient.clone()).abs().max().into_scalar();
    let largest = uncached.gradient.abs().max().into_scalar();
    println!("gradients differ by {difference:.1e} of {largest:.1e}");
    // In f32, where a sum of 2048 numbers depends on their order that much.
    assert!(difference <= 5e-6 * largest, "{difference} of {largest}");
}
