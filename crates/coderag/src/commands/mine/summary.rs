use coderag_train::mining::{Judged, MiningReport, OnTooFew, QUANTILES};

use crate::arguments::MineArguments;
use crate::output;

/// Prints on standard error what was found.
pub(super) fn print(report: &MiningReport, judged: Option<&Judged>, arguments: &MineArguments) {
    let MiningReport { pairs, anchors, documents, removed, written, .. } = report;
    output::note(format_args!("{pairs} pairs of {anchors} anchors and {documents} documents"));
    let filters: Vec<String> = [
        ("the absolute margin", removed.absolute_margin),
        ("the relative margin", removed.relative_margin),
        ("the greatest score", removed.max_score),
        ("the least score", removed.min_score),
    ]
    .into_iter()
    .filter(|(_, count)| *count > 0)
    .map(|(filter, count)| format!("; removed by {filter}: {count}"))
    .collect();
    output::note(format_args!("{} candidates{}", removed.candidates, filters.concat()));
    let row = |scores: &[f64; 5]| scores.map(|score| format!("{score:7.4}")).join(" ");
    let places = QUANTILES.map(|at| format!("{:6.0}%", at * 100.0)).join(" ");
    output::note(format_args!("similarity  {places}"));
    output::note(format_args!("positives   {}", row(&report.positive_scores)));
    if let Some(scores) = &report.negative_scores {
        output::note(format_args!("negatives   {}", row(scores)));
    }
    if let Some(judged) = judged {
        output::note(format_args!(
            "{} negatives judged; dropped as right answers: {}; kept without a clear word: {}",
            judged.asked, judged.answers, judged.unclear
        ));
    }
    if written.repeated > 0 {
        output::note(format_args!("rows left out as repeated pairs: {}", written.repeated));
    }
    if written.too_few > 0 {
        let become_of = match OnTooFew::from(arguments.on_too_few) {
            OnTooFew::Keep => "kept",
            OnTooFew::Drop => "left out",
        };
        output::note(format_args!(
            "pairs with fewer than {} negatives, {become_of}: {}",
            arguments.negatives, written.too_few
        ));
    }
    output::note(format_args!(
        "wrote {} pairs with {} negatives to {}",
        written.pairs,
        written.negatives,
        arguments.output.display()
    ));
}
