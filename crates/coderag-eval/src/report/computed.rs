use super::markup::Count;
use super::question::{Metric, Question, Questions};
use crate::execution::Shape;
use crate::scoring::QuestionScore;
use crate::spider::Hardness;
use crate::summary::Summary;

const EXECUTION: Metric =
    Metric { name: "execution accuracy", short: "execution", is_binary: true };
const EXACT_MATCH: Metric = Metric { name: "exact set match", short: "exact", is_binary: true };
const STRUCTURAL_MATCH: Metric =
    Metric { name: "structural match", short: "structural", is_binary: true };

/// Which of the metrics were computed.
#[derive(Clone, Copy)]
pub(super) struct Computed {
    pub(super) execution: bool,
    /// With structural match.
    pub(super) exact_match: bool,
}

impl Computed {
    pub(super) fn of(summary: &Summary) -> Self {
        let levels = || summary.levels.iter().map(|(_, level)| level);
        Self {
            execution: levels().any(|level| level.execution.is_some()),
            exact_match: levels().any(|level| level.exact_match.is_some()),
        }
    }

    /// What there is of the two official metrics.
    pub(super) fn select<T>(self, execution: T, exact_match: T) -> impl Iterator<Item = T> {
        let execution = self.execution.then_some(execution);
        execution.into_iter().chain(self.exact_match.then_some(exact_match))
    }

    /// The names of the official metrics.
    pub(super) fn names(self) -> Vec<&'static str> {
        self.select(EXECUTION.name, EXACT_MATCH.name).collect()
    }

    /// The questions with all metrics.
    pub(super) fn questions(self, scores: &[QuestionScore]) -> Questions<'_> {
        let structural = self.exact_match.then_some(STRUCTURAL_MATCH);
        Questions {
            level: "hardness",
            levels: Hardness::ALL.iter().map(ToString::to_string).collect(),
            metrics: self.select(EXECUTION, EXACT_MATCH).chain(structural).collect(),
            questions: scores.iter().map(|score| self.question(score)).collect(),
        }
    }

    fn question(self, score: &QuestionScore) -> Question<'_> {
        let mut remarks = Vec::new();
        match (score.gold_shape, score.prediction_shape) {
            (Some(gold), Some(prediction)) if gold != prediction => remarks.push(format!(
                "gold {}, predicted {}",
                shape(gold, None),
                shape(prediction, Some(gold))
            )),
            (Some(gold), _) => remarks.push(format!("gold {}", shape(gold, None))),
            _ => {}
        }
        if !score.gold_parses {
            remarks.push("gold outside the grammar".to_owned());
        }
        if !score.prediction_parses {
            remarks.push("prediction outside the grammar".to_owned());
        }
        if score.official_crash {
            remarks.push("the official script ends here".to_owned());
        }
        let structural = self.exact_match.then_some(score.structural_match);
        let values = self.select(score.execution, score.exact_match).chain(structural);
        Question {
            index: score.index,
            database: &score.db_id,
            level: score
                .hardness
                .and_then(|it| Hardness::ALL.iter().position(|level| *level == it)),
            values: values.map(|value| f64::from(u8::from(value == Some(true)))).collect(),
            outcome: score.outcome,
            error: score.error.as_deref(),
            remarks,
            gold: &score.gold,
            prediction: &score.prediction,
        }
    }
}

/// The shape of a result; that of a prediction is cut after one row more than the gold query's.
fn shape(shape: Shape, gold: Option<Shape>) -> String {
    let (over, rows) = match gold {
        Some(gold) if shape.rows > gold.rows => ("over ", gold.rows),
        _ => ("", shape.rows),
    };
    if shape.rows == 0 {
        return "no rows".to_owned();
    }
    let row = if rows == 1 { "row" } else { "rows" };
    let column = if shape.columns == 1 { "column" } else { "columns" };
    format!("{over}{} {row} \u{d7} {} {column}", Count(rows), Count(shape.columns))
}
