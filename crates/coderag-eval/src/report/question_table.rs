use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};

use super::markup::{Code, Count, Escaped, Percent};
use super::question::{Metric, Question, Questions};
use crate::Outcome;

/// The questions, wrong ones first, with a form that the script shows and filters them by.
pub(super) struct QuestionTable<'q>(pub(super) &'q Questions<'q>);

/// More of them make browsers slow.
const MOST_ROWS: usize = 2_000;

/// The choices of the form; a row holds their places, so that no text from outside is in an attribute.
struct Choices<'q> {
    outcomes: Vec<Outcome>,
    databases: BTreeMap<&'q str, usize>,
}

impl Display for QuestionTable<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Questions { metrics, level, questions, .. } = self.0;
        let mut order: Vec<&Question<'_>> = questions.iter().collect();
        order.sort_by(|question, other| {
            let values = question.values.iter().zip(&other.values);
            values
                .map(|(value, other)| value.total_cmp(other))
                .find(|order| order.is_ne())
                .unwrap_or_else(|| question.index.cmp(&other.index))
        });
        let total = order.len();
        order.truncate(MOST_ROWS);
        if order.len() < total {
            writeln!(
                formatter,
                "<p>The first {} of {} questions, wrong ones first. The file of details has all of \
                 them.</p>",
                Count(order.len()),
                Count(total)
            )?;
        } else {
            writeln!(formatter, "<p>All {} questions, wrong ones first.</p>", Count(total))?;
        }
        let outcomes: BTreeSet<Outcome> =
            order.iter().filter_map(|question| question.outcome).collect();
        let databases: BTreeSet<&str> = order.iter().map(|question| question.database).collect();
        let choices = Choices {
            outcomes: outcomes.into_iter().collect(),
            databases: databases
                .into_iter()
                .enumerate()
                .map(|(place, name)| (name, place))
                .collect(),
        };
        self.form(formatter, &choices)?;
        write!(
            formatter,
            "<div class=\"wide rows\" role=\"region\" aria-label=\"Questions\" tabindex=\"0\">\n\
             <table id=\"question-table\">\n<thead><tr><th scope=\"col\" class=\"number\">No.</th>\
             <th scope=\"col\">Database, {level}</th><th scope=\"col\">Gold and prediction</th>"
        )?;
        for Metric { name, short, .. } in metrics {
            write!(formatter, "<th scope=\"col\"><abbr title=\"{name}\">{short}</abbr></th>")?;
        }
        writeln!(formatter, "<th scope=\"col\">Outcome</th></tr></thead>\n<tbody>")?;
        for question in order {
            self.row(formatter, question, &choices)?;
        }
        writeln!(formatter, "</tbody>\n</table>\n</div>")
    }
}

impl QuestionTable<'_> {
    fn form(&self, formatter: &mut fmt::Formatter<'_>, choices: &Choices<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "<form id=\"filters\" hidden=\"hidden\" role=\"search\" aria-label=\"Filter the questions\">"
        )?;
        if choices.outcomes.len() > 1 {
            let names = choices.outcomes.iter().map(ToString::to_string).enumerate();
            select(formatter, "outcome", "Outcome", names)?;
        }
        let columns = self.0.level_columns();
        if !columns.is_empty() {
            let names = columns.iter().map(|(level, name)| (level_place(*level), *name));
            select(formatter, "level", self.0.level, names)?;
        }
        if choices.databases.len() > 1 {
            let names = choices.databases.iter().map(|(name, place)| (*place, name));
            select(formatter, "database", "Database", names)?;
        }
        let metrics = self.0.metrics.iter().enumerate().filter(|(_, metric)| metric.is_binary);
        for (index, metric) in metrics {
            let names = [(1, "right"), (0, "wrong")];
            select(formatter, &format!("metric{index}"), metric.short, names.into_iter())?;
        }
        writeln!(
            formatter,
            "<label>Text <input type=\"search\" name=\"text\" autocomplete=\"off\"/></label>\n\
             <output id=\"shown\" aria-live=\"polite\"></output>\n</form>"
        )
    }

    fn row(
        &self,
        formatter: &mut fmt::Formatter<'_>,
        question: &Question<'_>,
        choices: &Choices<'_>,
    ) -> fmt::Result {
        let metrics = || self.0.metrics.iter().zip(&question.values).enumerate();
        write!(formatter, "<tr data-level=\"{}\"", level_place(question.level))?;
        if let Some(place) = choices.databases.get(question.database) {
            write!(formatter, " data-database=\"{place}\"")?;
        }
        let outcome =
            question.outcome.and_then(|outcome| choices.outcomes.binary_search(&outcome).ok());
        if let Some(place) = outcome {
            write!(formatter, " data-outcome=\"{place}\"")?;
        }
        for (index, (_, value)) in metrics().filter(|(_, (metric, _))| metric.is_binary) {
            write!(formatter, " data-metric{index}=\"{value:.0}\"")?;
        }
        let level = question.level.and_then(|level| self.0.levels.get(level));
        writeln!(
            formatter,
            "><th scope=\"row\" class=\"number\">{}</th><td>{}<br/><span class=\"muted\">{}</span></td>\
             <td><dl class=\"queries\"><dt>gold</dt><dd>{}</dd><dt>predicted</dt><dd>{}</dd></dl></td>",
            question.index,
            Escaped(question.database),
            level.map_or("none", String::as_str),
            Code(question.gold),
            Code(question.prediction),
        )?;
        for (_, (metric, value)) in metrics() {
            match (metric.is_binary, *value > 0.5) {
                (true, true) => write!(formatter, "<td class=\"right\">right</td>")?,
                (true, false) => write!(formatter, "<td class=\"wrong\">wrong</td>")?,
                (false, _) => write!(formatter, "<td class=\"number\">{}</td>", Percent(*value))?,
            }
        }
        write!(formatter, "<td class=\"outcome\">")?;
        if let Some(outcome) = question.outcome {
            write!(formatter, "<div>{outcome}</div>")?;
        }
        if let Some(error) = question.error {
            write!(formatter, "<div>{}</div>", Code(error))?;
        }
        for remark in &question.remarks {
            write!(formatter, "<div class=\"muted\">{remark}</div>")?;
        }
        writeln!(formatter, "</td></tr>")
    }
}

/// The place of a level among the choices, of which the first is for questions without one.
fn level_place(level: Option<usize>) -> usize {
    level.map_or(0, |level| level + 1)
}

fn select(
    formatter: &mut fmt::Formatter<'_>,
    field: &str,
    label: &str,
    names: impl Iterator<Item = (usize, impl AsRef<str>)>,
) -> fmt::Result {
    write!(
        formatter,
        "<label>{label} <select name=\"{field}\" autocomplete=\"off\"><option value=\"\">all</option>"
    )?;
    for (place, name) in names {
        write!(formatter, "<option value=\"{place}\">{}</option>", Escaped(name.as_ref()))?;
    }
    writeln!(formatter, "</select></label>")
}
