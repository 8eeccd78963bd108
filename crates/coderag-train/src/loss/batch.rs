use std::collections::HashMap;
use std::hash::Hash;
use std::ops::Range;

use coderag_core::Embeddings;

use crate::{Error, Result};

/// What a loss needs to know of a batch besides its vectors.
///
/// The texts of a batch are, in this order, its `pairs` anchors, their positives and the hard negatives.
/// The documents are the texts without the anchors: a positive and its anchor have the same number among
/// documents and anchors. A negative belongs to one anchor, and an anchor has any number of them.
#[derive(Clone, Debug)]
pub struct LossBatch {
    pairs: usize,
    negative_owners: Vec<usize>,
    groups: Vec<u32>,
    teacher_scores: Option<Vec<f32>>,
    guide: Option<Guide>,
}

/// Scores of another model, that decide which negatives are likely to be false.
#[derive(Clone, Debug)]
pub enum Guide {
    /// Its vectors of the batch's texts, `[texts, guide's dim]`, compared by their cosine.
    Embeddings(Embeddings),
    /// Its scores, row by row, `[pairs, documents]`: a reranker's, for example.
    Scores(Vec<f32>),
}

impl LossBatch {
    /// A batch of pairs and of one negative for each entry of `negative_owners`, which is the number of
    /// the anchor that the negative belongs to.
    ///
    /// # Errors
    /// [`Error::LossBatch`] when there are no pairs, or a negative's anchor is not one of them.
    pub fn new(pairs: usize, negative_owners: Vec<usize>) -> Result<Self> {
        if pairs == 0 {
            return Err(Error::LossBatch("there are no pairs".to_owned()));
        }
        if let Some(owner) = negative_owners.iter().find(|owner| **owner >= pairs) {
            return Err(Error::LossBatch(format!(
                "a negative belongs to anchor {owner}, and there are {pairs} anchors, counted from 0"
            )));
        }
        // Without its texts every pair is a group, and every negative.
        let groups = (0..pairs).chain(0..pairs).chain(pairs..pairs + negative_owners.len());
        let groups = groups.map(|group| group as u32).collect();
        Ok(Self { pairs, negative_owners, groups, teacher_scores: None, guide: None })
    }

    /// Compares the texts, in the batch's order: a text that equals an anchor or its positive does not
    /// count as a negative of that anchor. Nor does the positive of an anchor with the same text, and so
    /// on: texts that pairs connect are one group. `texts` may be texts or digests of them.
    ///
    /// # Errors
    /// [`Error::LossBatch`] when there are more or fewer texts than the batch has.
    pub fn with_texts<T: Eq + Hash>(mut self, texts: &[T]) -> Result<Self> {
        if texts.len() != self.texts() {
            return Err(Error::LossBatch(format!(
                "{} texts were given, and the batch has {}",
                texts.len(),
                self.texts()
            )));
        }
        // A forest: each group is known by its first text.
        let mut parents: Vec<usize> = (0..texts.len()).collect();
        let mut first = HashMap::with_capacity(texts.len());
        for (number, text) in texts.iter().enumerate() {
            unite(&mut parents, *first.entry(text).or_insert(number), number);
        }
        for pair in 0..self.pairs {
            unite(&mut parents, pair, self.pairs + pair);
        }
        self.groups = (0..texts.len()).map(|text| root(&mut parents, text) as u32).collect();
        Ok(self)
    }

    /// Adds a teacher's score of each document and its anchor, `[documents]`: the positives' and then the
    /// negatives'. Where only margins over the positive are known, the positive's score is 0 and the
    /// negative's is the margin with its sign changed.
    ///
    /// # Errors
    /// [`Error::LossBatch`] when there are more or fewer scores than documents, or one is not finite.
    pub fn with_teacher_scores(mut self, scores: Vec<f32>) -> Result<Self> {
        if scores.len() != self.documents() {
            return Err(Error::LossBatch(format!(
                "the teacher gave {} scores for {} documents",
                scores.len(),
                self.documents()
            )));
        }
        if let Some(document) = scores.iter().position(|score| !score.is_finite()) {
            return Err(Error::LossBatch(format!(
                "the teacher's score of document {document} is not a finite number"
            )));
        }
        self.teacher_scores = Some(scores);
        Ok(self)
    }

