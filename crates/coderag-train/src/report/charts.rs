use std::fmt::Write as _;

use super::RunSummary;
use super::bins::{bins, smoothed, smoothing_window};
use super::line_chart::{Kind, Line, LineChart};
use crate::evaluation::Scores;
use crate::loss::BatchStatistics;
use crate::record::{EvaluationRecord, Record, StepRecord};

/// The course of a run, as charts; empty where there is nothing to show.
pub(super) fn charts(summary: &RunSummary, records: &[Record]) -> String {
    let steps: Vec<&StepRecord> = records.iter().filter_map(Record::as_step).collect();
    let evaluations: Vec<&EvaluationRecord> =
        records.iter().filter_map(Record::as_evaluation).collect();
    let last = records.iter().map(Record::step).max().unwrap_or_default();
    let stages = stages(summary, &steps);
    let chart = |title, caption: &str, lines: Vec<Line>| LineChart {
        title,
        caption: caption.to_owned(),
        lines,
        steps: (0, last),
        stages: &stages,
        marked: None,
        from_zero: true,
    };
    let mut text = String::new();
    let mut add = |chart: LineChart<'_>| {
        if chart.lines.iter().any(|line| !line.points.is_empty()) {
            // Writing to a text cannot fail.
            let _ = write!(text, "{chart}");
        }
    };
    let of_steps = |value: &dyn Fn(&StepRecord) -> f64| -> Vec<(u64, f64)> {
        steps.iter().map(|record| (record.step, value(record))).collect()
    };
    let statistics = |value: fn(&BatchStatistics) -> f64| -> Vec<(u64, f64)> {
        let known = steps.iter().filter_map(|step| Some((step.step, step.statistics.as_ref()?)));
        known.map(|(step, statistics)| (step, value(statistics))).collect()
    };
    let grouped = match steps.len() > super::bins::MOST_POINTS {
        true => {
            "A point is the mean of several steps, and the band goes from their lowest to their highest."
        }
        false => "",
    };
    let loss = of_steps(&|record| record.loss);
    add(chart("Loss", grouped, noisy("loss", &loss, 0)));
    let dots = |value: fn(&Scores) -> f64| -> Vec<(u64, f64)> {
        evaluations.iter().map(|record| (record.step, value(&record.scores))).collect()
    };
    let best = summary.best.as_ref().map(|best| best.step);
    let mut scores = chart(
        "Scores on the development set",
        if best.is_some() { "The rings are the best measurement." } else { "" },
        vec![
            plain("recall@1", &dots(|scores| scores.recall_at_1), 0, Kind::Dotted),
            plain("MRR@10", &dots(|scores| scores.mrr_at_10), 1, Kind::Dotted),
            plain("nDCG@10", &dots(|scores| scores.ndcg_at_10), 2, Kind::Dotted),
        ],
    );
    (scores.from_zero, scores.marked) = (false, best);
    add(scores);
    let mut margin = chart(
        "Similarities in the batch",
        "The mean cosine of an anchor with its positive, and with the most similar other document.",
        vec![
            smooth("positive", &statistics(|statistics| statistics.positive), 2),
            smooth("hardest negative", &statistics(|statistics| statistics.hardest_negative), 1),
        ],
    );
    margin.from_zero = false;
    add(margin);
    let accuracy = statistics(|statistics| statistics.accuracy);
    let mut chart_of_accuracy = chart(
        "Accuracy in the batch",
        "The share of anchors that are nearer to their positive than to any other document.",
        noisy("accuracy", &accuracy, 2),
    );
    chart_of_accuracy.from_zero = false;
    add(chart_of_accuracy);
    let norm = of_steps(&|record| record.gradient_norm);
    add(chart(
        "Gradient norm",
        "The length of all gradients together, before clipping.",
        noisy("norm", &norm, 1),
    ));
    let rate = of_steps(&|record| record.learning_rate);
    add(chart("Learning rate", "", vec![plain("learning rate", &rate, 0, Kind::Plain)]));
    if text.is_empty() { text } else { format!("<div class=\"charts\">\n{text}</div>\n") }
}

/// The stages but for the first, and after which step each begins; none where there is only one.
fn stages<'s>(summary: &'s RunSummary, steps: &[&StepRecord]) -> Vec<(u64, &'s str)> {
    let begins = |stage: usize| steps.iter().find(|record| record.stage == stage);
    let stages = summary.config.stages.iter().enumerate().skip(1);
    let name = |(number, stage): (usize, &'s crate::config::StageConfig)| {
        Some((begins(number)?.step.saturating_sub(1), stage.name.as_str()))
    };
    stages.filter_map(name).collect()
}

/// A pale line of all values, and a smoothed one over it.
fn noisy(name: &str, values: &[(u64, f64)], colour: usize) -> Vec<Line> {
    vec![plain(name, values, colour, Kind::Band), smooth("", values, colour)]
}

/// A smoothed line.
fn smooth(name: &str, values: &[(u64, f64)], colour: usize) -> Line {
    let window = smoothing_window(values.len());
    let separator = if name.is_empty() { "" } else { ", " };
    let name = format!("{name}{separator}mean of {window} steps");
    plain(&name, &smoothed(values, window), colour, Kind::Plain)
}

fn plain(name: &str, values: &[(u64, f64)], colour: usize, kind: Kind) -> Line {
    Line { name: name.to_owned(), colour, kind, points: bins(values) }
}
