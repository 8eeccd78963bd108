use burn::tensor::DType;
use coderag_train::loss::{Loss, LossBatch};
use proptest::prelude::*;

use crate::naive::Batch;
use crate::{in_blocks, loss, vectors, whole};

const DIMENSIONS: usize = 6;

/// Settings of each loss. None has hardness weights, which are without gradient by definition: neither
/// differences nor sums would show it.
const SETTINGS: [&str; 11] = [
    "name = 'multiple_negatives_ranking'",
    "name = 'multiple_negatives_ranking'\nsimilarity = 'dot'\ntemperature = 0.7",
    "name = 'multiple_negatives_ranking'\npartition = 'per_direction'\n\
     directions = ['document_to_anchor', 'anchor_to_document']",
    "name = 'multiple_negatives_ranking'\nscale = 5.0\ndirections = ['anchor_to_document', \
     'anchor_to_anchor', 'document_to_anchor', 'document_to_document']",
    "name = 'multiple_negatives_ranking'\nfalse_negatives = { strategy = 'absolute', margin = 0.1 }",
    "name = 'multiple_negatives_ranking'\nfalse_negatives = { strategy = 'relative', margin = 0.3 }\n\
     directions = ['anchor_to_document', 'document_to_anchor', 'document_to_document']",
    "name = 'margin_mse'",
    "name = 'margin_mse'\nsimilarity = 'cosine'",
    "name = 'kl_divergence'\nsimilarity = 'cosine'\nstudent_temperature = 0.1",
    "name = 'kl_divergence'\ntemperature = 1.5",
    "name = 'matryoshka'\ndimensions = [6, 3]\nweights = [1.0, 0.4]\n\
     loss = { name = 'multiple_negatives_ranking', scale = 10.0 }",
];

/// Batches with several numbers of negatives for an anchor, few different texts, and vectors that are not
/// close to 0.
fn batches(pairs: std::ops::Range<usize>) -> impl Strategy<Value = Batch> {
    pairs
        .prop_flat_map(|pairs| (Just(pairs), prop::collection::vec(0..pairs, 1..3 * pairs)))
        .prop_flat_map(|(pairs, owners)| {
            let texts = 2 * pairs + owners.len();
            let vector = prop::collection::vec(-1.0f64..1.0, DIMENSIONS)
                .prop_filter("shorter vectors have steep slopes", |vector| {
                    vector[..3].iter().map(|x| x * x).sum::<f64>() > 0.05
                });
            (
                Just(pairs),
                prop::collection::vec(any::<u8>(), texts),
                prop::collection::vec(-3.0f32..3.0, texts - pairs),
                prop::collection::vec(vector, texts),
                Just(owners),
            )
        })
        .prop_map(|(pairs, texts, teacher, vectors, owners)| Batch {
            pairs,
            owners,
            texts,
            teacher,
            vectors,
        })
}

fn losses() -> impl Strategy<Value = Loss> {
    prop::sample::select(&SETTINGS[..]).prop_map(loss)
}

