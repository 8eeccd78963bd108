use std::fmt::{self, Display};

use coderag_eval::report::figures::Number;
use coderag_eval::report::markup::{Count, Escaped};

use super::axis::Axis;
use super::bins::Bin;

/// Lines over the steps of a run.
pub(super) struct LineChart<'c> {
    pub(super) title: &'static str,
    /// What the values are, in a sentence.
    pub(super) caption: String,
    pub(super) lines: Vec<Line>,
    /// The first and the last step of the axis.
    pub(super) steps: (u64, u64),
    /// The steps that stages begin after, with their names.
    pub(super) stages: &'c [(u64, &'c str)],
    /// A step to point out, such as the best.
    pub(super) marked: Option<u64>,
    /// Whether the axis begins at 0.
    pub(super) from_zero: bool,
}

/// One of the lines.
pub(super) struct Line {
    pub(super) name: String,
    /// The colour's number.
    pub(super) colour: usize,
    pub(super) kind: Kind,
    pub(super) points: Vec<Bin>,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// A line.
    Plain,
    /// A line with a dot at each point.
    Dotted,
    /// A pale line in a band from the lowest to the highest value.
    Band,
}

const WIDTH: f64 = 480.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 26.0;
const TOP: f64 = 22.0;
const HEIGHT: f64 = 180.0;
const BELOW: f64 = 26.0;

impl Display for LineChart<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (values, above) = self.values();
        let x_axis = Axis::steps(self.steps.0, self.steps.1);
        let bottom = TOP + HEIGHT;
        let x = |step: u64| LEFT + (WIDTH - LEFT - RIGHT) * x_axis.place(step as f64);
        // What is above the axis is cut off at its end.
        let y = |value: f64| bottom - HEIGHT * values.place(value.min(values.high));
        writeln!(
            formatter,
            "<figure class=\"chart\">\n<h3>{}</h3>\n<ul class=\"legend\">",
            self.title
        )?;
        for Line { name, colour, kind, .. } in &self.lines {
            let pale = if *kind == Kind::Band { " pale" } else { "" };
            writeln!(
                formatter,
                "<li><span class=\"swatch line-{colour}{pale}\"></span>{}</li>",
                Escaped(name)
            )?;
        }
        write!(
            formatter,
            "</ul>\n<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{}",
            bottom + BELOW,
            self.title
        )?;
        for line in &self.lines {
            if let (Some(first), Some(last)) = (line.points.first(), line.points.last()) {
                let (from, to) = (Number(first.mean), Number(last.mean));
                write!(formatter, "; {}: from {from} to {to}", Escaped(&line.name))?;
            }
        }
        writeln!(
            formatter,
            "\" data-plot=\"{LEFT} {TOP} {} {HEIGHT}\" data-x=\"{} {}\" data-y=\"{} {}\">",
            WIDTH - LEFT - RIGHT,
            x_axis.low,
            x_axis.high,
            values.low,
            values.high
        )?;
        for tick in &values.ticks {
            writeln!(
                formatter,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y(*tick) + 4.0,
                Number(*tick),
                y = y(*tick)
            )?;
        }
        for tick in &x_axis.ticks {
            writeln!(
                formatter,
                "<text class=\"step\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                x(*tick as u64),
                bottom + 18.0,
                Count(*tick as usize)
            )?;
        }
        for (step, name) in self.stages {
            writeln!(
                formatter,
                "<line class=\"stage\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
                 <text class=\"stage-name\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                x(*step) + 3.0,
                TOP - 7.0,
                Escaped(&shortened(name)),
                x = x(*step)
            )?;
        }
        for line in &self.lines {
            line.write(formatter, &x, &y)?;
        }
        if let Some(step) = self.marked {
            for line in &self.lines {
                if let Some(point) = line.points.iter().find(|point| point.step == step) {
                    let (x, y, colour) = (x(step), y(point.mean), line.colour);
                    writeln!(
                        formatter,
                        "<circle class=\"ring line-{colour}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"6\"/>"
                    )?;
                }
            }
        }
        writeln!(formatter, "</svg>\n<figcaption>{}", self.caption)?;
        if above > 0 {
            writeln!(formatter, " Points above the axis, drawn at its end: {}.", Count(above))?;
        }
        writeln!(formatter, "</figcaption>\n</figure>")
    }
}

/// A name that fits between two stages of a chart.
fn shortened(name: &str) -> String {
    const MOST: usize = 16;
    match name.char_indices().nth(MOST) {
        None => name.to_owned(),
        Some((end, _)) => format!("{}\u{2026}", name.get(..end).unwrap_or_default()),
    }
}

impl LineChart<'_> {
    /// The axis of the values, and how many points are above it: a few extreme ones must not press all others
    /// to the ground.
    fn values(&self) -> (Axis, usize) {
        // A smoothed line only repeats what the band beneath it has.
        let has_band = self.lines.iter().any(|line| line.kind == Kind::Band);
        let lines = || self.lines.iter().filter(|line| !has_band || line.kind == Kind::Band);
        let points = || lines().flat_map(|line| &line.points);
        let mut highest: Vec<f64> = points().map(|point| point.highest).collect();
        highest.sort_by(f64::total_cmp);
        let high = highest.last().copied().unwrap_or(1.0);
        let usual = highest.get(highest.len() * 98 / 100).copied().unwrap_or(high);
        let high = if usual > 0.0 && high > 3.0 * usual { 1.5 * usual } else { high };
        let low = points().map(|point| point.lowest).fold(high, f64::min);
        let axis = Axis::round(if self.from_zero { low.min(0.0) } else { low }, high, 4.0);
        let above = highest.iter().filter(|value| **value > axis.high).count();
        (axis, above)
    }
}

impl Line {
    fn write(
        &self,
        formatter: &mut fmt::Formatter<'_>,
        x: &impl Fn(u64) -> f64,
        y: &impl Fn(f64) -> f64,
    ) -> fmt::Result {
        let colour = self.colour;
        let is_band = self.kind == Kind::Band;
        if is_band && self.points.iter().any(|point| point.lowest < point.highest) {
            write!(formatter, "<polygon class=\"line-{colour}\" points=\"")?;
            let upper = self.points.iter().map(|point| (point.step, point.highest));
            let lower = self.points.iter().rev().map(|point| (point.step, point.lowest));
            for (step, value) in upper.chain(lower) {
                write!(formatter, "{:.1},{:.1} ", x(step), y(value))?;
            }
            writeln!(formatter, "\"/>")?;
        }
        write!(
            formatter,
            "<polyline class=\"line-{colour}{}\" data-name=\"{}\" points=\"",
            if is_band { " pale" } else { "" },
            Escaped(&self.name)
        )?;
        for point in &self.points {
            write!(formatter, "{:.1},{:.2} ", x(point.step), y(point.mean))?;
        }
        writeln!(formatter, "\"/>")?;
        if self.kind == Kind::Dotted && self.points.len() <= 60 {
            for point in &self.points {
                writeln!(
                    formatter,
                    "<circle class=\"line-{colour}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"/>",
                    x(point.step),
                    y(point.mean)
                )?;
            }
        }
        Ok(())
    }
}
