use std::ops::Range;

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};

use super::candidates::Candidates;
use super::device_batch::DeviceBatch;
use super::{FalseNegatives, Guide, LossBatch, Similarity};
use crate::{Error, Result};

/// Multiple-negatives ranking: the positive must be nearer to its anchor than the batch's other texts.
///
/// Also known as InfoNCE (van den Oord, Li and Vinyals 2018, arXiv:1807.03748) with in-batch negatives
/// (Henderson et al. 2017, arXiv:1705.00652, section 4.4). With `s` the similarity, `τ` the temperature,
/// `aᵢ` an anchor and `pᵢ` its positive, the loss is the mean over the anchors of
///
/// ```text
/// log Zᵢ - s(aᵢ, pᵢ) / τ        Zᵢ = Σ exp(s / τ)  over the candidates of anchor i
/// ```
///
/// The [`directions`](Self::directions) say what the candidates are: with the first alone, all documents
/// of the batch. In every direction a text of the anchor's own group (see [`LossBatch::with_texts`]) is
/// no candidate, and the positive always is one.
///
/// Equal to `MultipleNegativesRankingLoss` of sentence-transformers 6.2 and its default settings. Its
/// `directions`, `partition_mode`, `hardness_mode` and `hardness_strength` are here with `query` called
/// `anchor` and `doc` called `document`; `gather_across_devices` is not. Two combinations are named in the
/// literature: both directions between anchors and documents, partitioned, is the symmetric loss of Günther
/// et al. 2023 (arXiv:2310.19923), and all four directions jointly that of GTE (Li et al. 2023,
/// arXiv:2308.03281).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Settings")]
pub struct MultipleNegativesRanking {
    /// What similarities are multiplied by: the inverse of the temperature.
    pub scale: f64,
    /// How texts are compared.
    pub similarity: Similarity,
    /// What an anchor's candidates are; [`Direction::AnchorToDocument`] is among them.
    pub directions: Vec<Direction>,
    /// Whether the directions share one softmax.
    pub partition: Partition,
    /// More weight for near negatives, if any.
    pub hardness: Option<Hardness>,
    /// Which negatives are likely to be false and do not count, if any.
    pub false_negatives: Option<FalseNegatives>,
}

/// Between which texts similarities are taken; each gives anchor `i` candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From anchor `i` to all documents. Needed: it holds the positive.
    AnchorToDocument,
    /// From anchor `i` to the other anchors.
    AnchorToAnchor,
    /// From positive `i` to all anchors.
    DocumentToAnchor,
    /// From positive `i` to the documents of other anchors.
    DocumentToDocument,
}

/// Over what the softmax is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Partition {
    /// Over the candidates of all directions together.
    Joint,
    /// Over each direction's candidates; the loss is the mean of theirs. Only for directions that hold the
    /// positive.
    PerDirection,
}

/// More weight for near negatives: `strength · s`, without gradient, is added to their logits in the
/// direction from anchor to document.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hardness {
    /// Which negatives get more weight.
    pub mode: HardnessMode,
    /// How much: LLaVE takes 9 for in-batch negatives, EmbeddingGemma 5 for hard negatives.
    pub strength: f64,
}

/// Which negatives get more weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HardnessMode {
    /// Documents of other anchors (LLaVE, Lan et al. 2025, arXiv:2503.04812, equation 5).
    InBatchNegatives,
    /// The anchor's own hard negatives (EmbeddingGemma, Schechter Vera et al. 2025, arXiv:2509.20354).
    HardNegatives,
    /// Both.
    AllNegatives,
}

/// [`MultipleNegativesRanking`] as a configuration has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    scale: Option<f64>,
    temperature: Option<f64>,
    similarity: Option<Similarity>,
    directions: Option<Vec<Direction>>,
    partition: Option<Partition>,
    hardness: Option<Hardness>,
    false_negatives: Option<FalseNegatives>,
}

impl Direction {
    /// Whether anchor `i`'s positive pair is among the candidates, in column `i`.
    pub(super) fn holds_positive(self) -> bool {
        matches!(self, Self::AnchorToDocument | Self::DocumentToAnchor)
    }
}

impl Default for MultipleNegativesRanking {
    fn default() -> Self {
        Self {
            scale: 20.0,
            similarity: Similarity::Cosine,
            directions: vec![Direction::AnchorToDocument],
            partition: Partition::Joint,
            hardness: None,
            false_negatives: None,
        }
    }
}

impl TryFrom<Settings> for MultipleNegativesRanking {
    type Error = String;

