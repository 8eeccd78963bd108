//! The scores of many questions together, as the official scripts add them up and print them.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write as _};

use serde::{Serialize, Serializer};

use crate::Outcome;
use crate::scoring::QuestionScore;
use crate::spider::{Component, Hardness};

/// The scores of a file of predictions.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// How many questions there are.
    pub questions: usize,
    /// By level: the four of hardness, then `all`, and `joint_all` where there are interactions.
    #[serde(serialize_with = "as_map")]
    pub levels: Vec<(String, LevelScores)>,
    /// By turn, where there are interactions.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_map")]
    pub turns: Vec<(String, LevelScores)>,
    /// How many predictions had each outcome, from best to worst.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub outcomes: BTreeMap<Outcome, usize>,
    /// Our own exact match: see [`crate::structure`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub structural_match: Option<f64>,
    /// Predictions outside of the official grammar.
    pub unparsed_predictions: usize,
    /// Those of them that ran and returned what the gold query does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correct_unparsed_predictions: Option<usize>,
    /// Gold queries that are outside of the official grammar or fail; the official script ends there.
    pub failed_gold: usize,
}

/// The scores of one level or turn.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LevelScores {
    /// How many questions are in it.
    pub count: usize,
    /// The part of them with execution accuracy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution: Option<f64>,
    /// The part of them with exact set match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact_match: Option<f64>,
    /// By component.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_map")]
    pub partial: Vec<(&'static str, PartialMeans)>,
}

/// The mean scores of one component.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct PartialMeans {
    /// Over the questions whose prediction has the component.
    pub accuracy: f64,
    /// Over the questions whose gold query has it.
    pub recall: f64,
    /// The harmonic mean of both; 1 where both are 0.
    pub f1: f64,
}

/// Writes pairs as an object, in their order.
pub(crate) fn as_map<K: Serialize, V: Serialize, S: Serializer>(
    pairs: &[(K, V)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(key, value)| (key, value)))
}

#[expect(clippy::cast_precision_loss, reason = "counts of questions")]
fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl LevelScores {
    fn of<'s>(scores: impl Iterator<Item = &'s QuestionScore> + Clone) -> Self {
        let count = scores.clone().count();
        let share = |select: fn(&QuestionScore) -> Option<bool>| {
            let known: Vec<bool> = scores.clone().filter_map(select).collect();
            (!known.is_empty())
                .then(|| ratio(known.iter().filter(|right| **right).count(), known.len()))
        };
        let exact_match = share(|score| score.exact_match);
        let partial = match exact_match {
            Some(_) => Component::ALL
                .into_iter()
                .enumerate()
                .map(|(index, component)| {
                    (component.name(), PartialMeans::of(index, scores.clone()))
                })
                .collect(),
            None => Vec::new(),
        };
        Self { count, execution: share(|score| score.execution), exact_match, partial }
    }
}

impl PartialMeans {
    fn accuracy(&self) -> f64 {
        self.accuracy
    }

    fn recall(&self) -> f64 {
        self.recall
    }

    fn f1(&self) -> f64 {
        self.f1
    }

    fn of<'s>(component: usize, scores: impl Iterator<Item = &'s QuestionScore>) -> Self {
        let (mut full_accuracy, mut predicted) = (0, 0);
        let (mut full_recall, mut labelled) = (0, 0);
        for score in scores.filter_map(|score| score.partial?.0.get(component).copied()) {
            if score.prediction_total > 0 {
                predicted += 1;
                full_accuracy += usize::from(score.score);
            }
            if score.label_total > 0 {
                labelled += 1;
                full_recall += usize::from(score.score);
            }
        }
        let (accuracy, recall) = (ratio(full_accuracy, predicted), ratio(full_recall, labelled));
        let f1 = if accuracy + recall == 0.0 {
            1.0
        } else {
            2.0 * accuracy * recall / (recall + accuracy)
        };
        Self { accuracy, recall, f1 }
    }
}

