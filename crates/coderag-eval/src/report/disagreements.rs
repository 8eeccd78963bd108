use std::fmt::{self, Display};

use super::markup::{Code, Count, Escaped, Percent, share};
use crate::scoring::QuestionScore;

/// Where one metric calls a prediction right that another calls wrong.
pub(super) struct Disagreements<'s> {
    total: usize,
    kinds: Vec<(Kind, Vec<&'s QuestionScore>)>,
}

/// Two metrics that disagree.
#[derive(Clone, Copy)]
struct Kind {
    title: &'static str,
    /// What may be behind it.
    reading: &'static str,
    metrics: [Metric; 2],
}

/// Whether a question is right by a metric; none where that was not computed.
type Metric = fn(&QuestionScore) -> Option<bool>;

const EXECUTION: Metric = |score| score.execution;
const EXACT_MATCH: Metric = |score| score.exact_match;
/// A prediction that is not SQL has no structural match, where that was computed.
const STRUCTURAL_MATCH: Metric =
    |score| score.exact_match.map(|_| score.structural_match == Some(true));

const KINDS: [Kind; 5] = [
    Kind {
        title: "Execution right, exact set match wrong",
        reading: "Another way to the same result, or one that these databases do not tell apart.",
        metrics: [EXECUTION, EXACT_MATCH],
    },
    Kind {
        title: "Exact set match right, execution wrong",
        reading: "Exact set match compares neither values nor the order of columns.",
        metrics: [EXACT_MATCH, EXECUTION],
    },
    Kind {
        title: "Structural match right, exact set match wrong",
        reading: "The same query but for rewrites that never change a result; exact set match is too \
                  narrow here.",
        metrics: [STRUCTURAL_MATCH, EXACT_MATCH],
    },
    Kind {
        title: "Exact set match right, structural match wrong",
        reading: "What exact set match leaves out differs, such as values; or the prediction is no SQL.",
        metrics: [EXACT_MATCH, STRUCTURAL_MATCH],
    },
    Kind {
        title: "Structural match right, execution wrong",
        reading: "The same query has the same result, so one of them fails, is refused, or leaves its \
                  order open.",
        metrics: [STRUCTURAL_MATCH, EXECUTION],
    },
];

/// How many questions of a kind are shown.
const MOST_EXAMPLES: usize = 4;

impl<'s> Disagreements<'s> {
    /// Sorts the questions; none where only one metric was computed.
    pub(super) fn of(scores: &'s [QuestionScore]) -> Option<Self> {
        let is_computed = |metric: Metric| scores.iter().any(|score| metric(score).is_some());
        let kinds: Vec<_> = (KINDS.into_iter())
            .filter(|kind| kind.metrics.into_iter().all(is_computed))
            .map(|kind| (kind, scores.iter().filter(|score| kind.holds(score)).collect()))
            .collect();
        (!kinds.is_empty()).then_some(Self { total: scores.len(), kinds })
    }
}

impl Kind {
    fn holds(self, score: &QuestionScore) -> bool {
        let [right, wrong] = self.metrics;
        right(score) == Some(true) && wrong(score) == Some(false)
    }
}

fn is_outside(score: &QuestionScore) -> bool {
    !score.gold_parses || !score.prediction_parses
}

impl Display for Disagreements<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "<div class=\"wide\" role=\"region\" aria-label=\"Disagreements\" tabindex=\"0\">\n<table>\n\
             <thead><tr><th scope=\"col\">Disagreement</th><th scope=\"col\" class=\"number\">count</th>\
             <th scope=\"col\" class=\"number\">share</th>\
             <th scope=\"col\" class=\"number\">outside the grammar</th></tr></thead>\n<tbody>"
        )?;
        for (kind, scores) in &self.kinds {
            writeln!(
                formatter,
                "<tr><th scope=\"row\">{}<br/><span class=\"muted\">{}</span></th>\
                 <td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td></tr>",
                kind.title,
                kind.reading,
                Count(scores.len()),
                Percent(share(scores.len(), self.total)),
                Count(scores.iter().filter(|score| is_outside(score)).count()),
            )?;
        }
        writeln!(
            formatter,
            "</tbody>\n</table>\n</div>\n\
             <p class=\"muted\">Exact set match counts every query outside the official grammar as wrong, \
             whatever it returns.</p>"
        )?;
        for (kind, scores) in self.kinds.iter().filter(|(_, scores)| !scores.is_empty()) {
            let shown = scores.len().min(MOST_EXAMPLES);
            writeln!(
                formatter,
                "<details>\n<summary>{}: {} of {}</summary>",
                kind.title,
                if shown == 1 { "1 example".to_owned() } else { format!("{shown} examples") },
                Count(scores.len())
            )?;
            // Evenly over the file, because neighbours are often alike.
            for score in (0..shown).filter_map(|place| scores.get(place * scores.len() / shown)) {
                example(formatter, score)?;
            }
            writeln!(formatter, "</details>")?;
        }
        Ok(())
    }
}

fn example(formatter: &mut fmt::Formatter<'_>, score: &QuestionScore) -> fmt::Result {
    write!(
        formatter,
        "<div class=\"example\">\n<p>Question {} on <b>{}</b>",
        score.index,
        Escaped(&score.db_id)
    )?;
    if let Some(outcome) = score.outcome {
        write!(formatter, ", {outcome}")?;
    }
    if is_outside(score) {
        write!(formatter, " <span class=\"tag\">outside the grammar</span>")?;
    }
    writeln!(
        formatter,
        "</p>\n<dl class=\"queries\"><dt>gold</dt><dd>{}</dd><dt>predicted</dt><dd>{}</dd></dl>\n</div>",
        Code(&score.gold),
        Code(&score.prediction)
    )
}