    /// Lets a guide decide which negatives are likely to be false.
    ///
    /// # Errors
    /// [`Error::LossBatch`] when its vectors or scores do not fit the batch.
    pub fn with_guide(mut self, guide: Guide) -> Result<Self> {
        let (given, expected, what) = match &guide {
            Guide::Embeddings(embeddings) => (embeddings.len(), self.texts(), "vectors"),
            Guide::Scores(scores) => (scores.len(), self.pairs * self.documents(), "scores"),
        };
        if given != expected {
            return Err(Error::LossBatch(format!(
                "the guide gave {given} {what} in place of {expected}"
            )));
        }
        self.guide = Some(guide);
        Ok(self)
    }

    /// How many anchors there are, each with its positive.
    pub fn pairs(&self) -> usize {
        self.pairs
    }

    /// How many positives and negatives there are.
    pub fn documents(&self) -> usize {
        self.pairs + self.negative_owners.len()
    }

    /// How many anchors, positives and negatives there are: the rows of the vectors.
    pub fn texts(&self) -> usize {
        self.pairs + self.documents()
    }

    /// The anchor of each negative.
    pub fn negative_owners(&self) -> &[usize] {
        &self.negative_owners
    }

    /// The numbers of the negatives that belong to the anchors `rows`.
    pub(super) fn negatives_of(&self, rows: Range<usize>) -> impl Iterator<Item = usize> + '_ {
        let owners = self.negative_owners.iter().enumerate();
        owners.filter(move |(_, owner)| rows.contains(owner)).map(|(negative, _)| negative)
    }

    /// Refuses a number of vectors that is not that of the texts.
    pub(super) fn check_vectors(&self, vectors: usize) -> Result<()> {
        if vectors == self.texts() {
            return Ok(());
        }
        let texts = self.texts();
        Err(Error::LossBatch(format!(
            "there are {vectors} vectors, and the batch has {texts} texts"
        )))
    }

    /// The group of each text: texts of one group are never negatives of one another.
    pub(super) fn groups(&self) -> &[u32] {
        &self.groups
    }

    /// The teacher's score of each document.
    pub(super) fn teacher_scores(&self) -> Option<&[f32]> {
        self.teacher_scores.as_deref()
    }

    /// What decides which negatives are likely to be false, if not the model itself.
    pub(super) fn guide(&self) -> Option<&Guide> {
        self.guide.as_ref()
    }
}

/// The first text of the group of `text`.
fn root(parents: &mut [usize], mut text: usize) -> usize {
    while parents[text] != text {
        parents[text] = parents[parents[text]];
        text = parents[text];
    }
    text
}

/// Makes one group of two texts' groups.
fn unite(parents: &mut [usize], left: usize, right: usize) {
    let (left, right) = (root(parents, left), root(parents, right));
    parents[left.max(right)] = left.min(right);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_pairs_connect_are_one_group() {
        let texts = [
            "total sales",
            "sales by city",
            "total sales",
            "open orders", //
            "q1",
            "q2",
            "q3",
            "q1", //
            "q2",
            "q4",
            "sales by city",
        ];
        let batch = LossBatch::new(4, vec![0, 1, 3]).unwrap().with_texts(&texts).unwrap();
        // Anchors 0 and 2 are equal, positives 0 and 3 are equal: one group. Negative 0 is positive 1's
        // text and negative 2 is anchor 1's.
        assert_eq!(batch.groups(), [0, 1, 0, 0, 0, 1, 0, 0, 1, 9, 1]);
    }

    #[test]
    fn without_texts_only_an_anchor_and_its_positive_are_a_group() {
        let batch = LossBatch::new(2, vec![1, 1]).unwrap();
        assert_eq!(batch.groups(), [0, 1, 0, 1, 2, 3]);
        assert_eq!((batch.texts(), batch.documents()), (6, 4));
        assert_eq!(batch.negatives_of(1..2).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(batch.negatives_of(0..1).count(), 0);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let message = |result: Result<LossBatch>| result.unwrap_err().to_string();
        let batch = || LossBatch::new(2, vec![0]).unwrap();
        assert!(message(LossBatch::new(0, Vec::new())).contains("no pairs"));
        assert!(message(LossBatch::new(2, vec![0, 2])).contains("anchor 2"));
        assert!(message(batch().with_texts(&["a", "b"])).contains("the batch has 5"));
        assert!(message(batch().with_teacher_scores(vec![0.0; 2])).contains("2 scores for 3"));
        let not_finite = batch().with_teacher_scores(vec![0.0, f32::NAN, 0.0]);
        assert!(message(not_finite).contains("document 1"));
        assert!(message(batch().with_guide(Guide::Scores(vec![0.0; 5]))).contains("in place of 6"));
        let guide = Guide::Embeddings(Embeddings::new(2, vec![0.0; 8]).unwrap());
        assert!(message(batch().with_guide(guide)).contains("4 vectors in place of 5"));
    }
}
