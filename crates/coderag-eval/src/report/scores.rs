use std::fmt::{self, Display};

use super::interval::Interval;
use super::level_chart::Mean;
use super::markup::{Count, Percent};

/// One of the figures that sum up everything.
pub(super) struct Score {
    pub(super) name: &'static str,
    pub(super) mean: Mean,
    /// The whole that a sample is a part of.
    pub(super) questions: usize,
    pub(super) remark: Option<String>,
}

/// The figures that a reader looks for first.
pub(super) struct Scores(pub(super) Vec<Score>);

impl Display for Scores {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "<div class=\"scores\">")?;
        for Score { name, mean, questions, remark } in &self.0 {
            writeln!(
                formatter,
                "<div class=\"score\">\n<h3>{name}</h3>\n<p class=\"figure\">{}</p>",
                Percent(mean.value)
            )?;
            if let Some((count, interval)) = mean.sample {
                interval.write_scale(formatter, mean.value)?;
                writeln!(
                    formatter,
                    "<p>{} of {}<br/>95% interval {:.1} to {:.1}</p>",
                    Count(count),
                    Count(*questions),
                    100.0 * interval.low,
                    100.0 * interval.high
                )?;
            }
            if let Some(remark) = remark {
                writeln!(formatter, "<p class=\"muted\">{remark}</p>")?;
            }
            writeln!(formatter, "</div>")?;
        }
        writeln!(formatter, "</div>")
    }
}

impl Interval {
    /// The interval on a scale from 0 to 100 %, as decoration: its figures stand below.
    fn write_scale(self, formatter: &mut fmt::Formatter<'_>, value: f64) -> fmt::Result {
        let x = |share: f64| 4.0 + 192.0 * share;
        writeln!(
            formatter,
            "<svg class=\"scale\" viewBox=\"0 0 200 12\" aria-hidden=\"true\">\
             <path class=\"grid\" d=\"M4 6H196M4 2V10M100 2V10M196 2V10\"/>\
             <line class=\"interval\" x1=\"{:.2}\" x2=\"{:.2}\" y1=\"6\" y2=\"6\"/>\
             <circle class=\"point\" cx=\"{:.2}\" cy=\"6\" r=\"3.5\"/></svg>",
            x(self.low),
            x(self.high),
            x(value)
        )
    }
}
