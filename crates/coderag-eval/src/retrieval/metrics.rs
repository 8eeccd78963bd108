use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use serde::Serialize;

use super::judgements::Judgements;
use super::ranking::Ranking;

/// Metrics of the best documents of a ranking, or their means over queries. All are between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MetricsAtCutoff {
    /// How many documents count, from the best.
    pub k: usize,
    /// The share of the relevant documents that are found; trec_eval's `recall_k`.
    pub recall: f64,
    /// The share of the `k` places that hold a relevant document; trec_eval's `P_k`.
    pub precision: f64,
    /// 1 / the place of the first relevant document, and 0 where there is none; trec_eval's
    /// `recip_rank` of the ranking cut after `k`.
    pub mrr: f64,
    /// The discounted cumulative gain as a share of the best possible, the gain being the relevance and
    /// the discount log2(place + 1) (Järvelin and Kekäläinen 2002); trec_eval's `ndcg_cut_k`.
    pub ndcg: f64,
    /// The precisions at the places of relevant documents, summed and divided by the number of all
    /// relevant documents; trec_eval's `map_cut_k`.
    pub map: f64,
}

/// Metrics of one ranking, or their means over queries.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RankingMetrics {
    /// At each cutoff, from the lowest.
    pub at: Vec<MetricsAtCutoff>,
    /// The reciprocal rank in the whole ranking; trec_eval's `recip_rank`.
    pub mrr: f64,
    /// The average precision of the whole ranking; trec_eval's `map`.
    pub map: f64,
}

/// Metrics of the rankings of many queries.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RetrievalMetrics {
    /// The means over `queries`; all 0 where there are none.
    pub mean: RankingMetrics,
    /// The metrics of each evaluated query.
    pub queries: BTreeMap<String, RankingMetrics>,
    /// How many queries have judgements but no ranking. They are left out, as pytrec_eval does.
    pub without_ranking: usize,
    /// How many queries have a ranking but no judgements. They are left out, as pytrec_eval does.
    pub without_judgements: usize,
}

/// Evaluates the rankings of queries at the cutoffs, which may come in any order.
pub fn evaluate(
    judgements: &Judgements,
    rankings: &BTreeMap<String, Ranking>,
    cutoffs: &[NonZeroUsize],
) -> RetrievalMetrics {
    let mut cutoffs: Vec<usize> = cutoffs.iter().map(|cutoff| cutoff.get()).collect();
    cutoffs.sort_unstable();
    cutoffs.dedup();
    let mut metrics = RetrievalMetrics::default();
    for (query, ranking) in rankings {
        match judgements.of(query) {
            Some(judged) => {
                let evaluated = evaluate_ranking(judged, ranking, &cutoffs);
                metrics.queries.insert(query.clone(), evaluated);
            }
            None => metrics.without_judgements += 1,
        }
    }
    metrics.without_ranking =
        judgements.iter().filter(|(query, _)| !rankings.contains_key(*query)).count();
    metrics.mean = mean(&metrics.queries, &cutoffs);
    metrics
}

fn evaluate_ranking(
    judged: &BTreeMap<String, i64>,
    ranking: &Ranking,
    cutoffs: &[usize],
) -> RankingMetrics {
    let relevance = |id: &String| judged.get(id).copied().unwrap_or(0).max(0);
    let found: Vec<i64> =
        ranking.documents().iter().map(|document| relevance(&document.id)).collect();
    let mut ideal: Vec<i64> = judged.values().copied().filter(|&value| value > 0).collect();
    ideal.sort_unstable_by(|left, right| right.cmp(left));
    let relevant = ideal.len();

    let at = cutoffs.iter().map(|&k| {
        let best = found.get(..k).unwrap_or(&found);
        let hits = best.iter().filter(|&&relevance| relevance > 0).count();
        MetricsAtCutoff {
            k,
            recall: share(hits as f64, relevant as f64),
            precision: share(hits as f64, k as f64),
            mrr: reciprocal_rank(best),
            ndcg: share(
                discounted_cumulative_gain(best),
                discounted_cumulative_gain(ideal.get(..k).unwrap_or(&ideal)),
            ),
            map: average_precision(best, relevant),
        }
    });
    RankingMetrics {
        at: at.collect(),
        mrr: reciprocal_rank(&found),
        map: average_precision(&found, relevant),
    }
}

/// `part / whole`, and 0 where there is nothing to share.
fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

fn reciprocal_rank(found: &[i64]) -> f64 {
    let first = found.iter().position(|&relevance| relevance > 0);
    first.map_or(0.0, |position| 1.0 / (position as f64 + 1.0))
}

fn discounted_cumulative_gain(found: &[i64]) -> f64 {
    let gains = found.iter().enumerate();
    gains.map(|(position, &relevance)| relevance as f64 / (position as f64 + 2.0).log2()).sum()
}

fn average_precision(found: &[i64], relevant: usize) -> f64 {
    let mut hits = 0.0;
    let mut sum = 0.0;
    for (position, &relevance) in found.iter().enumerate() {
        if relevance > 0 {
            hits += 1.0;
            sum += hits / (position as f64 + 1.0);
        }
    }
    share(sum, relevant as f64)
}

fn mean(queries: &BTreeMap<String, RankingMetrics>, cutoffs: &[usize]) -> RankingMetrics {
    let mean = |value: &dyn Fn(&RankingMetrics) -> f64| {
        share(queries.values().map(value).sum(), queries.len() as f64)
    };
    let at = cutoffs.iter().enumerate().map(|(place, &k)| {
        let mean_at = |value: fn(&MetricsAtCutoff) -> f64| {
            mean(&|metrics| metrics.at.get(place).map_or(0.0, value))
        };
        MetricsAtCutoff {
            k,
            recall: mean_at(|at| at.recall),
            precision: mean_at(|at| at.precision),
            mrr: mean_at(|at| at.mrr),
            ndcg: mean_at(|at| at.ndcg),
            map: mean_at(|at| at.map),
        }
    });
    RankingMetrics {
        at: at.collect(),
        mrr: mean(&|metrics| metrics.mrr),
        map: mean(&|metrics| metrics.map),
    }
}
