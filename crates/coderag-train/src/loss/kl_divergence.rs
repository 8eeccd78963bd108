use std::ops::Range;

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, TensorData};
use serde::{Deserialize, Serialize};

use super::Similarity;
use super::device_batch::DeviceBatch;
use super::ranking::log_sum_exp;
use super::similarity::pairwise;

/// Distillation of distributions: the softmax of the scores of an anchor's own documents (its positive and
/// its negatives) must be the teacher's.
///
/// ```text
/// Tₛ² · mean over the anchors of KL(softmax(t / Tₜ) ‖ softmax(s / Tₛ))
/// ```
///
/// Lin, Yang and Lin 2020, arXiv:2010.11386, with temperatures after Hinton, Vinyals and Dean 2015,
/// arXiv:1503.02531; equal to sentence-transformers' `DistillKLDivLoss`, where every anchor has as many
/// negatives as the others. An anchor without negatives adds nothing. The scores are those of
/// [`LossBatch::with_teacher_scores`](super::LossBatch::with_teacher_scores).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Settings")]
pub struct KlDivergence {
    /// How texts are compared.
    pub similarity: Similarity,
    /// What the model's scores are divided by, `Tₛ`.
    pub student_temperature: f64,
    /// What the teacher's scores are divided by, `Tₜ`.
    pub teacher_temperature: f64,
}

/// [`KlDivergence`] as a configuration has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    similarity: Option<Similarity>,
    /// Of both, where they have none of their own.
    temperature: Option<f64>,
    student_temperature: Option<f64>,
    teacher_temperature: Option<f64>,
}

impl Default for KlDivergence {
    fn default() -> Self {
        Self { similarity: Similarity::Dot, student_temperature: 1.0, teacher_temperature: 1.0 }
    }
}

impl TryFrom<Settings> for KlDivergence {
    type Error = String;

    fn try_from(settings: Settings) -> Result<Self, String> {
        let defaults = Self::default();
        let both = settings.temperature;
        let loss = Self {
            similarity: settings.similarity.unwrap_or(defaults.similarity),
            student_temperature: settings
                .student_temperature
                .or(both)
                .unwrap_or(defaults.student_temperature),
            teacher_temperature: settings
                .teacher_temperature
                .or(both)
                .unwrap_or(defaults.teacher_temperature),
        };
        for temperature in [loss.student_temperature, loss.teacher_temperature] {
            if !(temperature.is_finite() && temperature > 0.0) {
                return Err(format!("a temperature is {temperature} and must be a number over 0"));
            }
        }
        Ok(loss)
    }
}

impl KlDivergence {
    /// What the anchors `rows` add to the loss, of vectors `[texts, dim]`.
    pub(super) fn rows<B: Backend>(
        &self,
        embeddings: Tensor<B, 2>,
        batch: &DeviceBatch<'_, B>,
        rows: Range<usize>,
    ) -> Tensor<B, 1> {
        let pairs = batch.batch.pairs();
        let scores = batch.batch.teacher_scores().unwrap_or_default();
        // Each anchor's documents by number, [rows, 1 + its negatives].
        let mut documents: Vec<Vec<usize>> = rows.clone().map(|anchor| vec![anchor]).collect();
        for negative in batch.batch.negatives_of(rows.clone()) {
            let anchor = batch.batch.negative_owners()[negative];
            documents[anchor - rows.start].push(pairs + negative);
        }
        let width = documents.iter().map(Vec::len).max().unwrap_or(1);
        let shape = [documents.len(), width];

        // Short rows are filled with the positive, which then does not count.
        let mut padding = Vec::with_capacity(documents.len() * width);
        let mut places = Vec::with_capacity(documents.len() * width);
        let mut taught = Vec::with_capacity(documents.len() * width);
        let mut taught_logarithms = Vec::with_capacity(documents.len() * width);
        for (anchor, documents) in rows.clone().zip(&documents) {
            let filled = (0..width).map(|column| *documents.get(column).unwrap_or(&anchor));
            places.extend(filled.map(|document| pairs + document));
            padding.extend((0..width).map(|column| column >= documents.len()));
            let row: Vec<f64> = documents
                .iter()
                .map(|&document| f64::from(scores[document]) / self.teacher_temperature)
                .collect();
            for log_probability in log_softmax(&row) {
                taught.push(log_probability.exp());
                taught_logarithms.push(log_probability);
            }
            taught.resize(places.len(), 0.0);
            taught_logarithms.resize(places.len(), 0.0);
        }

        let vectors = self.similarity.prepare(embeddings);
        let anchors = rows.flat_map(|anchor| std::iter::repeat_n(anchor, width));
        let anchors = vectors.clone().select(0, batch.indices(anchors));
        let others = vectors.select(0, batch.indices(places));
        let logits = pairwise(anchors, others).reshape(shape) / self.student_temperature;
        let padding: Tensor<B, 2, Bool> =
            Tensor::from_data(TensorData::new(padding, shape), &logits.device());
        let logits = logits.mask_fill(padding.clone(), f32::NEG_INFINITY);
        let log_probabilities = logits.clone() - log_sum_exp(logits);
        let differences =
            batch.matrix(taught_logarithms, shape) - log_probabilities.mask_fill(padding, 0.0);
        let divergences = (batch.matrix(taught, shape) * differences).sum();
        divergences * (self.student_temperature.powi(2) / pairs as f64)
    }
}

/// The logarithm of the softmax of a row that is not empty.
fn log_softmax(row: &[f64]) -> Vec<f64> {
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_sum = row.iter().map(|score| (score - largest).exp()).sum::<f64>().ln();
    row.iter().map(|score| score - largest - log_sum).collect()
}
