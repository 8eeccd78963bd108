use std::time::{Duration, Instant};

use coderag_sql::{Error as SqlError, Value};
use serde::Serialize;

use super::database::ScoredDatabase;
use super::order::order_counts;
use super::plug_values::plug_gold_values;
use super::query_text::{postprocess, replace_current_year};
use super::remove_distinct::remove_distinct;
use super::result_match::{ResultMatch, match_results, officially_rejected};
use super::sqlparse::{Token, first_statement};
use crate::spider::{GoldQuery, OfficialCrash, PredictedQuery};
use crate::{Compatibility, Outcome};

/// How predictions are run and compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecutionOptions {
    /// What to do where the official script has a defect.
    pub compatibility: Compatibility,
    /// Whether DISTINCT counts; the official script removes it from both queries unless told otherwise.
    pub keep_distinct: bool,
    /// Whether to try the gold query's values in the place of the prediction's.
    pub plug_values: bool,
    /// The longest that a statement may run, 30 seconds if not given; without limit in strict
    /// compatibility if not given.
    pub timeout: Option<Duration>,
}

impl ExecutionOptions {
    /// The longest that a statement may run.
    pub(crate) fn statement_timeout(&self) -> Option<Duration> {
        /// That of the official BIRD script; Spider's queries take milliseconds.
        const SENSIBLE: Duration = Duration::from_secs(30);
        self.timeout.or((!self.compatibility.is_strict()).then_some(SENSIBLE))
    }
}

/// How many choices of values are tried for one prediction. The official script tries all, which for
/// ten slots and ten values takes it a year.
const MOST_CHOICES: usize = 20_000;

/// The rows and columns of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Shape {
    /// The number of rows; one more than the gold query's stands for any larger number.
    pub rows: usize,
    /// The number of columns, none where there is no row.
    pub columns: usize,
}

impl Shape {
    pub(crate) fn of(rows: &[Vec<Value>]) -> Self {
        Self { rows: rows.len(), columns: rows.first().map_or(0, Vec::len) }
    }
}

/// What came of running a prediction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// What came of it.
    pub outcome: Outcome,
    /// What SQLite or the guard said, where the prediction or the gold query failed.
    pub message: Option<String>,
    /// The shape of the gold query's result on the last database that was compared.
    pub gold_shape: Option<Shape>,
    /// The shape of the prediction's result on that database.
    pub prediction_shape: Option<Shape>,
    /// Whether the official script ends with an exception here.
    pub official_crash: bool,
}

impl Execution {
    fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            message: None,
            gold_shape: None,
            prediction_shape: None,
            official_crash: false,
        }
    }

    fn crash(outcome: Outcome, message: String) -> Self {
        Self { message: Some(message), official_crash: true, ..Self::of(outcome) }
    }
}

/// `eval_exec_match` of taoyds/test-suite-sql-eval.
pub(crate) fn by_results(
    databases: &[ScoredDatabase],
    gold: &str,
    prediction: &str,
    options: &ExecutionOptions,
) -> Result<Execution, SqlError> {
    let compatibility = options.compatibility;
    let (mut gold, mut prediction) = (postprocess(gold), postprocess(prediction));
    if !options.keep_distinct {
        for sql in [&mut gold, &mut prediction] {
            match without_distinct(sql, compatibility) {
                Ok(removed) => *sql = removed,
                Err(message) => return Ok(Execution::crash(Outcome::OtherError, message)),
            }
        }
    }
    let ordered = order_counts(&gold, compatibility);
    let compare = |prediction: &str| compare(databases, &gold, prediction, ordered, compatibility);
    let start = Instant::now();
    let execution = compare(&prediction)?;
    let is_final = execution.outcome == Outcome::Correct || execution.official_crash;
    if is_final || !options.plug_values {
        return Ok(execution);
    }
    // One prediction may take twice as long with all choices as a statement may.
    let budget = options.statement_timeout().map(|timeout| timeout.saturating_mul(2));
    match plug_gold_values(&gold, &prediction) {
        Ok(choices) => {
            let mut all = usize::try_from(choices.number_of_queries())
                .is_ok_and(|count| count <= MOST_CHOICES);
            for choice in choices.take(MOST_CHOICES) {
                if budget.is_some_and(|budget| start.elapsed() > budget) {
                    all = false;
                    break;
                }
                let plugged = compare(&choice)?;
                if plugged.outcome == Outcome::Correct {
                    return Ok(plugged);
                }
            }
            if all {
                return Ok(execution);
            }
            let message = Some("not all choices of values were tried".to_owned());
            Ok(Execution { outcome: Outcome::Undecided, message, ..execution })
        }
        Err(_) if !compatibility.is_strict() => Ok(execution),
        Err(error) => Ok(Execution::crash(Outcome::OtherError, error.to_string())),
    }
}

