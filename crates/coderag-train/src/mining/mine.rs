use std::time::Instant;

use coderag_core::{Embeddings, Progress, Random, Unit};
use coderag_encoder::engine::Cpu;
use rayon::prelude::*;

use super::nearest::{Wanted, blocks, search};
use super::selection::{Removed, select};
use super::{Candidate, MiningSettings, Pairs};
use crate::{Error, Result};

/// The negatives of each anchor.
#[derive(Clone, Debug)]
pub struct Mined {
    pub(super) anchors: Vec<AnchorNegatives>,
    /// What became of the candidates.
    pub removed: Removed,
}

#[derive(Clone, Debug)]
pub(super) struct AnchorNegatives {
    /// The score of each positive, in the order of [`Pairs::positives`].
    pub(super) positives: Vec<f32>,
    /// The negatives, best first.
    pub(super) negatives: Vec<Candidate>,
}

impl Mined {
    /// The negatives of an anchor, the most similar first.
    pub fn negatives(&self, anchor: usize) -> &[Candidate] {
        self.anchors.get(anchor).map_or(&[], |anchor| &anchor.negatives)
    }

    /// The similarities of an anchor's positives, in the order of their numbers.
    pub fn positive_scores(&self, anchor: usize) -> &[f32] {
        self.anchors.get(anchor).map_or(&[], |anchor| &anchor.positives)
    }
}

/// Finds the negatives of each anchor among all documents.
///
/// `anchors` are the vectors of [`Pairs::anchors`] and `documents` those of [`Pairs::documents`], of length 1:
/// the similarity is their inner product. Beside them, memory holds a block of similarities, the candidates of
/// up to 8,192 anchors, about half a gigabyte at most, and what is found.
///
/// An anchor with several positives has the same negatives for all of them, and its margins are taken from the
/// least similar one.
///
/// # Errors
/// [`Error::Setting`] for settings that make no sense and for vectors that are not those of the texts.
pub fn mine(
    pairs: &Pairs,
    anchors: &Embeddings,
    documents: &Embeddings,
    settings: &MiningSettings,
    progress: &dyn Progress,
) -> Result<Mined> {
    let most_positives = pairs.most_positives();
    let range = settings.range(most_positives)?;
    check(pairs, anchors, documents)?;
    // With room for the positives among the nearest.
    let depth = range.end.saturating_add(most_positives).min(documents.len());
    // Each anchor keeps up to twice as many candidates of 8 bytes.
    let anchors_at_once = ((1 << 25) / depth.max(1)).clamp(112, 8192);
    let cpu = Cpu::detect()?;
    let started = Instant::now();
    let dimensions = anchors.dimensions();
    let steps = pairs.anchors().len().div_ceil(anchors_at_once) * blocks(documents.len());
    let task = progress.task("searching for negatives", Some(steps as u64), Unit::Items);
    let mut mined = Mined { anchors: Vec::new(), removed: Removed::default() };
    for (block, vectors) in anchors.as_slice().chunks(anchors_at_once * dimensions).enumerate() {
        let first = block * anchors_at_once;
        let mut wanted: Vec<Wanted> = (first..first + vectors.len() / dimensions)
            .map(|anchor| Wanted::new(depth, pairs.positives(anchor)))
            .collect();
        search(cpu, vectors, documents, &mut wanted, &|| task.advance(1));
        let found: Vec<(AnchorNegatives, Removed)> = wanted
            .into_par_iter()
            .enumerate()
            .map(|(index, wanted)| {
                let anchor = first + index;
                let (nearest, positives) = wanted.finish();
                let own_text = pairs.own_document(anchor);
                let own = |document| {
                    own_text == Some(document)
                        || positives
                            .binary_search_by_key(&document, |positive| positive.document)
                            .is_ok()
                };
                let scores = positives.iter().map(|positive| positive.score);
                let least = scores.clone().fold(f32::INFINITY, f32::min);
                let random = || Random::derived(settings.seed, &[pairs.anchor_bits(anchor)]);
                let (negatives, removed) = select(&nearest, own, least, settings, &range, random);
                (AnchorNegatives { positives: scores.collect(), negatives }, removed)
            })
            .collect();
        for (anchor, removed) in found {
            mined.anchors.push(anchor);
            mined.removed += removed;
        }
    }
    tracing::info!(anchors = anchors.len(), documents = documents.len(), elapsed = ?started.elapsed(), "searched");
    Ok(mined)
}

fn check(pairs: &Pairs, anchors: &Embeddings, documents: &Embeddings) -> Result<()> {
    let refused = |problem| Err(Error::Setting { setting: "vectors", problem });
    let (texts, vectors) = (pairs.anchors().len(), anchors.len());
    if texts != vectors {
        return refused(format!("{vectors} of {texts} anchors"));
    }
    let (texts, vectors) = (pairs.documents().len(), documents.len());
    if texts != vectors {
        return refused(format!("{vectors} of {texts} documents"));
    }
    let (left, right) = (anchors.dimensions(), documents.dimensions());
    if left != right {
        return refused(format!("anchors have {left} dimensions, documents {right}"));
    }
    match [anchors, documents].iter().any(|all| all.as_slice().iter().any(|it| !it.is_finite())) {
        true => refused("there are numbers that are not finite".to_owned()),
        false => Ok(()),
    }
}