impl Summary {
    /// Adds up the scores of all questions.
    pub fn of(scores: &[QuestionScore]) -> Self {
        let mut levels: Vec<(String, LevelScores)> = Hardness::ALL
            .into_iter()
            .map(|level| {
                let of_level = scores.iter().filter(move |score| score.hardness == Some(level));
                (level.to_string(), LevelScores::of(of_level))
            })
            .collect();
        levels.push(("all".to_owned(), LevelScores::of(scores.iter())));
        let mut turns = Vec::new();
        if scores.iter().any(|score| score.interaction > 0) {
            levels.push(("joint_all".to_owned(), joint(scores)));
            for (turn, name) in
                ["turn 1", "turn 2", "turn 3", "turn 4", "turn > 4"].iter().enumerate()
            {
                let of_turn = scores.iter().filter(move |score| score.turn.min(4) == turn);
                turns.push(((*name).to_owned(), LevelScores::of(of_turn)));
            }
        }
        let mut outcomes = BTreeMap::new();
        for outcome in scores.iter().filter_map(|score| score.outcome) {
            *outcomes.entry(outcome).or_insert(0) += 1;
        }
        let executed = scores.iter().any(|score| score.execution.is_some());
        let matched = scores.iter().any(|score| score.exact_match.is_some());
        let count = |select: &dyn Fn(&QuestionScore) -> bool| {
            scores.iter().filter(|score| select(score)).count()
        };
        let unparsed = |score: &QuestionScore| !score.prediction_parses;
        Self {
            questions: scores.len(),
            levels,
            turns,
            outcomes,
            structural_match: matched
                .then(|| ratio(count(&|score| score.structural_match == Some(true)), scores.len())),
            unparsed_predictions: count(&unparsed),
            correct_unparsed_predictions: executed
                .then(|| count(&|score| unparsed(score) && score.execution == Some(true))),
            failed_gold: count(&|score| {
                !score.gold_parses || score.outcome == Some(Outcome::GoldFailed)
            }),
        }
    }
}

/// The interactions of which every question is right.
fn joint(scores: &[QuestionScore]) -> LevelScores {
    let mut interactions: BTreeMap<usize, Vec<&QuestionScore>> = BTreeMap::new();
    for score in scores {
        interactions.entry(score.interaction).or_default().push(score);
    }
    let share = |select: fn(&QuestionScore) -> Option<bool>| {
        let whole =
            |scores: &&Vec<&QuestionScore>| scores.iter().all(|score| select(score) == Some(true));
        scores
            .iter()
            .any(|score| select(score).is_some())
            .then(|| ratio(interactions.values().filter(whole).count(), interactions.len()))
    };
    let exact_match = share(|score| score.exact_match);
    let partial = match exact_match {
        // The official table has these figures in this column.
        Some(_) => Component::ALL
            .into_iter()
            .map(|component| {
                (component.name(), PartialMeans { f1: 1.0, ..PartialMeans::default() })
            })
            .collect(),
        None => Vec::new(),
    };
    let execution = share(|score| score.execution);
    LevelScores { count: interactions.len(), execution, exact_match, partial }
}

