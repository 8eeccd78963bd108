use std::collections::HashSet;

/// The texts of a batch in which no text may serve as a false negative.
///
/// Rows are taken and put off in the same order as by sentence-transformers' `NoDuplicatesBatchSampler`, whose
/// rule differs in three points: it tells texts apart that differ in white space alone, it compares a list of
/// negatives as one text, and it lets no two rows share a negative, though that is wrong for neither.
#[derive(Debug, Default)]
pub(super) struct Distinct {
    anchors_and_positives: HashSet<u64>,
    negatives: HashSet<u64>,
}

impl Distinct {
    pub(super) fn clear(&mut self) {
        self.anchors_and_positives.clear();
        self.negatives.clear();
    }

    /// Adds a row's texts, given by their fingerprints, unless they clash with the batch's.
    pub(super) fn add(&mut self, fingerprints: &[u64]) -> bool {
        let (targets, negatives) = fingerprints.split_at(fingerprints.len().min(2));
        let clashes = targets
            .iter()
            .any(|text| self.anchors_and_positives.contains(text) || self.negatives.contains(text))
            || negatives.iter().any(|text| self.anchors_and_positives.contains(text));
        if !clashes {
            self.anchors_and_positives.extend(targets);
            self.negatives.extend(negatives);
        }
        !clashes
    }
}
