use std::cmp::Ordering;

use coderag_core::Embeddings;
use coderag_encoder::engine::{Cpu, PackedRows};
use rayon::prelude::*;

/// A document near to an anchor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The document's number.
    pub document: u32,
    /// Its similarity to the anchor.
    pub score: f32,
}

impl Candidate {
    /// Higher scores first; of equals the lower number, so that the order never depends on threads.
    pub(super) fn best_first(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(self.document.cmp(&other.document))
    }
}

/// What is looked for on behalf of one anchor.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// How many of the nearest documents.
    depth: usize,
    /// Those found so far, among them the nearest.
    found: Vec<Candidate>,
    /// No document with a lower score, or this one, comes to be among the nearest.
    least: f32,
    /// Documents, in rising order, whose scores are wanted however near they are.
    known: Vec<Candidate>,
    /// How many of these have their score.
    scored: usize,
}

impl Wanted {
    /// The `depth` nearest documents, and the scores of `known` ones, which are in rising order.
    pub(super) fn new(depth: usize, known: impl Iterator<Item = u32>) -> Self {
        let known = known.map(|document| Candidate { document, score: f32::NEG_INFINITY });
        Self {
            depth,
            found: Vec::new(),
            least: f32::NEG_INFINITY,
            known: known.collect(),
            scored: 0,
        }
    }

    /// Takes the scores of consecutive documents, which come after all that were taken before.
    fn take(&mut self, first: u32, scores: &[f32]) {
        /// Compared at once with the least score that matters, which few exceed.
        const LANES: usize = 32;
        let end = first.saturating_add(scores.len() as u32);
        while let Some(known) = self.known.get_mut(self.scored)
            && known.document < end
        {
            if let Some(score) = scores.get((known.document - first) as usize) {
                known.score = *score;
            }
            self.scored += 1;
        }
        for (block, scores) in scores.chunks(LANES).enumerate() {
            let greatest = scores.iter().fold(f32::NEG_INFINITY, |most, score| most.max(*score));
            if greatest <= self.least && self.found.len() >= self.depth {
                continue;
            }
            let first = first + (block * LANES) as u32;
            for (document, score) in (first..).zip(scores) {
                self.offer(Candidate { document, score: *score });
            }
        }
    }

    fn offer(&mut self, candidate: Candidate) {
        if self.found.len() >= self.depth && candidate.score <= self.least {
            return;
        }
        self.found.push(candidate);
        if self.found.len() >= 2 * self.depth.max(8) {
            self.keep_nearest();
        }
    }

    fn keep_nearest(&mut self) {
        if let Some(last) = self.depth.checked_sub(1)
            && self.found.len() > last
        {
            let (_, worst, _) = self.found.select_nth_unstable_by(last, Candidate::best_first);
            self.least = worst.score;
        }
        self.found.truncate(self.depth);
    }

    /// The nearest documents, best first, and the scores of the known ones.
    pub(super) fn finish(mut self) -> (Vec<Candidate>, Vec<Candidate>) {
        self.keep_nearest();
        self.found.sort_unstable_by(Candidate::best_first);
        (self.found, self.known)
    }
}

/// So many documents are laid out at once: enough to occupy all threads between two pauses.
const DOCUMENTS_AT_ONCE: usize = 8192;

/// How many blocks of documents [`search`] goes through.
pub(super) fn blocks(documents: usize) -> usize {
    documents.div_ceil(DOCUMENTS_AT_ONCE)
}

