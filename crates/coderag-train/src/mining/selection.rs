use std::ops::{AddAssign, Range};

use coderag_core::Random;
use serde::{Deserialize, Serialize};

use super::{Candidate, MiningSettings, Sampling};

/// How many candidates were looked at, and what removed how many. What one filter removed is not counted
/// again by those after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// The nearest documents of all anchors, less the texts of the anchors and their positives.
    pub candidates: u64,
    /// Those that were the anchor's own text or a positive of it.
    pub own_texts: u64,
    /// Removed by [`MiningSettings::absolute_margin`].
    pub absolute_margin: u64,
    /// Removed by [`MiningSettings::relative_margin`].
    pub relative_margin: u64,
    /// Removed by [`MiningSettings::max_score`].
    pub max_score: u64,
    /// Removed by [`MiningSettings::min_score`].
    pub min_score: u64,
}

impl AddAssign for Removed {
    fn add_assign(&mut self, other: Self) {
        self.candidates += other.candidates;
        self.own_texts += other.own_texts;
        self.absolute_margin += other.absolute_margin;
        self.relative_margin += other.relative_margin;
        self.max_score += other.max_score;
        self.min_score += other.min_score;
    }
}

/// Chooses the negatives of an anchor among its nearest documents, and counts what removes the others.
///
/// `nearest` is best first, as is what is returned. `own` are documents that can be no negatives; `positive` is
/// the score of the least similar positive, from which the margins are taken.
pub(super) fn select(
    nearest: &[Candidate],
    own: impl Fn(u32) -> bool,
    positive: f32,
    settings: &MiningSettings,
    range: &Range<usize>,
    random: impl FnOnce() -> Random,
) -> (Vec<Candidate>, Removed) {
    let mut removed = Removed::default();
    let mut left = Vec::new();
    for candidate in nearest {
        if own(candidate.document) {
            removed.own_texts += 1;
            continue;
        }
        removed.candidates += 1;
        let score = candidate.score;
        let exceeds = |most: f32| score > most;
        if settings.absolute_margin.is_some_and(|margin| score + margin > positive) {
            removed.absolute_margin += 1;
        } else if settings
            .relative_margin
            .is_some_and(|margin| exceeds(positive - positive.abs() * margin))
        {
            removed.relative_margin += 1;
        } else if settings.max_score.is_some_and(exceeds) {
            removed.max_score += 1;
        } else if settings.min_score.is_some_and(|least| score < least) {
            removed.min_score += 1;
        } else {
            left.push(*candidate);
        }
    }
    left.truncate(range.end);
    left.drain(..range.start.min(left.len()));
    if settings.sampling == Sampling::Random && left.len() > settings.negatives {
        random().shuffle(&mut left);
        left.truncate(settings.negatives);
        left.sort_unstable_by(Candidate::best_first);
    }
    left.truncate(settings.negatives);
    left.shrink_to_fit();
    (left, removed)
}
