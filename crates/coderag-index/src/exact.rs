use std::cmp::Ordering;

use coderag_core::dot;
use rayon::prelude::*;

use crate::Result;
use crate::hnsw::Vectors;
use crate::index::Match;

/// The `k` best of all stored vectors for a query, best first; of equals the lower position.
pub(crate) fn search(vectors: &Vectors, query: &[f32], k: usize) -> Result<Vec<Match>> {
    let score = |position| -> Result<Match> {
        Ok(Match { position, score: cosine(query, &vectors.get(position)?) })
    };
    let mut scored: Vec<Match> =
        (0..vectors.count()).into_par_iter().map(score).collect::<Result<_>>()?;
    if k < scored.len() {
        scored.select_nth_unstable_by(k, best_first);
        scored.truncate(k);
    }
    scored.sort_unstable_by(best_first);
    Ok(scored)
}

/// Higher scores first; of equals the lower position, so that the order never depends on threads.
pub(crate) fn best_first(left: &Match, right: &Match) -> Ordering {
    right.score.total_cmp(&left.score).then(left.position.cmp(&right.position))
}

/// The cosine of the angle between two vectors of one width, neither of them zero.
pub(crate) fn cosine(left: &[f32], right: &[f32]) -> f32 {
    dot(left, right) / (dot(left, left).sqrt() * dot(right, right).sqrt())
}
