use std::collections::BTreeMap;

use super::markup::share;
use crate::Outcome;

/// The questions of any benchmark, as the parts of a report that all of them have show them.
pub(super) struct Questions<'q> {
    /// What a level is called: hardness, difficulty.
    pub(super) level: &'static str,
    /// The levels, from the easiest.
    pub(super) levels: Vec<String>,
    /// What was computed, the most important first.
    pub(super) metrics: Vec<Metric>,
    /// In the order of the file.
    pub(super) questions: Vec<Question<'q>>,
}

/// A metric of questions.
#[derive(Clone, Copy)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    /// What the narrow columns call it.
    pub(super) short: &'static str,
    /// Whether a question is right or wrong by it, with nothing in between.
    pub(super) is_binary: bool,
}

/// One question.
pub(super) struct Question<'q> {
    pub(super) index: usize,
    pub(super) database: &'q str,
    /// The place of its level among the levels; none where that is not known.
    pub(super) level: Option<usize>,
    /// The values of the metrics from 0 to 1, in their order.
    pub(super) values: Vec<f64>,
    pub(super) outcome: Option<Outcome>,
    pub(super) error: Option<&'q str>,
    /// What else is to be said, already marked up.
    pub(super) remarks: Vec<String>,
    pub(super) gold: &'q str,
    pub(super) prediction: &'q str,
}

impl Questions<'_> {
    /// Whether there are questions without a level.
    pub(super) fn any_without_level(&self) -> bool {
        self.questions.iter().any(|question| question.level.is_none())
    }

    /// The columns of a table by level: the levels, and what has none if there is such a thing.
    pub(super) fn level_columns(&self) -> Vec<(Option<usize>, &str)> {
        let known =
            self.levels.iter().enumerate().map(|(index, name)| (Some(index), name.as_str()));
        let unknown = self.any_without_level().then_some((None, "none"));
        // Where no question has a level, its names say nothing.
        let has_levels = self.questions.iter().any(|question| question.level.is_some());
        if has_levels { known.chain(unknown).collect() } else { Vec::new() }
    }

    /// The databases in alphabetical order, with the places of their questions.
    pub(super) fn by_database(&self) -> BTreeMap<&str, Vec<&Question<'_>>> {
        let mut databases: BTreeMap<&str, Vec<&Question<'_>>> = BTreeMap::new();
        for question in &self.questions {
            databases.entry(question.database).or_default().push(question);
        }
        databases
    }
}

/// The mean of one metric.
pub(super) fn mean(questions: &[&Question<'_>], metric: usize) -> f64 {
    let sum: f64 = questions.iter().filter_map(|question| question.values.get(metric)).sum();
    sum * share(1, questions.len())
}
