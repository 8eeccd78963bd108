use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use coderag_eval::retrieval::{Judgements, Ranking, ScoredDocument, evaluate};
use serde::{Deserialize, Serialize};

use super::search::Found;
use crate::loss::BatchStatistics;

/// Means over the queries of a development set, as trec_eval computes them and, where no two documents are
/// equally similar, as sentence-transformers' `InformationRetrievalEvaluator` does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// The share of a query's positives that are the most similar document.
    pub recall_at_1: f64,
    /// The share of a query's positives among the 5 most similar documents.
    pub recall_at_5: f64,
    /// The share of a query's positives among the 10 most similar documents.
    pub recall_at_10: f64,
    /// 1 / the place of the first positive among the 10 most similar documents, 0 without one.
    pub mrr_at_10: f64,
    /// The discounted cumulative gain of the 10 most similar documents, as a share of the best possible.
    pub ndcg_at_10: f64,
    /// How many queries there are.
    pub queries: usize,
    /// How many documents were searched.
    pub documents: usize,
    /// How far positives are from the rest: of each query the most similar positive and the most similar
    /// document that is none. `None` when there is no such document.
    pub margin: Option<BatchStatistics>,
}

impl Scores {
    /// How many documents of a ranking the scores need.
    pub(super) const DEPTH: usize = 10;

    /// `relevant` are the numbers of each query's positives, `found` what was found for each query.
    pub(super) fn of(relevant: &[Vec<usize>], found: &[Found], documents: usize) -> Self {
        // As wide as any number, so that ids are ordered as the numbers are.
        let id = |number: usize| format!("{number:010}");
        let mut judgements = Judgements::default();
        let mut rankings = BTreeMap::new();
        for (query, (relevant, found)) in relevant.iter().zip(found).enumerate() {
            for document in relevant {
                judgements.insert(id(query), id(*document), 1);
            }
            let best = found.best.iter();
            let ranking =
                best.map(|(score, number)| ScoredDocument { id: id(*number), score: *score });
            rankings.insert(id(query), Ranking::new(ranking));
        }
        let cutoffs =
            [1, 5, Self::DEPTH].map(|k| NonZeroUsize::new(k).unwrap_or(NonZeroUsize::MIN));
        let mean = evaluate(&judgements, &rankings, &cutoffs).mean;
        let at = |k| mean.at.iter().find(|metrics| metrics.k == k);
        let recall = |k| at(k).map_or(0.0, |metrics| metrics.recall);
        let margins = found.iter().filter_map(|found| {
            let (positive, negative) = (found.positive?, found.hardest_negative?);
            Some((f64::from(positive), f64::from(negative)))
        });
        Self {
            recall_at_1: recall(1),
            recall_at_5: recall(5),
            recall_at_10: recall(10),
            mrr_at_10: at(10).map_or(0.0, |metrics| metrics.mrr),
            ndcg_at_10: at(10).map_or(0.0, |metrics| metrics.ndcg),
            queries: relevant.len(),
            documents,
            margin: BatchStatistics::of_similarities(margins.collect()),
        }
    }
}
