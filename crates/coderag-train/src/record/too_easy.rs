use super::StepRecord;

/// How many steps [`too_easy`] looks at: enough that a few easy batches are no reason for alarm.
pub const TOO_EASY_STEPS: usize = 50;

/// Of softmax losses, in nats. The positive then has `exp(-0.02)`, 98 % of the probability, so that what
/// moves a pair's vectors, the 2 % that are missing, is a fiftieth of what it is at the worst.
const SMALL_LOSS: f64 = 0.02;

/// Of anchors: fewer than one in 200 has any text before its positive.
const HIGH_ACCURACY: f64 = 0.995;

/// A mean margin, in cosines. At the usual scale of 20 the hardest negative then weighs `exp(-6)`, a
/// quarter of a percent of the positive.
const LARGE_MARGIN: f64 = 0.3;

/// Says so when the latest steps of a ranking loss, all of one stage, taught next to nothing because the
/// positive is told from the negatives without effort. `None` with fewer than 50 steps.
///
/// It is the loss that is near 0, or where it is not (with Matryoshka, say, it is a sum) the accuracy in the
/// batch that is near 1 with a large margin. For distillation the advice is wrong: a small loss is its aim.
pub fn too_easy(recent: &[StepRecord]) -> Option<String> {
    let stage = recent.last()?.stage;
    let latest: Vec<&StepRecord> = recent
        .iter()
        .rev()
        .take_while(|record| record.stage == stage)
        .take(TOO_EASY_STEPS)
        .collect();
    if latest.len() < TOO_EASY_STEPS {
        return None;
    }
    let loss = mean(latest.iter().map(|record| record.loss))?;
    let statistics = || latest.iter().filter_map(|record| record.statistics.as_ref());
    let accuracy = mean(statistics().map(|statistics| statistics.accuracy));
    let margin = mean(statistics().map(|statistics| statistics.margin));
    let finding = match (accuracy, margin) {
        _ if loss < SMALL_LOSS => format!("the loss is {loss:.4}"),
        (Some(accuracy), Some(margin)) if accuracy > HIGH_ACCURACY && margin > LARGE_MARGIN => {
            format!(
                "{:.1} % of the anchors are nearest to their positive, by {margin:.2} on average",
                100.0 * accuracy
            )
        }
        _ => return None,
    };
    Some(format!(
        "the negatives are too easy to learn from: over the last {TOO_EASY_STEPS} steps {finding}. Mine \
         harder negatives with `coderag mine`, take larger batches (`batch_size`, with `texts_at_once` where \
         memory is short), or draw each batch from one source (`same_source_per_batch = true`)"
    ))
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0_u32);
    for value in values {
        sum += value;
        count += 1;
    }
    (count > 0).then(|| sum / f64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::BatchStatistics;

    fn steps(stage: usize, loss: f64, statistics: Option<(f64, f64)>) -> Vec<StepRecord> {
        let statistics = statistics.map(|(accuracy, margin)| BatchStatistics {
            anchors: 64,
            accuracy,
            positive: 0.8,
            hardest_negative: 0.8 - margin,
            margin,
            margin_quantiles: [margin; 5],
        });
        let step = |number| StepRecord {
            step: number,
            stage,
            epoch: 0,
            loss,
            learning_rate: 1e-4,
            gradient_norm: 1.0,
            pairs: 64,
            tokens: 5000,
            seconds: 1.0,
            statistics: statistics.clone(),
        };
        (1..=50).map(step).collect()
    }

    #[test]
    fn a_loss_near_zero_is_reported_and_what_to_do() {
        let warning = too_easy(&steps(0, 0.0123, None)).unwrap();
        for part in ["the loss is 0.0123", "coderag mine", "batch_size", "same_source_per_batch"] {
            assert!(warning.contains(part), "{warning}");
        }
    }

    #[test]
    fn perfect_accuracy_is_reported_only_with_a_large_margin() {
        let warning = too_easy(&steps(0, 0.4, Some((0.998, 0.45)))).unwrap();
        assert!(warning.contains("99.8 % of the anchors") && warning.contains("by 0.45"));
        assert_eq!(too_easy(&steps(0, 0.4, Some((0.998, 0.1)))), None);
        assert_eq!(too_easy(&steps(0, 0.4, Some((0.9, 0.45)))), None);
    }

    #[test]
    fn a_run_that_learns_is_left_alone() {
        // The mean of the last 20 steps of a real run on pairs of documentation and code.
        assert_eq!(too_easy(&steps(0, 0.323, Some((0.93, 0.2)))), None);
        assert_eq!(too_easy(&steps(0, f64::NAN, None)), None);
        assert_eq!(too_easy(&[]), None);
    }

    #[test]
    fn few_steps_or_another_stage_prove_nothing() {
        let mut records = steps(0, 0.001, None);
        assert_eq!(too_easy(&records[1..]), None);
        records.extend(steps(1, 0.001, None).into_iter().take(49));
        assert_eq!(too_easy(&records), None);
    }
}