/// The query without DISTINCT.
///
/// # Errors
/// Under strict compatibility the message with which the official script ends.
fn without_distinct(sql: &str, compatibility: Compatibility) -> Result<String, String> {
    if compatibility.is_strict() {
        return remove_distinct(sql).map_err(|error| error.to_string());
    }
    let Ok(tokens) = first_statement(sql) else { return Ok(sql.to_owned()) };
    let is_word = |token: Option<&Token<'_>>, word: &str| {
        token.is_some_and(|token| token.text.eq_ignore_ascii_case(word))
    };
    let mut words = tokens.iter().filter(|token| !token.text.trim().is_empty()).peekable();
    let mut removed = String::with_capacity(sql.len());
    let mut length = 0;
    for token in &tokens {
        length += token.text.len();
        let mut is_comparison = false;
        if !token.text.trim().is_empty() {
            words.next();
            // `IS DISTINCT FROM` is a comparison.
            is_comparison = is_word(words.peek().copied(), "from");
        }
        if is_comparison || !token.text.eq_ignore_ascii_case("distinct") {
            removed.push_str(token.text);
        }
    }
    // What follows the first statement stays, so that it is seen to be there.
    removed.push_str(sql.get(length..).unwrap_or_default());
    Ok(removed)
}

/// Compares the results on one database after the other until they differ.
fn compare(
    databases: &[ScoredDatabase],
    gold: &str,
    prediction: &str,
    ordered: bool,
    compatibility: Compatibility,
) -> Result<Execution, SqlError> {
    let (gold, prediction) = (replace_current_year(gold), replace_current_year(prediction));
    let mut execution = Execution::of(Outcome::Correct);
    for database in databases {
        let gold_rows = database.gold(&gold)?;
        let gold_rows = match &*gold_rows {
            Ok(rows) => rows,
            Err(error) => return Ok(Execution::crash(Outcome::GoldFailed, error.to_string())),
        };
        execution.gold_shape = Some(Shape::of(gold_rows));
        execution.prediction_shape = None;
        let rows = match database.prediction(&prediction, gold_rows.len())? {
            Ok(rows) => rows,
            Err(error) => {
                execution.outcome = Outcome::of_error(&error);
                execution.message = Some(error.to_string());
                return Ok(execution);
            }
        };
        execution.prediction_shape = Some(Shape::of(&rows));
        let mut result = match_results(gold_rows, &rows, ordered);
        if result == ResultMatch::Equal
            && compatibility.is_strict()
            && officially_rejected(gold_rows, &rows, ordered)
        {
            result = ResultMatch::Values;
        }
        execution.outcome = result.into();
        if result != ResultMatch::Equal {
            break;
        }
    }
    Ok(execution)
}

/// `eval_exec_match` of taoyds/spider: the selected columns must have the same names in the parse trees
/// and the same values in the same order of rows. A prediction outside of the grammar is wrong.
pub(crate) fn by_columns(
    database: &ScoredDatabase,
    (gold, gold_query): (&str, &GoldQuery),
    (prediction, predicted_query): (&str, &PredictedQuery),
) -> Result<Execution, SqlError> {
    let (prediction_rows, gold_rows) = database.both(prediction, gold)?;
    let prediction_rows = match prediction_rows {
        Ok(rows) => rows,
        Err(error) => {
            let message = Some(error.to_string());
            return Ok(Execution { message, ..Execution::of(Outcome::of_error(&error)) });
        }
    };
    let gold_rows = match &*gold_rows {
        Ok(rows) => rows,
        Err(error) => return Ok(Execution::crash(Outcome::GoldFailed, error.to_string())),
    };
    let mut execution = Execution {
        gold_shape: Some(Shape::of(gold_rows)),
        prediction_shape: Some(Shape::of(&prediction_rows)),
        ..Execution::of(Outcome::WrongValues)
    };
    match gold_query.columns_match(gold_rows, predicted_query, &prediction_rows) {
        Ok(true) => execution.outcome = Outcome::Correct,
        Ok(false) => {}
        Err(OfficialCrash) => execution.official_crash = true,
    }
    Ok(execution)
}
