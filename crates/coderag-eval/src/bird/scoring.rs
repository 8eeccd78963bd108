use std::collections::HashMap;
use std::fmt::{self, Display};
use std::path::Path;
use std::time::Duration;

use coderag_core::{Progress, Unit};
use coderag_sql::TextDecoding;
use serde::Serialize;

use super::files::{BirdQuestion, Difficulty};
use super::metrics::{reward, sets_equal, soft_f1};
use crate::execution::{ScoredDatabase, Shape, is_plain_name};
use crate::parallel::for_each;
use crate::{Compatibility, Error, Outcome, Result};

/// How BIRD's metrics are computed.
#[derive(Clone, Debug)]
pub struct BirdOptions {
    /// What to do where the official script has a defect.
    pub compatibility: Compatibility,
    /// The longest that a statement may run, 30 seconds if not given.
    pub timeout: Option<Duration>,
    /// How often each right prediction is run against the gold query for its efficiency; 100 in the
    /// official script, and 0 to leave that metric out.
    pub repetitions: usize,
    /// How many questions are scored at the same time.
    pub threads: usize,
}

/// The seconds that each repetition took.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Timings {
    /// Of the gold query.
    pub gold_seconds: Vec<f64>,
    /// Of the prediction.
    pub predicted_seconds: Vec<f64>,
}

/// The scores of one question.
#[derive(Clone, Debug, Serialize)]
pub struct BirdScore {
    /// The place of the question, from 0.
    pub index: usize,
    /// The database's name.
    pub db_id: String,
    /// How hard it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difficulty: Option<Difficulty>,
    /// Execution accuracy, 0 or 1.
    pub ex: u8,
    /// Soft-F1, from 0 to 1.
    pub soft_f1: f64,
    /// The reward for efficiency, from 0 to 1.25.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reward: Option<f64>,
    /// What the reward was computed from.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
    /// What came of running the prediction.
    pub outcome: Outcome,
    /// What SQLite or the guard said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The shape of the gold query's result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gold_shape: Option<Shape>,
    /// The shape of the prediction's result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prediction_shape: Option<Shape>,
    /// The gold query.
    pub gold: String,
    /// The prediction.
    pub prediction: String,
}

/// Scores every question on its database `folder/name/name.sqlite`.
///
/// # Errors
/// [`Error::NoDatabase`] when a database is missing, [`Error::Sql`] when it cannot be used.
pub fn score(
    questions: &[BirdQuestion],
    folder: &Path,
    options: &BirdOptions,
    progress: &dyn Progress,
) -> Result<Vec<BirdScore>> {
    let strict = options.compatibility.is_strict();
    let text = if strict { TextDecoding::Refuse } else { TextDecoding::Ignore };
    let timeout = options.timeout.unwrap_or(Duration::from_secs(30));
    let mut databases = HashMap::new();
    let mut jobs: Vec<Vec<(usize, &BirdQuestion)>> = Vec::new();
    let mut job_of: HashMap<&str, usize> = HashMap::new();
    for (index, question) in questions.iter().enumerate() {
        let name = question.database.as_str();
        if !databases.contains_key(name) {
            let path = folder.join(name).join(format!("{name}.sqlite"));
            if !is_plain_name(name) || !path.is_file() {
                return Err(Error::NoDatabase { database: name.to_owned(), path });
            }
            let database = ScoredDatabase::open(&path, options.compatibility, text, Some(timeout))?;
            databases.insert(name, database);
        }
        let job = *job_of.entry(name).or_insert_with(|| {
            jobs.push(Vec::new());
            jobs.len() - 1
        });
        if let (true, Some(job)) = (strict, jobs.get_mut(job)) {
            job.push((index, question));
        } else {
            jobs.push(vec![(index, question)]);
        }
    }
    let total = u64::try_from(questions.len()).unwrap_or(u64::MAX);
    let task = progress.task("scoring", Some(total), Unit::Items);
    let scores = for_each(&jobs, options.threads, |job| {
        let score = |(index, question): &(usize, &BirdQuestion)| {
            let database = databases.get(question.database.as_str())?;
            let score = score_one(*index, question, database, options.repetitions);
            task.advance(1);
            Some(score)
        };
        job.iter().filter_map(score).collect::<Result<Vec<_>>>()
    })?;
    let scores = scores.into_iter().collect::<Result<Vec<_>>>()?;
    let mut scores: Vec<BirdScore> = scores.into_iter().flatten().collect();
    scores.sort_by_key(|score| score.index);
    Ok(scores)
}

