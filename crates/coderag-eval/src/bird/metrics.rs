use std::collections::HashSet;

use coderag_sql::Value;

use crate::execution::RowSlice;
use crate::python_value::Key;

type Row<'r> = Vec<Key<'r>>;

fn keys<'r>(rows: RowSlice<'r>) -> impl Iterator<Item = Row<'r>> {
    rows.iter().map(|row: &Vec<Value>| row.iter().map(Key::of).collect())
}

/// Execution accuracy: whether both results have the same rows, how often and in whatever order
/// (`calculate_ex`).
pub fn sets_equal(prediction: RowSlice<'_>, gold: RowSlice<'_>) -> bool {
    keys(prediction).collect::<HashSet<_>>() == keys(gold).collect::<HashSet<_>>()
}

/// Soft-F1: how far the values of the first row are those of the first gold row, of the second those
/// of the second, and so on, after equal rows were dropped (`calculate_f1_score`).
pub fn soft_f1(prediction: RowSlice<'_>, gold: RowSlice<'_>) -> f64 {
    if prediction.is_empty() && gold.is_empty() {
        return 1.0;
    }
    let (prediction, gold) = (distinct(prediction), distinct(gold));
    let (mut matched, mut only_predicted, mut only_gold) = (0.0, 0.0, 0.0);
    for (index, gold_row) in gold.iter().enumerate() {
        let Some(row) = prediction.get(index) else {
            only_gold += 1.0;
            continue;
        };
        #[expect(clippy::cast_precision_loss, reason = "counts of columns")]
        let share = |count: usize| count as f64 / gold_row.len() as f64;
        let found = row.iter().filter(|value| gold_row.contains(value)).count();
        matched += share(found);
        only_predicted += share(row.len() - found);
        only_gold += share(gold_row.iter().filter(|value| !row.contains(value)).count());
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of rows")]
    let further = prediction.len().saturating_sub(gold.len()) as f64;
    only_predicted += further;
    let share = |part: f64, rest: f64| if part + rest > 0.0 { part / (part + rest) } else { 0.0 };
    let (precision, recall) = (share(matched, only_predicted), share(matched, only_gold));
    if precision + recall > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 }
}

/// The rows in order without repetitions: `list(dict.fromkeys(rows))`.
fn distinct(rows: RowSlice<'_>) -> Vec<Row<'_>> {
    let mut seen = HashSet::new();
    keys(rows).filter(|row| seen.insert(row.clone())).collect()
}

/// The reward of a right prediction by how fast it is (`iterated_execute_sql`): the mean of the ratios
/// of gold to predicted seconds that lie within three standard deviations, in five steps.
///
/// Where all ratios are equal none lies within, and the official script gives 0.
pub fn reward(gold_seconds: &[f64], predicted_seconds: &[f64]) -> f64 {
    let ratios: Vec<f64> = gold_seconds
        .iter()
        .zip(predicted_seconds)
        .map(|(gold, predicted)| gold / predicted)
        .collect();
    let mean = mean(&ratios);
    let squares: Vec<f64> = ratios.iter().map(|ratio| (ratio - mean) * (ratio - mean)).collect();
    let deviation = self::mean(&squares).sqrt();
    let usual: Vec<f64> = (ratios.iter().copied())
        .filter(|ratio| *ratio < mean + 3.0 * deviation && *ratio > mean - 3.0 * deviation)
        .collect();
    if usual.is_empty() {
        return 0.0;
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of repetitions")]
    let ratio = usual.iter().sum::<f64>() / usual.len() as f64;
    match ratio {
        0.0 => 0.0,
        ratio if ratio >= 2.0 => 1.25,
        ratio if ratio >= 1.0 => 1.0,
        ratio if ratio >= 0.5 => 0.75,
        ratio if ratio >= 0.25 => 0.5,
        _ => 0.25,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count of repetitions")]
fn mean(values: &[f64]) -> f64 {
    pairwise_sum(values) / values.len() as f64
}

/// `numpy.add.reduce` on 64-bit floats, whose rounding decides whether equal ratios have a deviation.
fn pairwise_sum(values: &[f64]) -> f64 {
    /// numpy's `PW_BLOCKSIZE`.
    const BLOCK: usize = 128;
    if values.len() < 8 {
        return values.iter().fold(-0.0, |sum, value| sum + value);
    }
    if values.len() > BLOCK {
        let half = values.len() / 2;
        let (left, right) = values.split_at(half - half % 8);
        return pairwise_sum(left) + pairwise_sum(right);
    }
    let (blocks, rest) = values.as_chunks::<8>();
    let mut sums = [-0.0; 8];
    if let Some((first, others)) = blocks.split_first() {
        sums = *first;
        for block in others {
            for (sum, value) in sums.iter_mut().zip(block) {
                *sum += value;
            }
        }
    }
    let [a, b, c, d, e, f, g, h] = sums;
    let sum = ((a + b) + (c + d)) + ((e + f) + (g + h));
    rest.iter().fold(sum, |sum, value| sum + value)
}
