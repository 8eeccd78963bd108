use std::collections::BTreeMap;
use std::fmt::{self, Display};

use super::markup::{Count, Percent, share};
use super::question::Questions;
use crate::Outcome;

/// What came of running the predictions: a chart of what was wrong and a table of everything.
pub(super) struct Outcomes<'q> {
    questions: &'q Questions<'q>,
    /// By outcome and level, the most frequent outcome first.
    counts: Vec<(Outcome, BTreeMap<Option<usize>, usize>)>,
    total: usize,
}

impl<'q> Outcomes<'q> {
    /// Counts; none where nothing was run.
    pub(super) fn of(questions: &'q Questions<'q>) -> Option<Self> {
        let mut counts: BTreeMap<Outcome, BTreeMap<Option<usize>, usize>> = BTreeMap::new();
        for question in &questions.questions {
            if let Some(outcome) = question.outcome {
                *counts.entry(outcome).or_default().entry(question.level).or_insert(0) += 1;
            }
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, by_level)| std::cmp::Reverse(sum(by_level)));
        let total = counts.iter().map(|(_, by_level)| sum(by_level)).sum();
        (total > 0).then_some(Self { questions, counts, total })
    }

    fn chart(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wrong: Vec<_> =
            self.counts.iter().filter(|(outcome, _)| *outcome != Outcome::Correct).collect();
        let Some((_, most)) = wrong.first() else {
            return writeln!(
                formatter,
                "<p>Every prediction returned what the gold query does.</p>"
            );
        };
        let most = sum(most);
        let count: usize = wrong.iter().map(|(_, by_level)| sum(by_level)).sum();
        writeln!(
            formatter,
            "<p>{} of {} predictions ({}) did not return what the gold query does. \
             The bars show why.</p>",
            Count(count),
            Count(self.total),
            Percent(share(count, self.total)),
        )?;
        let columns = self.questions.level_columns();
        writeln!(formatter, "<figure>")?;
        if !columns.is_empty() {
            writeln!(formatter, "<ul class=\"legend\">")?;
            for (level, name) in &columns {
                writeln!(
                    formatter,
                    "<li><span class=\"swatch {}\"></span>{name}</li>",
                    level_class(*level)
                )?;
            }
            writeln!(formatter, "</ul>")?;
        }
        let height = 28 * wrong.len() + 4;
        write!(
            formatter,
            "<svg class=\"outcome-chart\" viewBox=\"0 0 720 {height}\" role=\"img\" \
             aria-label=\"Wrong predictions by outcome:"
        )?;
        for (index, (outcome, by_level)) in wrong.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(formatter, "{comma} {outcome} {}", sum(by_level))?;
        }
        writeln!(formatter, "\">")?;
        for (index, (outcome, by_level)) in wrong.iter().enumerate() {
            let top = 28 * index + 4;
            writeln!(
                formatter,
                "<text class=\"name\" x=\"{}\" y=\"{}\">{outcome}</text>",
                LEFT - 10.0,
                top + 15
            )?;
            let mut before = 0;
            for (level, count) in by_level {
                let class =
                    if columns.is_empty() { level_class(Some(1)) } else { level_class(*level) };
                let (start, end) = (across(before, most), across(before + count, most));
                let name =
                    columns.iter().find(|(column, _)| column == level).map_or("all", |it| it.1);
                writeln!(
                    formatter,
                    "<rect class=\"{class}\" x=\"{start:.2}\" y=\"{top}\" width=\"{:.2}\" height=\"20\">\
                     <title>{outcome}, {name}: {count}</title></rect>",
                    end - start
                )?;
                before += count;
            }
            writeln!(
                formatter,
                "<text class=\"count\" x=\"{:.2}\" y=\"{}\">{} <tspan class=\"muted\">{}</tspan></text>",
                across(before, most) + 8.0,
                top + 15,
                Count(before),
                Percent(share(before, self.total)),
            )?;
        }
        writeln!(formatter, "</svg>\n</figure>")
    }

    fn table(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.questions.level_columns();
        write!(
            formatter,
            "<div class=\"wide\" role=\"region\" aria-label=\"Outcomes by {0}\" tabindex=\"0\">\n\
             <table class=\"outcomes\">\n<thead><tr><th scope=\"col\">Outcome</th>",
            self.questions.level
        )?;
        for (_, name) in &columns {
            write!(formatter, "<th scope=\"col\" class=\"number\">{name}</th>")?;
        }
        writeln!(
            formatter,
            "<th scope=\"col\" class=\"number\">all</th>\
             <th scope=\"col\" class=\"number\">share</th></tr></thead>\n<tbody>"
        )?;
        for (outcome, by_level) in &self.counts {
            write!(formatter, "<tr><th scope=\"row\">{outcome}</th>")?;
            for (level, _) in &columns {
                let count = by_level.get(level).copied().unwrap_or(0);
                write!(formatter, "<td class=\"number\">{}</td>", Count(count))?;
            }
            let count = sum(by_level);
            writeln!(
                formatter,
                "<td class=\"number\">{}</td><td class=\"number\">{}</td></tr>",
                Count(count),
                Percent(share(count, self.total))
            )?;
        }
        writeln!(formatter, "</tbody>\n</table>\n</div>")
    }
}

impl Display for Outcomes<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.chart(formatter)?;
        self.table(formatter)
    }
}

/// Where the bars begin; the names are left of it.
const LEFT: f64 = 180.0;

/// How far a count reaches, in the units of the chart; the longest bar leaves room for its figures.
fn across(count: usize, most: usize) -> f64 {
    LEFT + 430.0 * share(count, most)
}

fn sum(by_level: &BTreeMap<Option<usize>, usize>) -> usize {
    by_level.values().sum()
}

fn level_class(level: Option<usize>) -> &'static str {
    match level {
        Some(0) => "level-0",
        Some(1) => "level-1",
        Some(2) => "level-2",
        Some(_) => "level-3",
        None => "level-none",
    }
}
