use std::fmt::{self, Display};

use super::interval::Interval;
use super::markup::{Count, Escaped, Percent, part};

/// A mean of the questions of one level.
#[derive(Clone, Copy)]
pub(super) struct Mean {
    /// From 0 to 1.
    pub(super) value: f64,
    /// For shares of questions: how many they are, and how sure that is.
    pub(super) sample: Option<(usize, Interval)>,
}

/// The questions of one level.
pub(super) struct Level {
    pub(super) name: String,
    pub(super) count: usize,
    /// The means in the order of the metrics; none where there is no question.
    pub(super) means: Vec<Option<Mean>>,
}

/// Columns for each level.
pub(super) struct LevelChart<'l> {
    /// What the levels are: hardness, difficulty, turn.
    pub(super) title: &'static str,
    pub(super) metrics: &'l [&'static str],
    pub(super) levels: &'l [Level],
}

const WIDTH: f64 = 720.0;
const LEFT: f64 = 44.0;
const TOP: f64 = 24.0;
const HEIGHT: f64 = 200.0;

fn y_of(value: f64) -> f64 {
    TOP + HEIGHT * (1.0 - value)
}

impl Display for LevelChart<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "<figure>\n<ul class=\"legend\">")?;
        for (index, metric) in self.metrics.iter().enumerate() {
            writeln!(formatter, "<li><span class=\"swatch metric-{index}\"></span>{metric}</li>")?;
        }
        if self.means().any(|mean| mean.sample.is_some()) {
            writeln!(formatter, "<li><span class=\"whisker-key\"></span>95% interval</li>")?;
        }
        write!(
            formatter,
            "</ul>\n<svg class=\"level-chart\" viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"",
            TOP + HEIGHT + 44.0
        )?;
        for (index, metric) in self.metrics.iter().enumerate() {
            write!(formatter, "{}{metric} by {}:", if index == 0 { "" } else { "; " }, self.title)?;
            let known = self.levels.iter().filter_map(|level| Some((level, level.mean(index)?)));
            for (place, (level, mean)) in known.enumerate() {
                let comma = if place == 0 { "" } else { "," };
                write!(formatter, "{comma} {} {}", Escaped(&level.name), Percent(mean.value))?;
            }
        }
        writeln!(formatter, "\">")?;
        for tick in [0.0, 0.25, 0.5, 0.75, 1.0] {
            let y = y_of(tick);
            writeln!(
                formatter,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{y:.2}\" y2=\"{y:.2}\"/>\
                 <text class=\"tick\" x=\"{}\" y=\"{:.2}\">{:.0}%</text>",
                LEFT - 8.0,
                y + 4.0,
                100.0 * tick
            )?;
        }
        let step = (WIDTH - LEFT) / count(self.levels.len());
        let width = (0.72 * step / count(self.metrics.len())).min(46.0);
        for (place, level) in self.levels.iter().enumerate() {
            let centre = LEFT + step * (count(place) + 0.5);
            for (index, metric) in self.metrics.iter().enumerate() {
                let Some(mean) = level.mean(index) else { continue };
                let middle =
                    centre + width * (count(index) + 0.5 - count(self.metrics.len()) / 2.0);
                let name = format!("{}: {metric}", Escaped(&level.name));
                mean.column(formatter, &name, index, (middle, width - 4.0))?;
            }
            writeln!(
                formatter,
                "<text class=\"level\" x=\"{centre:.2}\" y=\"{:.2}\">{}</text>\
                 <text class=\"size\" x=\"{centre:.2}\" y=\"{:.2}\">n = {}</text>",
                TOP + HEIGHT + 18.0,
                Escaped(&level.name),
                TOP + HEIGHT + 35.0,
                Count(level.count)
            )?;
        }
        writeln!(formatter, "</svg>\n</figure>")
    }
}

impl LevelChart<'_> {
    fn means(&self) -> impl Iterator<Item = &Mean> {
        self.levels.iter().flat_map(|level| &level.means).flatten()
    }
}

impl Level {
    fn mean(&self, metric: usize) -> Option<Mean> {
        self.means.get(metric).copied().flatten()
    }
}

impl Mean {
    /// A share of so many questions.
    pub(super) fn of_share(value: f64, questions: usize) -> Self {
        let right = part(value, questions);
        Self { value, sample: Interval::wilson(right, questions).map(|interval| (right, interval)) }
    }

    fn column(
        self,
        formatter: &mut fmt::Formatter<'_>,
        name: &str,
        metric: usize,
        (middle, width): (f64, f64),
    ) -> fmt::Result {
        let (top, bottom) = (y_of(self.value), y_of(0.0));
        writeln!(
            formatter,
            "<rect class=\"metric-{metric}\" x=\"{:.2}\" y=\"{top:.2}\" width=\"{width:.2}\" \
             height=\"{:.2}\"><title>{name} {}</title></rect>",
            middle - width / 2.0,
            bottom - top,
            Percent(self.value)
        )?;
        let mut label = top;
        if let Some((_, interval)) = self.sample {
            let (low, high) = (y_of(interval.low), y_of(interval.high));
            label = high;
            let (left, right) = (middle - 4.0, middle + 4.0);
            writeln!(
                formatter,
                "<path class=\"whisker\" d=\"M{left:.2} {high:.2}H{right:.2}M{middle:.2} {high:.2}\
                 V{low:.2}M{left:.2} {low:.2}H{right:.2}\"/>"
            )?;
        }
        writeln!(
            formatter,
            "<text class=\"value\" x=\"{middle:.2}\" y=\"{:.2}\">{:.1}</text>",
            label - 5.0,
            100.0 * self.value
        )
    }
}

/// The figures of each level.
pub(super) struct LevelTable<'l> {
    /// What the levels are.
    pub(super) title: &'static str,
    pub(super) metrics: &'l [&'static str],
    pub(super) levels: &'l [Level],
}

impl Display for LevelTable<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "<div class=\"wide\" role=\"region\" aria-label=\"Scores by {0}\" tabindex=\"0\">\n\
             <table>\n<thead><tr><th scope=\"col\">{0}</th>\
             <th scope=\"col\" class=\"number\">count</th>",
            self.title
        )?;
        for metric in self.metrics {
            write!(formatter, "<th scope=\"col\" class=\"number\">{metric}</th>")?;
        }
        writeln!(formatter, "</tr></thead>\n<tbody>")?;
        for level in self.levels {
            write!(
                formatter,
                "<tr><th scope=\"row\">{}</th><td class=\"number\">{}</td>",
                Escaped(&level.name),
                Count(level.count)
            )?;
            for index in 0..self.metrics.len() {
                match level.mean(index) {
                    None => write!(formatter, "<td class=\"number muted\">none</td>")?,
                    Some(Mean { value, sample: None }) => {
                        write!(formatter, "<td class=\"number\">{}</td>", Percent(value))?;
                    }
                    Some(Mean { value, sample: Some((right, interval)) }) => write!(
                        formatter,
                        "<td class=\"number\">{} <span class=\"muted\">{} right, {:.1} to {:.1}</span></td>",
                        Percent(value),
                        Count(right),
                        100.0 * interval.low,
                        100.0 * interval.high
                    )?,
                }
            }
            writeln!(formatter, "</tr>")?;
        }
        writeln!(formatter, "</tbody>\n</table>\n</div>")
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few columns")]
fn count(number: usize) -> f64 {
    number as f64
}