fn loss_batch(batch: &Batch) -> LossBatch {
    let loss_batch = LossBatch::new(batch.pairs, batch.owners.clone()).unwrap();
    let loss_batch = loss_batch.with_texts(&batch.texts).unwrap();
    loss_batch.with_teacher_scores(batch.teacher.clone()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn a_loss_is_what_its_definition_says(batch in batches(1..7), loss in losses(), rows in 1usize..9) {
        let values = batch.vectors.concat();
        let (value, _) =
            in_blocks(&loss, vectors(&values, DIMENSIONS, DType::F64), &loss_batch(&batch), rows);
        let expected = batch.value(&loss);
        prop_assert!((value - expected).abs() <= 1e-9 * (1.0 + expected.abs()), "{value} {expected}");
    }

    /// Along a random direction, with central differences in f64.
    #[test]
    fn a_gradient_is_the_slope_of_its_loss(
        batch in batches(1..6),
        loss in losses(),
        rows in 1usize..7,
        seed in prop::collection::vec(-1.0f64..1.0, 200),
    ) {
        const STEP: f64 = 1e-5;
        let values = batch.vectors.concat();
        let described = loss_batch(&batch);
        let direction: Vec<f64> = seed.iter().copied().cycle().take(values.len()).collect();
        let at = |distance: f64| -> f64 {
            let moved: Vec<f64> =
                values.iter().zip(&direction).map(|(x, d)| x + distance * d).collect();
            in_blocks(&loss, vectors(&moved, DIMENSIONS, DType::F64), &described, 100).0
        };
        let (value, gradient) =
            in_blocks(&loss, vectors(&values, DIMENSIONS, DType::F64), &described, rows);
        let slope: f64 = gradient.iter().zip(&direction).map(|(g, d)| g * d).sum();
        let ahead = at(STEP) - value;
        let behind = value - at(-STEP);
        // A negative that is masked on one side alone makes a step in the loss, which has no slope.
        prop_assume!((ahead - behind).abs() <= 1e-2 * STEP * (1.0 + slope.abs()));
        let measured = (ahead + behind) / (2.0 * STEP);
        prop_assert!((slope - measured).abs() <= 1e-5 * (1.0 + slope.abs()), "{slope} {measured}");
    }

    /// The cached gradient against that of the whole graph.
    #[test]
    fn in_blocks_of_any_size_the_gradient_is_that_of_the_whole(
        batch in batches(1..40),
        loss in losses(),
        rows in 1usize..50,
    ) {
        let values = batch.vectors.concat();
        let described = loss_batch(&batch);
        for (dtype, tolerance) in [(DType::F32, 2e-6), (DType::F64, 1e-13)] {
            let vectors = || vectors(&values, DIMENSIONS, dtype);
            let (value, gradient) = in_blocks(&loss, vectors(), &described, rows);
            let (expected, expected_gradient) = whole(&loss, vectors(), &described);
            prop_assert!((value - expected).abs() <= tolerance * (1.0 + expected.abs()));
            let largest = expected_gradient.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
            for (ours, theirs) in gradient.iter().zip(&expected_gradient) {
                prop_assert!((ours - theirs).abs() <= tolerance * (1e-3 + largest), "{ours} {theirs}");
            }
        }
    }

    #[test]
    fn the_order_of_the_negatives_does_not_matter(batch in batches(2..6), loss in losses()) {
        let start = 2 * batch.pairs;
        let mut turned = batch.clone();
        turned.owners.reverse();
        turned.texts[start..].reverse();
        turned.teacher[batch.pairs..].reverse();
        turned.vectors[start..].reverse();
        let of = |batch: &Batch| {
            let values = batch.vectors.concat();
            whole(&loss, vectors(&values, DIMENSIONS, DType::F64), &loss_batch(batch))
        };
        let ((value, gradient), (turned_value, turned_gradient)) = (of(&batch), of(&turned));
        prop_assert!((value - turned_value).abs() <= 1e-12 * (1.0 + value.abs()));
        let texts = gradient.chunks(DIMENSIONS);
        let turned_texts: Vec<&[f64]> = turned_gradient.chunks(DIMENSIONS).collect();
        let last = turned_texts.len() - 1;
        for (text, gradient) in texts.enumerate() {
            let place = if text < start { text } else { last - (text - start) };
            for (ours, theirs) in gradient.iter().zip(turned_texts[place]) {
                prop_assert!((ours - theirs).abs() <= 1e-10 * (1.0 + ours.abs()));
            }
        }
    }
}

/// A vector of zeros has no direction; torch gives it the slope 0 there, and no gradient is lost to NaN.
#[test]
fn a_vector_of_zeros_makes_no_gradient_infinite() {
    let batch = LossBatch::new(2, vec![0]).unwrap();
    let mut values: Vec<f64> = (0..30).map(|i| f64::from(i * 7 % 11) - 5.0).collect();
    values[6..12].fill(0.0);
    let loss = loss("name = 'multiple_negatives_ranking'");
    let (value, gradient) = in_blocks(&loss, vectors(&values, 6, DType::F32), &batch, 8);
    assert!(value.is_finite() && gradient.iter().all(|x| x.is_finite()), "{value} {gradient:?}");
}

#[test]
fn one_pair_alone_has_no_loss() {
    let batch = LossBatch::new(1, Vec::new()).unwrap();
    let values = [1.0, 2.0, 3.0, 2.0, 1.0, 0.0];
    for settings in &SETTINGS[..6] {
        let (value, gradient) =
            in_blocks(&loss(settings), vectors(&values, 3, DType::F32), &batch, 8);
        // Jointly in several directions the positive is there more than once: log 2 remains.
        let directions = settings.matches("document_to_anchor").count();
        let joint = !settings.contains("per_direction");
        let expected = if joint { ((1 + directions) as f64).ln() } else { 0.0 };
        assert!((value - expected).abs() < 1e-6, "{settings}: {value}");
        assert!(gradient.iter().all(|slope| slope.abs() < 1e-6), "{settings}: {gradient:?}");
    }
}