/// Finds what is wanted for each anchor, `[wanted, dimensions]`, among all documents; `advance` is called after
/// each block of documents.
///
/// The similarity is the inner product. Only a block of similarities is in memory at a time.
pub(super) fn search(
    cpu: Cpu,
    anchors: &[f32],
    documents: &Embeddings,
    wanted: &mut [Wanted],
    advance: &dyn Fn(),
) {
    /// A product of these sizes stays in the second-level cache, as do the anchors and the documents.
    const ANCHORS: usize = 112;
    const DOCUMENTS: usize = 256;
    let dimensions = documents.dimensions();
    let mut first = 0;
    for block in documents.as_slice().chunks(DOCUMENTS_AT_ONCE * dimensions) {
        let packed: Vec<PackedRows> = block
            .par_chunks(DOCUMENTS * dimensions)
            .map(|rows| PackedRows::new(cpu, rows, dimensions))
            .collect();
        wanted.par_chunks_mut(ANCHORS).zip(anchors.par_chunks(ANCHORS * dimensions)).for_each_init(
            Vec::new,
            |products, (wanted, anchors)| {
                let mut first = first;
                for documents in &packed {
                    documents.inner_products(anchors, products);
                    let rows = products.chunks_exact(documents.stride().max(1));
                    for (wanted, scores) in wanted.iter_mut().zip(rows) {
                        wanted.take(first, scores.get(..documents.len()).unwrap_or_default());
                    }
                    first += documents.len() as u32;
                }
            },
        );
        first += (block.len() / dimensions) as u32;
        advance();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All scores of an anchor, best first, from a plain loop over the same products.
    fn naive(anchor: &[f32], documents: &Embeddings) -> Vec<Candidate> {
        // From 0 on, for the empty sum of floats is -0 in Rust.
        let product = |row: &[f32]| row.iter().zip(anchor).fold(0.0, |sum, (a, b)| sum + a * b);
        let scores = documents.rows().map(product).enumerate();
        let mut all: Vec<_> = scores
            .map(|(document, score)| Candidate { document: document as u32, score })
            .collect();
        all.sort_by(Candidate::best_first);
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Vectors of small whole numbers: their products are exact, and many are equal.
        #[test]
        fn the_nearest_are_those_of_the_full_matrix(
            (dimensions, anchors, documents) in (1usize..4).prop_flat_map(|dimensions| {
                let rows = move |rows: std::ops::Range<usize>| {
                    let rows = rows.start * dimensions..rows.end * dimensions;
                    prop::collection::vec((-3i8..4).prop_map(f32::from), rows)
                };
                (Just(dimensions), rows(1..130), rows(1..600))
            }),
            depth in 0usize..700,
            known in prop::collection::btree_set(0u32..600, 0..5),
        ) {
            let whole = |mut values: Vec<f32>| {
                values.truncate(values.len() / dimensions * dimensions);
                Embeddings::new(dimensions, values).unwrap()
            };
            let (anchors, documents) = (whole(anchors), whole(documents));
            let known: Vec<u32> =
                known.into_iter().filter(|&known| (known as usize) < documents.len()).collect();
            let mut wanted = vec![Wanted::new(depth, known.iter().copied()); anchors.len()];
            search(Cpu::best(), anchors.as_slice(), &documents, &mut wanted, &|| {});
            for (anchor, wanted) in anchors.rows().zip(wanted) {
                let mut expected = naive(anchor, &documents);
                let (found, scored) = wanted.finish();
                for candidate in &scored {
                    let same = expected.iter().find(|it| it.document == candidate.document);
                    prop_assert_eq!(Some(candidate), same);
                }
                prop_assert_eq!(scored.len(), known.len());
                expected.truncate(depth);
                prop_assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn blocks_of_documents_join_without_a_seam() {
        let count = DOCUMENTS_AT_ONCE + 700;
        // Each document is farther from the anchor than the one two before, and the two directions take turns.
        let angle = |number: usize| 1e-4 * number as f32;
        let values = (0..count).flat_map(|number| {
            let sign = if number % 2 == 0 { 1.0 } else { -1.0 };
            [angle(number).cos(), sign * angle(number).sin()]
        });
        let documents = Embeddings::new(2, values.collect()).unwrap();
        let mut blocks_passed = std::cell::Cell::new(0);
        let known = [0, DOCUMENTS_AT_ONCE as u32, count as u32 - 1];
        let mut wanted = [Wanted::new(9, known.into_iter())];
        search(Cpu::best(), &[-1.0, 0.0], &documents, &mut wanted, &|| {
            blocks_passed.set(blocks_passed.get() + 1);
        });
        assert_eq!((*blocks_passed.get_mut(), blocks(count)), (2, 2));
        let [wanted] = wanted;
        let (found, scored) = wanted.finish();
        let expected: Vec<u32> = (0..9).map(|place| count as u32 - 1 - place).collect();
        assert_eq!(found.iter().map(|found| found.document).collect::<Vec<_>>(), expected);
        for (known, scored) in known.into_iter().zip(scored) {
            assert_eq!(known, scored.document);
            assert!((scored.score + angle(known as usize).cos()).abs() < 1e-6);
        }
    }
}
