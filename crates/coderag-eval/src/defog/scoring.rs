use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Display};
use std::path::{Path, PathBuf};
use std::time::Duration;

use coderag_core::{Progress, Unit};
use coderag_sql::{Error as SqlError, GuardedDatabase};
use serde::Serialize;

use super::{Comparer, Comparison, Questions, Table};
use crate::execution::{complete, is_plain_name, limits};
use crate::parallel::for_each;
use crate::{Compatibility, Error, Outcome, Result};

/// How sql-eval's comparison is run.
#[derive(Clone, Debug)]
pub struct DefogOptions {
    /// What to do where the official script has a defect.
    pub compatibility: Compatibility,
    /// The longest that a statement may run, 10 seconds if not given.
    pub timeout: Option<Duration>,
    /// How many questions are scored at the same time.
    pub threads: usize,
}

/// The scores of one question.
#[derive(Clone, Debug, Serialize)]
pub struct DefogScore {
    /// The place of the question, from 0.
    pub index: usize,
    /// The database's name.
    pub db_id: String,
    /// The question's category.
    pub category: String,
    /// Whether the result is that of a gold query.
    pub exact: bool,
    /// Whether the result holds that of a gold query, perhaps among further columns.
    pub correct: bool,
    /// What came of running the prediction.
    pub outcome: Outcome,
    /// Why the question could not be compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The gold queries.
    pub gold: String,
    /// The prediction.
    pub prediction: String,
}

/// Scores every question on its database: `name.db`, `name.sqlite` or `name/name.sqlite` in the folder.
///
/// # Errors
/// [`Error::NoDatabase`] when a database is missing, [`Error::Sql`] when it cannot be used, and
/// [`Error::CountsDiffer`] when there are not as many predictions as questions.
pub fn score(
    questions: &Questions,
    predictions: &[String],
    folder: &Path,
    options: &DefogOptions,
    progress: &dyn Progress,
) -> Result<Vec<DefogScore>> {
    if predictions.len() != questions.questions.len() {
        return Err(Error::CountsDiffer {
            gold_path: questions.path.clone(),
            gold: questions.questions.len(),
            prediction_path: questions.path.clone(),
            predictions: predictions.len(),
        });
    }
    let limits = limits(Some(options.timeout.unwrap_or(Duration::from_secs(10))));
    let mut databases = HashMap::new();
    for question in &questions.questions {
        let name = question.database.as_str();
        if !databases.contains_key(name) {
            let database = GuardedDatabase::open(&database_file(folder, name)?, &limits)?;
            databases.insert(name, database);
        }
    }
    let jobs: Vec<_> = questions.questions.iter().zip(predictions).enumerate().collect();
    let total = u64::try_from(jobs.len()).unwrap_or(u64::MAX);
    let task = progress.task("scoring", Some(total), Unit::Items);
    let scores = for_each(&jobs, options.threads, |(index, (question, prediction))| {
        let database = databases.get(question.database.as_str())?;
        let comparer = Comparer {
            question: &question.question,
            category: &question.category,
            gold_sql: &question.gold,
            predicted_sql: prediction,
            compatibility: options.compatibility,
        };
        let (comparison, outcome, error) = compare(database, &comparer);
        task.advance(1);
        Some(DefogScore {
            index: *index,
            db_id: question.database.clone(),
            category: question.category.clone(),
            exact: comparison.exact,
            correct: comparison.correct,
            outcome,
            error,
            gold: question.gold.clone(),
            prediction: (*prediction).clone(),
        })
    })?;
    Ok(scores.into_iter().flatten().collect())
}

fn compare(
    database: &GuardedDatabase,
    comparer: &Comparer<'_>,
) -> (Comparison, Outcome, Option<String>) {
    let run = |sql: &str| {
        let result = database.execute(sql)?;
        let columns = result.columns.clone();
        Ok::<_, SqlError>(Table { columns, rows: complete(Ok(result), usize::MAX)? })
    };
    let predicted = match run(comparer.predicted_sql) {
        Ok(table) => table,
        Err(error) => {
            return (Comparison::default(), Outcome::of_error(&error), Some(error.to_string()));
        }
    };
    match comparer.compare_alternatives(&predicted, run) {
        Ok(comparison) if comparison.correct => (comparison, Outcome::Correct, None),
        Ok(comparison) => (comparison, Outcome::WrongValues, None),
        Err(error) => {
            let outcome = match error {
                super::ComparisonError::Gold { .. } => Outcome::GoldFailed,
                _ => Outcome::OtherError,
            };
            (Comparison::default(), outcome, Some(with_causes(&error)))
        }
    }
}

/// An error's message with those of its causes.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message.push_str(&format!(": {error}"));
        cause = error.source();
    }
    message
}

fn database_file(folder: &Path, name: &str) -> Result<PathBuf> {
    let expected = folder.join(format!("{name}.db"));
    let candidates = [
        expected.clone(),
        folder.join(format!("{name}.sqlite")),
        folder.join(name).join(format!("{name}.sqlite")),
    ];
    candidates
        .into_iter()
        .find(|path| is_plain_name(name) && path.is_file())
        .ok_or(Error::NoDatabase { database: name.to_owned(), path: expected })
}

/// The scores of all questions.
#[derive(Clone, Debug, Serialize)]
pub struct DefogSummary {
    /// By category, then `all`.
    #[serde(serialize_with = "crate::summary::as_map")]
    pub categories: Vec<(String, DefogCategory)>,
}

/// The scores of one category.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct DefogCategory {
    /// How many questions are in it.
    pub count: usize,
    /// The part of them with exact results.
    pub exact: f64,
    /// The part of them with correct results.
    pub correct: f64,
}

impl DefogSummary {
    /// Adds up the scores of all questions.
    pub fn of(scores: &[DefogScore]) -> Self {
        let mut by_category: BTreeMap<&str, Vec<&DefogScore>> = BTreeMap::new();
        for score in scores {
            by_category.entry(&score.category).or_default().push(score);
        }
        let mut categories: Vec<_> = by_category
            .into_iter()
            .map(|(name, scores)| (name.to_owned(), DefogCategory::of(&scores)))
            .collect();
        categories.push(("all".to_owned(), DefogCategory::of(&scores.iter().collect::<Vec<_>>())));
        Self { categories }
    }
}

impl DefogCategory {
    fn of(scores: &[&DefogScore]) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "counts of questions")]
        let share = |select: fn(&DefogScore) -> bool| {
            let count = scores.iter().filter(|score| select(score)).count();
            if scores.is_empty() { 0.0 } else { count as f64 / scores.len() as f64 }
        };
        Self {
            count: scores.len(),
            exact: share(|score| score.exact),
            correct: share(|score| score.correct),
        }
    }
}

impl Display for DefogSummary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{:20} {:>8} {:>8} {:>8}", "", "count", "exact", "correct")?;
        for (name, category) in &self.categories {
            let DefogCategory { count, exact, correct } = category;
            writeln!(formatter, "{name:20} {count:>8} {exact:>8.3} {correct:>8.3}")?;
        }
        Ok(())
    }
}
