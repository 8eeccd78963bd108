//! Losses over the vectors of a batch.
//!
//! A [`Loss`] knows nothing of models or files. It takes the vectors of a batch's texts,
//! `[texts, dim]` (anchors, then positives, then negatives), and a [`LossBatch`], which says whose
//! negative is whose and which texts are equal. [`Loss::value_and_gradient`] gives the loss and its
//! gradient with respect to the vectors, in blocks of rows, so that the matrix of similarities is never
//! whole in memory. That is the middle step of GradCache (Gao, Zhang, Han and Callan 2021,
//! arXiv:2101.06983): embed everything without remembering, take the gradient of the vectors, then run
//! the model forwards and backwards again, a few texts at a time, from that gradient.
//!
//! Every loss is compared with the value and gradient that sentence-transformers 6.2 gives on the same
//! vectors (`scripts/reference_losses.py`).

mod batch;
mod candidates;
mod device_batch;
mod false_negatives;
mod gradient;
mod kl_divergence;
mod margin_mse;
mod matryoshka;
mod ranking;
mod similarity;
mod statistics;

use std::ops::Range;

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};

pub use batch::{Guide, LossBatch};
pub use false_negatives::{FalseNegatives, MarginStrategy};
pub(crate) use gradient::PendingLoss;
pub use gradient::ValueAndGradient;
pub use kl_divergence::KlDivergence;
pub use margin_mse::MarginMse;
pub use matryoshka::Matryoshka;
pub use ranking::{Direction, Hardness, HardnessMode, MultipleNegativesRanking, Partition};
pub use similarity::Similarity;
pub(crate) use similarity::normalize;
pub use statistics::BatchStatistics;
pub(crate) use statistics::quantile;

use crate::{Error, Result};
use device_batch::DeviceBatch;

/// A loss and its settings, as a configuration names it.
///
/// ```
/// use coderag_train::loss::Loss;
///
/// let loss: Loss = coderag_core::config::parse(
///     "name = 'matryoshka'\n\
///      dimensions = [384, 192, 96]\n\
///      loss = { name = 'multiple_negatives_ranking', scale = 20.0 }\n",
///     "train.toml",
/// )?;
/// assert!(matches!(loss, Loss::Matryoshka(_)));
/// # Ok::<(), coderag_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Loss {
    /// The positive must be nearer to its anchor than the batch's other texts.
    MultipleNegativesRanking(MultipleNegativesRanking),
    /// The difference of two documents' scores must be the teacher's.
    MarginMse(MarginMse),
    /// The distribution of scores over an anchor's documents must be the teacher's.
    KlDivergence(KlDivergence),
    /// Another loss, at several lengths of the vectors.
    Matryoshka(Matryoshka),
}

impl Loss {
    /// The loss as it is at one step: what is drawn at random is drawn from the seed and the step, so
    /// that a resumed training draws the same.
    pub fn at_step(&self, seed: u64, step: u64) -> Self {
        match self {
            Self::Matryoshka(matryoshka) => Self::Matryoshka(matryoshka.at_step(seed, step)),
            other => other.clone(),
        }
    }

    /// Whether a small loss means that positives are told from negatives, and not that a teacher is
    /// imitated.
    pub(crate) fn ranks(&self) -> bool {
        match self {
            Self::MultipleNegativesRanking(_) => true,
            Self::MarginMse(_) | Self::KlDivergence(_) => false,
            Self::Matryoshka(matryoshka) => matryoshka.loss.ranks(),
        }
    }

    /// The loss of vectors `[texts, dim]`, as a tensor of one element that autodiff can go back from.
    ///
    /// # Errors
    /// [`Error::LossBatch`] when the batch or the vectors do not fit the loss.
    pub fn value<B: Backend>(
        &self,
        embeddings: Tensor<B, 2>,
        batch: &LossBatch,
    ) -> Result<Tensor<B, 1>> {
        self.check(batch, embeddings.dims())?;
        let on_device = DeviceBatch::new(batch, &embeddings);
        let rows = 0..batch.pairs();
        let whole = Term { loss: self, dimensions: None, weight: 1.0 };
        Ok(whole.rows(embeddings, &on_device, rows))
    }

    /// Refuses a batch or vectors that the loss cannot be computed of.
    fn check(&self, batch: &LossBatch, [texts, dimensions]: [usize; 2]) -> Result<()> {
        batch.check_vectors(texts)?;
        match self {
            Self::MultipleNegativesRanking(ranking) => ranking.check(batch),
            Self::MarginMse(_) | Self::KlDivergence(_) => {
                if batch.negative_owners().is_empty() {
                    return Err(Error::LossBatch(
                        "distillation compares the scores of at least two documents of an anchor, and \
                         the batch has no negatives"
                            .to_owned(),
                    ));
                }
                if batch.teacher_scores().is_none() {
                    return Err(Error::LossBatch(
                        "distillation needs a teacher's score of each document".to_owned(),
                    ));
                }
                Ok(())
            }
            Self::Matryoshka(matryoshka) => {
                matryoshka.check(dimensions)?;
                matryoshka.loss.check(batch, [texts, dimensions])
            }
        }
    }

    /// The sum that the loss is: each term a loss at one length of the vectors.
    fn terms(&self) -> Vec<Term<'_>> {
        match self {
            Self::Matryoshka(matryoshka) => matryoshka.terms(),
            loss => vec![Term { loss, dimensions: None, weight: 1.0 }],
        }
    }
}

/// A weighted part of a loss.
struct Term<'a> {
    loss: &'a Loss,
    /// How many dimensions of the vectors it sees; all of them, as they are, where this is `None`.
    dimensions: Option<usize>,
    weight: f64,
}

impl Term<'_> {
    /// What the anchors `rows` add to the loss: the loss is a sum over anchors.
    fn rows<B: Backend>(
        &self,
        embeddings: Tensor<B, 2>,
        batch: &DeviceBatch<'_, B>,
        rows: Range<usize>,
    ) -> Tensor<B, 1> {
        let embeddings = match self.dimensions {
            Some(dimensions) => matryoshka::shorten(embeddings, dimensions),
            None => embeddings,
        };
        let sum = match self.loss {
            Loss::MultipleNegativesRanking(loss) => loss.rows(embeddings, batch, rows),
            Loss::MarginMse(loss) => loss.rows(embeddings, batch, rows),
            Loss::KlDivergence(loss) => loss.rows(embeddings, batch, rows),
            Loss::Matryoshka(loss) => {
                let terms = loss.terms().into_iter();
                let zero = embeddings.clone().sum() * 0.0;
                terms.fold(zero, |sum, term| {
                    sum + term.rows(embeddings.clone(), batch, rows.clone())
                })
            }
        };
        sum * self.weight
    }
}
