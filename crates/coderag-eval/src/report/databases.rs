use std::fmt::{self, Display};

use super::markup::{Count, Escaped, Percent};
use super::question::{Question, Questions, mean};

/// The means of the metrics by database, the worst first.
pub(super) struct DatabaseTable<'q>(pub(super) &'q Questions<'q>);

impl Display for DatabaseTable<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Questions { metrics, .. } = self.0;
        write!(
            formatter,
            "<div class=\"wide\" role=\"region\" aria-label=\"Scores by database\" tabindex=\"0\">\n<table>\n\
             <thead><tr><th scope=\"col\">Database</th>\
             <th scope=\"col\" class=\"number\">Questions</th>"
        )?;
        for metric in metrics {
            write!(formatter, "<th scope=\"col\" class=\"number\">{}</th>", metric.name)?;
        }
        writeln!(formatter, "</tr></thead>\n<tbody>")?;
        let mut rows: Vec<(&str, Vec<&Question<'_>>, Vec<f64>)> =
            (self.0.by_database().into_iter())
                .map(|(name, questions)| {
                    let means = (0..metrics.len()).map(|metric| mean(&questions, metric)).collect();
                    (name, questions, means)
                })
                .collect();
        // Of equally bad ones the larger counts for more.
        rows.sort_by(|(_, questions, means), (_, other_questions, other_means)| {
            means
                .iter()
                .zip(other_means)
                .map(|(mean, other)| mean.total_cmp(other))
                .find(|order| order.is_ne())
                .unwrap_or_else(|| other_questions.len().cmp(&questions.len()))
        });
        for (name, questions, means) in rows {
            write!(
                formatter,
                "<tr><th scope=\"row\">{}</th><td class=\"number\">{}</td>",
                Escaped(name),
                Count(questions.len())
            )?;
            for (index, mean) in means.into_iter().enumerate() {
                write!(
                    formatter,
                    "<td class=\"number\">{}<span class=\"track\"><span class=\"bar metric-{index}\" \
                     style=\"--share:{mean:.4}\"></span></span></td>",
                    Percent(mean)
                )?;
            }
            writeln!(formatter, "</tr>")?;
        }
        writeln!(formatter, "</tbody>\n</table>\n</div>")
    }
}
