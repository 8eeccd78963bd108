use burn::tensor::DType;
use coderag_core::Embeddings;
use coderag_train::loss::{BatchStatistics, Guide, LossBatch, Similarity};
use serde::Deserialize;

use crate::reference::Reference;
use crate::{in_blocks, loss, relative_difference, vectors, whole};

/// A case of `scripts/reference_losses.py`.
#[derive(Deserialize)]
struct Case {
    name: String,
    negatives: usize,
    guide: bool,
    settings: String,
}

const COLUMNS: [&str; 4] = ["anchors", "positives", "negatives_1", "negatives_2"];

/// Columns side by side, and the batch that they are.
struct Fixture {
    reference: Reference,
    pairs: usize,
}

impl Fixture {
    fn load() -> Self {
        let reference = Reference::load("losses.safetensors");
        let pairs = reference.shape("anchors")[0];
        Self { reference, pairs }
    }

    fn vectors(&self, prefix: &str, negatives: usize) -> (Vec<f64>, usize) {
        let columns = &COLUMNS[..2 + negatives];
        let columns = columns.iter().map(|column| format!("{prefix}{column}"));
        let values = columns.flat_map(|column| self.reference.tensor(&column).to_vec()).collect();
        (values, self.reference.shape(&format!("{prefix}anchors"))[1])
    }

    fn batch(&self, negatives: usize) -> LossBatch {
        let owners = (0..negatives).flat_map(|_| 0..self.pairs).collect();
        let teacher = self.reference.tensor_f32("teacher");
        let columns =
            (0..1 + negatives).flat_map(|column| teacher.iter().skip(column).step_by(3).copied());
        let scores = columns.collect();
        LossBatch::new(self.pairs, owners).unwrap().with_teacher_scores(scores).unwrap()
    }

    fn guide(&self, negatives: usize) -> Guide {
        let (values, dimensions) = self.vectors("guide.", negatives);
        let values = values.into_iter().map(|value| value as f32).collect();
        Guide::Embeddings(Embeddings::new(dimensions, values).unwrap())
    }
}

#[test]
fn values_and_gradients_are_those_of_sentence_transformers() {
    let fixture = Fixture::load();
    let cases: Vec<Case> = fixture.reference.metadata("cases");
    assert!(cases.len() >= 27);
    for case in cases {
        let loss = loss(&case.settings);
        let (values, dimensions) = fixture.vectors("", case.negatives);
        let mut batch = fixture.batch(case.negatives);
        if case.guide {
            batch = batch.with_guide(fixture.guide(case.negatives)).unwrap();
        }
        let expected = fixture.reference.tensor(&format!("{}.value", case.name));
        let expected_gradient = fixture.reference.tensor(&format!("{}.gradient", case.name));
        for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::F64, 1e-6)] {
            let vectors = || vectors(&values, dimensions, dtype);
            let blocks = [1, 2, 4, 5, 6, 100].map(|rows| in_blocks(&loss, vectors(), &batch, rows));
            let results = blocks.into_iter().chain([whole(&loss, vectors(), &batch)]);
            let (mut value_difference, mut gradient_difference) = (0.0f64, 0.0f64);
            for (value, gradient) in results {
                value_difference = value_difference.max(relative_difference(&[value], expected));
                let difference = relative_difference(&gradient, expected_gradient);
                gradient_difference = gradient_difference.max(difference);
            }
            println!(
                "{} in {dtype:?}: value {value_difference:.1e}, gradient {gradient_difference:.1e}",
                case.name
            );
            assert!(value_difference <= tolerance, "{}: {value_difference:e}", case.name);
            assert!(gradient_difference <= tolerance, "{}: {gradient_difference:e}", case.name);
        }
    }
}

/// What a guide's vectors mask, the matrix of their cosines masks too.
#[test]
fn a_guide_of_scores_masks_as_the_guide_of_vectors_that_gave_them() {
    let fixture = Fixture::load();
    let negatives = 2;
    let (guide_values, guide_dimensions) = fixture.vectors("guide.", negatives);
    let rows: Vec<&[f64]> = guide_values.chunks(guide_dimensions).collect();
    let norm = |row: &[f64]| row.iter().map(|x| x * x).sum::<f64>().sqrt();
    let cosine = |left: &[f64], right: &[f64]| {
        let dot: f64 = left.iter().zip(right).map(|(x, y)| x * y).sum();
        (dot / norm(left) / norm(right)) as f32
    };
    let (anchors, documents) = rows.split_at(fixture.pairs);
    let scores = anchors
        .iter()
        .flat_map(|anchor| documents.iter().map(|document| cosine(anchor, document)))
        .collect();
    let loss = loss(
        "name = 'multiple_negatives_ranking'\n\
         directions = ['anchor_to_document', 'document_to_anchor']\n\
         false_negatives = { strategy = 'relative', margin = 0.2 }\n",
    );
    let (values, dimensions) = fixture.vectors("", negatives);
    let vectors = || vectors(&values, dimensions, DType::F64);
    let batch = || fixture.batch(negatives);
    let by_vectors = batch().with_guide(fixture.guide(negatives)).unwrap();
    let by_scores = batch().with_guide(Guide::Scores(scores)).unwrap();
    let (expected, expected_gradient) = whole(&loss, vectors(), &by_vectors);
    for rows in [1, 4, 6] {
        let (value, gradient) = in_blocks(&loss, vectors(), &by_scores, rows);
        assert!((value - expected).abs() < 1e-12);
        assert!(relative_difference(&gradient, &expected_gradient) < 1e-12);
    }
    let (unmasked, _) = whole(&loss, vectors(), &batch());
    assert!((unmasked - expected).abs() > 1e-3, "nothing is masked");
}

#[test]
fn statistics_of_the_margins_are_those_of_numpy() {
    let fixture = Fixture::load();
    let (values, dimensions) = fixture.vectors("", 2);
    let batch = fixture.batch(2);
    for rows in [1, 4, 6] {
        let vectors = vectors(&values, dimensions, DType::F32);
        let statistics = BatchStatistics::of(vectors, &batch, Similarity::Cosine, rows);
        let ours = statistics.unwrap().unwrap();
        assert_eq!(ours.anchors, fixture.pairs);
        let scalars = [
            ("accuracy", ours.accuracy),
            ("positive", ours.positive),
            ("hardest_negative", ours.hardest_negative),
            ("mean", ours.margin),
        ];
        for (name, value) in scalars {
            let expected = fixture.reference.tensor(&format!("statistics.{name}"))[0];
            assert!((value - expected).abs() < 1e-6, "{name}: {value} in place of {expected}");
        }
        let expected = fixture.reference.tensor("statistics.quantiles");
        assert!(relative_difference(&ours.margin_quantiles, expected) < 1e-6);
    }
}
