use std::ops::Range;

use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Int, Tensor};

use super::device_batch::{DeviceBatch, DeviceGuide};
use super::{Direction, FalseNegatives, HardnessMode};

/// The candidates of some of a batch's anchors: the blocks `[rows, columns]` of the matrices of scores,
/// and of what does not count in them.
pub(super) struct Candidates<'a, B: Backend> {
    batch: &'a DeviceBatch<'a, B>,
    rows: Range<usize>,
}

impl<'a, B: Backend> Candidates<'a, B> {
    /// The candidates of the anchors `rows`.
    pub(super) fn new(batch: &'a DeviceBatch<'a, B>, rows: Range<usize>) -> Self {
        Self { batch, rows }
    }

    /// The place among the texts of the texts that a direction starts from: one for each of the rows.
    fn sources(&self, direction: Direction) -> Range<usize> {
        let pairs = self.batch.batch.pairs();
        match direction {
            Direction::AnchorToDocument | Direction::AnchorToAnchor => self.rows.clone(),
            Direction::DocumentToAnchor | Direction::DocumentToDocument => {
                pairs + self.rows.start..pairs + self.rows.end
            }
        }
    }

    /// The place among the texts of the texts that a direction goes to: one for each column.
    fn targets(&self, direction: Direction) -> Range<usize> {
        let pairs = self.batch.batch.pairs();
        match direction {
            Direction::AnchorToDocument | Direction::DocumentToDocument => {
                pairs..self.batch.batch.texts()
            }
            Direction::AnchorToAnchor | Direction::DocumentToAnchor => 0..pairs,
        }
    }

    /// The dot products of vectors `[texts, dim]` in a direction, `[rows, columns]`.
    pub(super) fn similarities(
        &self,
        vectors: &Tensor<B, 2>,
        direction: Direction,
    ) -> Tensor<B, 2> {
        let part = |texts: Range<usize>| vectors.clone().narrow(0, texts.start, texts.len());
        part(self.sources(direction)).matmul(part(self.targets(direction)).transpose())
    }

    /// A guide's scores in a direction, `[rows, columns]`.
    fn guide_scores(&self, guide: &DeviceGuide<B>, direction: Direction) -> Tensor<B, 2> {
        let (start, length) = (self.rows.start, self.rows.len());
        match guide {
            DeviceGuide::Vectors(vectors) => self.similarities(vectors, direction),
            // Of anchors and documents: other directions are refused.
            DeviceGuide::Scores(scores) if direction == Direction::DocumentToAnchor => {
                scores.clone().narrow(1, start, length).transpose()
            }
            DeviceGuide::Scores(scores) => scores.clone().narrow(0, start, length),
        }
    }

    /// Of a matrix `[rows, columns]`, column `i` of anchor `i`'s row, `[rows, 1]`: the positive's.
    pub(super) fn of_own_columns(&self, matrix: Tensor<B, 2>) -> Tensor<B, 2> {
        matrix.gather(1, self.batch.indices(self.rows.clone()).unsqueeze_dim(1))
    }

    /// Where a column is the positive's, `[rows, columns]`.
    fn own_columns(&self, direction: Direction) -> Tensor<B, 2, Bool> {
        let rows = self.batch.indices(self.rows.clone());
        let columns = self.batch.indices(0..self.targets(direction).len());
        equal(rows, columns)
    }

    /// Where a row and a column have the same number in `numbers`, `[texts]`.
    fn same(&self, numbers: &Tensor<B, 1, Int>, direction: Direction) -> Tensor<B, 2, Bool> {
        let part = |texts: Range<usize>| numbers.clone().narrow(0, texts.start, texts.len());
        equal(part(self.sources(direction)), part(self.targets(direction)))
    }

    /// What does not count, `[rows, columns]`: the texts of the anchor's own group, less the positive, and
    /// among documents also its own negatives.
    pub(super) fn excluded(&self, direction: Direction) -> Tensor<B, 2, Bool> {
        let same_group = self.same(&self.batch.groups, direction);
        match direction {
            Direction::AnchorToDocument | Direction::DocumentToAnchor => {
                same_group.bool_and(self.own_columns(direction).bool_not())
            }
            Direction::AnchorToAnchor => same_group,
            Direction::DocumentToDocument => {
                same_group.bool_or(self.same(&self.batch.owners, direction))
            }
        }
    }

    /// The documents that are no negatives, `[rows, documents]`: those of the anchor's own group.
    pub(super) fn not_negative(&self) -> Tensor<B, 2, Bool> {
        self.same(&self.batch.groups, Direction::AnchorToDocument)
    }

    /// Which negatives are likely to be false by the guide's scores or, without a guide, by the model's
    /// `(scores, positives' scores)`, `[rows, columns]` and `[rows, 1]`.
    pub(super) fn likely_false(
        &self,
        masking: &FalseNegatives,
        direction: Direction,
        (scores, positives): (&Tensor<B, 2>, &Tensor<B, 2>),
    ) -> Tensor<B, 2, Bool> {
        let (scores, positives) = match &self.batch.guide {
            Some(guide) => {
                let to_documents = self.guide_scores(guide, Direction::AnchorToDocument);
                (self.guide_scores(guide, direction), self.of_own_columns(to_documents))
            }
            None => (scores.clone().detach(), positives.clone().detach()),
        };
        let thresholds = masking.thresholds(positives).expand(scores.dims());
        let near = scores.greater(thresholds);
        match direction.holds_positive() {
            true => near.bool_and(self.own_columns(direction).bool_not()),
            false => near,
        }
    }

    /// Which documents get more weight, `[rows, documents]`.
    pub(super) fn weighted(&self, mode: HardnessMode) -> Tensor<B, 2, Bool> {
        let direction = Direction::AnchorToDocument;
        let own_documents = || self.same(&self.batch.owners, direction);
        let not_positive = || self.own_columns(direction).bool_not();
        match mode {
            HardnessMode::InBatchNegatives => own_documents().bool_not(),
            HardnessMode::HardNegatives => own_documents().bool_and(not_positive()),
            HardnessMode::AllNegatives => not_positive(),
        }
    }
}

/// Where `rows[i]` equals `columns[j]`, `[rows, columns]`.
fn equal<B: Backend>(rows: Tensor<B, 1, Int>, columns: Tensor<B, 1, Int>) -> Tensor<B, 2, Bool> {
    let shape = [rows.dims()[0], columns.dims()[0]];
    rows.unsqueeze_dim::<2>(1).expand(shape).equal(columns.unsqueeze_dim::<2>(0).expand(shape))
}