    fn try_from(settings: Settings) -> Result<Self, String> {
        let defaults = Self::default();
        let (name, scale) = match (settings.scale, settings.temperature) {
            (Some(_), Some(_)) => {
                return Err("give `scale` or `temperature`, which is its inverse".to_owned());
            }
            (None, Some(temperature)) => ("temperature", 1.0 / temperature),
            (scale, None) => ("scale", scale.unwrap_or(defaults.scale)),
        };
        if !(scale.is_finite() && scale > 0.0) {
            return Err(format!("`{name}` must be a number over 0"));
        }
        let directions = settings.directions.unwrap_or(defaults.directions);
        if !directions.contains(&Direction::AnchorToDocument) {
            return Err("`directions` lacks `anchor_to_document`, which holds the positive".into());
        }
        let twice = |(place, direction)| directions[..place].contains(direction);
        if directions.iter().enumerate().any(twice) {
            return Err("`directions` has an entry twice".to_owned());
        }
        let partition = settings.partition.unwrap_or(defaults.partition);
        if partition == Partition::PerDirection
            && !directions.iter().all(|direction| direction.holds_positive())
        {
            return Err(
                "`partition = \"per_direction\"` needs the positive in every direction, and \
                        `anchor_to_anchor` and `document_to_document` do not hold it; use `joint`"
                    .to_owned(),
            );
        }
        let not_negative = |value: f64| value.is_finite() && value >= 0.0;
        if settings.hardness.is_some_and(|hardness| !not_negative(hardness.strength)) {
            return Err("`strength` of `hardness` must be 0 or more".to_owned());
        }
        if settings.false_negatives.is_some_and(|masking| !masking.margin.is_finite()) {
            return Err("`margin` of `false_negatives` must be a finite number".to_owned());
        }
        Ok(Self {
            scale,
            similarity: settings.similarity.unwrap_or(defaults.similarity),
            directions,
            partition,
            hardness: settings.hardness,
            false_negatives: settings.false_negatives,
        })
    }
}

impl MultipleNegativesRanking {
    /// Refuses a guide that cannot answer what the directions ask.
    pub(super) fn check(&self, batch: &LossBatch) -> Result<()> {
        if self.false_negatives.is_some()
            && matches!(batch.guide(), Some(Guide::Scores(_)))
            && !self.directions.iter().all(|direction| direction.holds_positive())
        {
            return Err(Error::LossBatch(
                "a guide's scores of anchors and documents say nothing of anchors among themselves or \
                 documents among themselves; give its vectors, or fewer directions"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    /// What the anchors `rows` add to the loss, of vectors `[texts, dim]`.
    pub(super) fn rows<B: Backend>(
        &self,
        embeddings: Tensor<B, 2>,
        batch: &DeviceBatch<'_, B>,
        rows: Range<usize>,
    ) -> Tensor<B, 1> {
        let candidates = Candidates::new(batch, rows);
        let vectors = self.similarity.prepare(embeddings);
        let to_documents = candidates.similarities(&vectors, Direction::AnchorToDocument);
        let positives = candidates.of_own_columns(to_documents.clone());

        let logits = self.directions.iter().map(|&direction| {
            let similarities = match direction {
                Direction::AnchorToDocument => to_documents.clone(),
                other => candidates.similarities(&vectors, other),
            };
            let mut excluded = candidates.excluded(direction);
            if let Some(masking) = &self.false_negatives {
                let own = (&similarities, &positives);
                excluded = excluded.bool_or(candidates.likely_false(masking, direction, own));
            }
            let mut logits = similarities.clone() * self.scale;
            if let (Some(hardness), Direction::AnchorToDocument) = (self.hardness, direction) {
                let weighted = candidates.weighted(hardness.mode);
                let weight = similarities.detach() * hardness.strength;
                logits = logits + weight.mask_fill(weighted.bool_not(), 0.0);
            }
            logits.mask_fill(excluded, f32::NEG_INFINITY)
        });
        let log_normalizers = match self.partition {
            Partition::Joint => log_sum_exp(Tensor::cat(logits.collect(), 1)),
            Partition::PerDirection => {
                let each = logits.map(log_sum_exp).collect();
                Tensor::cat(each, 1).mean_dim(1)
            }
        };
        (log_normalizers - positives * self.scale).sum() / batch.batch.pairs() as f64
    }
}

/// The logarithm of each row's sum of exponentials, `[rows, columns]` to `[rows, 1]`. Every row has an
/// entry over minus infinity: its positive.
pub(super) fn log_sum_exp<B: Backend>(logits: Tensor<B, 2>) -> Tensor<B, 2> {
    let largest = logits.clone().detach().max_dim(1);
    (logits - largest.clone()).exp().sum_dim(1).log() + largest
}