fn score_one(
    index: usize,
    question: &BirdQuestion,
    database: &ScoredDatabase,
    repetitions: usize,
) -> Result<BirdScore> {
    let mut score = BirdScore {
        index,
        db_id: question.database.clone(),
        difficulty: question.difficulty,
        ex: 0,
        soft_f1: 0.0,
        reward: (repetitions > 0).then_some(0.0),
        timings: None,
        outcome: Outcome::Missing,
        error: None,
        gold_shape: None,
        prediction_shape: None,
        gold: question.gold.clone(),
        prediction: question.prediction.clone().unwrap_or_default(),
    };
    let Some(prediction) = &question.prediction else {
        score.error = Some("there is no prediction".to_owned());
        return Ok(score);
    };
    let (rows, gold_rows) = database.both(prediction, &question.gold)?;
    let rows = match rows {
        Ok(rows) => rows,
        Err(error) => {
            score.outcome = Outcome::of_error(&error);
            score.error = Some(error.to_string());
            return Ok(score);
        }
    };
    let gold_rows = match &*gold_rows {
        Ok(rows) => rows,
        Err(error) => {
            score.outcome = Outcome::GoldFailed;
            score.error = Some(error.to_string());
            return Ok(score);
        }
    };
    let right = sets_equal(&rows, gold_rows);
    score.ex = u8::from(right);
    score.soft_f1 = soft_f1(&rows, gold_rows);
    let (shape, gold_shape) = (Shape::of(&rows), Shape::of(gold_rows));
    score.prediction_shape = Some(shape);
    score.gold_shape = Some(gold_shape);
    score.outcome = match right {
        true => Outcome::Correct,
        false
            if !rows.is_empty() && !gold_rows.is_empty() && shape.columns != gold_shape.columns =>
        {
            Outcome::WrongColumnCount
        }
        false if rows.len() != gold_rows.len() => Outcome::WrongRowCount,
        false => Outcome::WrongValues,
    };
    if right && repetitions > 0 {
        let timings = database.time_both(prediction, &question.gold, repetitions);
        score.reward =
            Some(timings.as_ref().map_or(0.0, |t| reward(&t.gold_seconds, &t.predicted_seconds)));
        score.timings = timings;
    }
    Ok(score)
}

impl ScoredDatabase {
    /// Runs both queries in turn; none where one of them fails.
    fn time_both(&self, prediction: &str, gold: &str, repetitions: usize) -> Option<Timings> {
        let mut timings = Timings::default();
        for _ in 0..repetitions {
            timings.predicted_seconds.push(self.seconds(prediction)?);
            timings.gold_seconds.push(self.seconds(gold)?);
        }
        Some(timings)
    }
}

/// The means of one level, in percent as the official script prints them.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct BirdLevel {
    /// How many questions are in it.
    pub count: usize,
    /// Execution accuracy.
    pub ex: f64,
    /// Soft-F1.
    pub soft_f1: f64,
    /// The reward-based valid efficiency score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r_ves: Option<f64>,
}

/// The scores of all questions.
#[derive(Clone, Debug, Serialize)]
pub struct BirdSummary {
    /// By level: `simple`, `moderate`, `challenging` where difficulties are known, and `total`.
    #[serde(serialize_with = "crate::summary::as_map")]
    pub levels: Vec<(&'static str, BirdLevel)>,
}

impl BirdSummary {
    /// Adds up the scores of all questions.
    pub fn of(scores: &[BirdScore]) -> Self {
        let mut levels = Vec::new();
        if scores.iter().any(|score| score.difficulty.is_some()) {
            for (name, difficulty) in [
                ("simple", Difficulty::Simple),
                ("moderate", Difficulty::Moderate),
                ("challenging", Difficulty::Challenging),
            ] {
                let of_level = scores.iter().filter(|score| score.difficulty == Some(difficulty));
                levels.push((name, BirdLevel::of(of_level)));
            }
        }
        levels.push(("total", BirdLevel::of(scores.iter())));
        Self { levels }
    }
}

impl BirdLevel {
    fn of<'s>(scores: impl Iterator<Item = &'s BirdScore> + Clone) -> Self {
        let count = scores.clone().count();
        #[expect(clippy::cast_precision_loss, reason = "a count of questions")]
        let mean = |sum: f64| if count == 0 { 0.0 } else { 100.0 * sum / count as f64 };
        let rewards: Vec<f64> = scores.clone().filter_map(|score| score.reward).collect();
        Self {
            count,
            ex: mean(scores.clone().map(|score| f64::from(score.ex)).sum()),
            soft_f1: mean(scores.map(|score| score.soft_f1).sum()),
            r_ves: (!rewards.is_empty())
                .then(|| mean(rewards.iter().map(|reward| reward.sqrt()).sum())),
        }
    }
}

/// As the official scripts print it.
impl Display for BirdSummary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |formatter: &mut fmt::Formatter<'_>, name: &str, cells: Vec<String>| {
            write!(formatter, "{name:20}")?;
            cells.iter().try_for_each(|cell| write!(formatter, " {cell:20}"))?;
            writeln!(formatter)
        };
        row(formatter, "", self.levels.iter().map(|(name, _)| (*name).to_owned()).collect())?;
        let counts = self.levels.iter().map(|(_, level)| level.count.to_string());
        row(formatter, "count", counts.collect())?;
        for name in ["EX", "Soft-F1", "R-VES"] {
            let metric = |level: &BirdLevel| match name {
                "EX" => Some(level.ex),
                "Soft-F1" => Some(level.soft_f1),
                _ => level.r_ves,
            };
            let figures: Option<Vec<String>> = (self.levels.iter())
                .map(|(_, level)| metric(level).or((level.count == 0).then_some(0.0)))
                .map(|figure| figure.map(|figure| format!("{figure:.2}")))
                .collect();
            // R-VES is left out where it was not measured.
            if let Some(figures) = figures {
                writeln!(
                    formatter,
                    "======================================    {name}    ====================================="
                )?;
                row(formatter, name, figures)?;
            }
        }
        Ok(())
    }
}