/// The tables of the official scripts, then what those do not report.
impl Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.levels.iter().map(|(name, _)| name.as_str()).collect();
        let levels: Vec<&LevelScores> = self.levels.iter().map(|(_, scores)| scores).collect();
        row(formatter, "", &names)?;
        row(formatter, "count", &levels.iter().map(|level| level.count).collect::<Vec<_>>())?;
        let of =
            |select: fn(&LevelScores) -> Option<f64>, levels: &[&LevelScores]| -> Vec<String> {
                levels.iter().map(|level| figure(select(level).unwrap_or(0.0))).collect()
            };
        if levels.iter().any(|level| level.execution.is_some()) {
            writeln!(
                formatter,
                "=====================   EXECUTION ACCURACY     ====================="
            )?;
            row(formatter, "execution", &of(|level| level.execution, &levels))?;
        }
        if levels.iter().any(|level| level.exact_match.is_some()) {
            writeln!(
                formatter,
                "\n====================== EXACT MATCHING ACCURACY ====================="
            )?;
            row(formatter, "exact match", &of(|level| level.exact_match, &levels))?;
            let means = [
                (
                    "\n---------------------PARTIAL MATCHING ACCURACY----------------------",
                    PartialMeans::accuracy as fn(&PartialMeans) -> f64,
                ),
                (
                    "---------------------- PARTIAL MATCHING RECALL ----------------------",
                    PartialMeans::recall,
                ),
                (
                    "---------------------- PARTIAL MATCHING F1 --------------------------",
                    PartialMeans::f1,
                ),
            ];
            for (title, mean) in means {
                writeln!(formatter, "{title}")?;
                for (index, component) in Component::ALL.into_iter().enumerate() {
                    let figures: Vec<String> = levels
                        .iter()
                        // A level without questions keeps the zeros that it starts with.
                        .map(|level| match level.partial.get(index) {
                            Some((_, means)) if level.count > 0 => figure(mean(means)),
                            _ => figure(0.0),
                        })
                        .collect();
                    row(formatter, component.name(), &figures)?;
                }
            }
        }
        if !self.turns.is_empty() {
            let names: Vec<&str> = self.turns.iter().map(|(name, _)| name.as_str()).collect();
            let turns: Vec<&LevelScores> = self.turns.iter().map(|(_, scores)| scores).collect();
            writeln!(formatter, "\n")?;
            row(formatter, "", &names)?;
            row(formatter, "count", &turns.iter().map(|turn| turn.count).collect::<Vec<_>>())?;
            if turns.iter().any(|turn| turn.execution.is_some()) {
                writeln!(
                    formatter,
                    "=====================   TURN EXECUTION ACCURACY     ====================="
                )?;
                row(formatter, "execution", &of(|turn| turn.execution, &turns))?;
            }
            if turns.iter().any(|turn| turn.exact_match.is_some()) {
                writeln!(
                    formatter,
                    "\n====================== TURN EXACT MATCHING ACCURACY ====================="
                )?;
                row(formatter, "exact match", &of(|turn| turn.exact_match, &turns))?;
            }
        }
        self.write_beyond(formatter)
    }
}

impl Summary {
    fn write_beyond(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "\n====================== BEYOND THE OFFICIAL SCORES =================="
        )?;
        if let Some(structural_match) = self.structural_match {
            writeln!(formatter, "{:44} {}", "structural match", figure(structural_match))?;
        }
        writeln!(
            formatter,
            "{:44} {} ({})",
            "predictions outside the official grammar",
            self.unparsed_predictions,
            figure(ratio(self.unparsed_predictions, self.questions)),
        )?;
        if let Some(correct) = self.correct_unparsed_predictions {
            writeln!(formatter, "{:44} {correct}", "  of these with the right result")?;
        }
        for (outcome, count) in &self.outcomes {
            writeln!(formatter, "{:44} {count}", format!("{outcome}"))?;
        }
        if self.failed_gold > 0 {
            writeln!(formatter, "{:44} {}", "gold queries that fail", self.failed_gold)?;
        }
        Ok(())
    }
}

fn figure(value: f64) -> String {
    format!("{value:.3}")
}

/// As the official scripts print a row: every column takes 20 characters.
fn row(formatter: &mut fmt::Formatter<'_>, name: &str, cells: &[impl Display]) -> fmt::Result {
    let mut line = format!("{name:20} ");
    for (index, cell) in cells.iter().enumerate() {
        if index > 0 {
            line.push(' ');
        }
        write!(line, "{:20}", cell.to_string())?;
    }
    writeln!(formatter, "{line}")
}
