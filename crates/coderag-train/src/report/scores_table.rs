use std::fmt::{self, Display};

use super::RunSummary;
use crate::evaluation::Scores;
use crate::record::EvaluationRecord;
use coderag_eval::report::markup::{Count, Percent};

/// The scores before training, after it and at its best, with what they gained.
pub(super) struct ScoresTable<'r>(pub(super) &'r RunSummary);

/// A row: the name, the value, and whether it is a share.
type Row = (&'static str, fn(&Scores) -> Option<f64>, bool);

const ROWS: [Row; 9] = [
    ("recall@1", |scores| Some(scores.recall_at_1), true),
    ("recall@5", |scores| Some(scores.recall_at_5), true),
    ("recall@10", |scores| Some(scores.recall_at_10), true),
    ("MRR@10", |scores| Some(scores.mrr_at_10), true),
    ("nDCG@10", |scores| Some(scores.ndcg_at_10), true),
    ("positive similarity", |scores| Some(scores.margin.as_ref()?.positive), false),
    ("hardest negative similarity", |scores| Some(scores.margin.as_ref()?.hardest_negative), false),
    ("mean margin", |scores| Some(scores.margin.as_ref()?.margin), false),
    ("queries with a margin over 0", |scores| Some(scores.margin.as_ref()?.accuracy), true),
];

impl Display for ScoresTable<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let measurements = self.0.measurements();
        let Some((_, first)) = measurements.first() else {
            return writeln!(formatter, "<p>The model was not measured.</p>");
        };
        writeln!(
            formatter,
            "<div class=\"wide\" role=\"region\" aria-label=\"Scores\" tabindex=\"0\">\n<table>\n\
             <thead><tr><th scope=\"col\">score</th>"
        )?;
        for (name, EvaluationRecord { step, .. }) in &measurements {
            writeln!(
                formatter,
                "<th scope=\"col\" class=\"number\">{name}<br/>step {}</th>",
                Count(*step as usize)
            )?;
        }
        writeln!(formatter, "</tr></thead>\n<tbody>")?;
        for (name, value, is_share) in ROWS {
            let Some(before) = value(&first.scores) else { continue };
            write!(formatter, "<tr><th scope=\"row\">{name}</th>")?;
            for (place, (_, record)) in measurements.iter().enumerate() {
                let Some(value) = value(&record.scores) else {
                    write!(formatter, "<td class=\"number muted\">none</td>")?;
                    continue;
                };
                match is_share {
                    true => write!(formatter, "<td class=\"number\">{}", Percent(value))?,
                    false => write!(formatter, "<td class=\"number\">{value:.3}")?,
                }
                let gain = value - before;
                match (place, is_share) {
                    (0, _) => {}
                    (_, true) => write!(
                        formatter,
                        " <span class=\"gain {}\">{:+.1}</span>",
                        if gain < 0.0 { "wrong" } else { "right" },
                        100.0 * gain
                    )?,
                    (_, false) => {
                        write!(formatter, " <span class=\"gain muted\">{gain:+.3}</span>")?;
                    }
                }
                write!(formatter, "</td>")?;
            }
            writeln!(formatter, "</tr>")?;
        }
        writeln!(
            formatter,
            "</tbody>\n</table>\n</div>\n<p class=\"muted\">{} queries over {} documents; differences are \
             from the first column, those of shares in points.</p>",
            Count(first.scores.queries),
            Count(first.scores.documents)
        )
    }
}
