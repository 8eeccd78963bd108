use std::path::{Path, PathBuf};

use coderag_core::Error as CoreError;
use serde::Deserialize;

use crate::{Error, Result};

/// A question of a sql-eval questions file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Question {
    /// The name of its database.
    #[serde(rename = "db_name")]
    pub database: String,
    /// The SQL dialect of the gold query, such as `sqlite`, where the file has it.
    #[serde(rename = "db_type", default)]
    pub dialect: Option<String>,
    /// Its category, such as `order_by`; empty where the file leaves it out.
    #[serde(rename = "query_category", default, deserialize_with = "null_as_empty")]
    pub category: String,
    /// The gold query with its alternatives, for [`minimal_queries`](super::minimal_queries).
    #[serde(rename = "query")]
    pub gold: String,
    /// The question in English.
    pub question: String,
    /// The predicted query, where the file has it, as the official runner writes it.
    #[serde(rename = "generated_query", default)]
    pub prediction: Option<String>,
    /// The line of the file where it begins, counted from 1.
    #[serde(skip)]
    pub line: usize,
}

/// The questions of a file, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Questions {
    /// The file.
    pub path: PathBuf,
    /// What it holds.
    pub questions: Vec<Question>,
}

/// A prediction in a JSON or JSONL file: the SQL, null for none, or an object with it.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a string, null or an object with `generated_query` was expected")]
enum Prediction {
    Text(String),
    Missing(()),
    Object { generated_query: Option<String> },
}

impl Questions {
    /// Reads a questions file: CSV with a heading line, or, where its name ends in `.jsonl`, one
    /// JSON object a line. The columns or keys are `db_name`, `query`, `question` and, optionally,
    /// `db_type`, `query_category` and `generated_query`; others are ignored.
    ///
    /// # Errors
    /// [`Error::Core`], or [`Error::Line`] where a line lacks what is needed.
    pub fn read(path: &Path) -> Result<Self> {
        let questions =
            if has_extension(path, "jsonl") { from_json_lines(path)? } else { from_csv(path)? };
        Ok(Self { path: path.to_owned(), questions })
    }

    /// The predictions for the questions, in their order: from a file, or from the questions file's
    /// own `generated_query`.
    ///
    /// The file is a JSON array (`.json`) or has one JSON value a line (`.jsonl`): the SQL as a
    /// string, an object that has it as `generated_query`, or null for none, which counts as empty
    /// SQL. Any other file is text with one query a line, where an empty line is an empty query.
    ///
    /// # Errors
    /// [`Error::Core`], [`Error::Line`], or [`Error::CountsDiffer`] where the numbers differ.
    pub fn predictions(&self, path: Option<&Path>) -> Result<Vec<String>> {
        let Some(path) = path else { return self.own_predictions() };
        let predictions = if has_extension(path, "json") {
            let text = read(path)?;
            let entries: Vec<Prediction> = serde_json::from_str(&text)
                .map_err(|error| line_error(path, error.line(), problem(&error)))?;
            entries.into_iter().map(Prediction::into_sql).collect()
        } else if has_extension(path, "jsonl") {
            json_lines::<Prediction>(path)?
                .into_iter()
                .map(|(_, prediction)| prediction.into_sql())
                .collect()
        } else {
            read(path)?.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        if predictions.len() == self.questions.len() {
            Ok(predictions)
        } else {
            Err(Error::CountsDiffer {
                gold_path: self.path.clone(),
                gold: self.questions.len(),
                prediction_path: path.to_owned(),
                predictions: predictions.len(),
            })
        }
    }

    fn own_predictions(&self) -> Result<Vec<String>> {
        self.questions
            .iter()
            .map(|question| {
                question.prediction.clone().ok_or_else(|| {
                    let problem = "the question has no `generated_query`; give it one, or give a \
                                   predictions file";
                    line_error(&self.path, question.line, problem.to_owned())
                })
            })
            .collect()
    }
}

impl Prediction {
    fn into_sql(self) -> String {
        match self {
            Self::Text(sql) | Self::Object { generated_query: Some(sql) } => sql,
            Self::Missing(()) | Self::Object { generated_query: None } => String::new(),
        }
    }
}

fn from_csv(path: &Path) -> Result<Vec<Question>> {
    let text = read(path)?;
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let headings = reader.headers().map_err(|error| csv_error(path, &error))?.clone();
    let column = |name: &str| headings.iter().position(|heading| heading == name);
    let required = |name: &str| {
        column(name).ok_or_else(|| {
            line_error(path, 1, format!("the heading has no column `{name}`, which is needed"))
        })
    };
    let (database, gold) = (required("db_name")?, required("query")?);
    let question = required("question")?;
    let (dialect, category) = (column("db_type"), column("query_category"));
    let prediction = column("generated_query");

    reader
        .records()
        .map(|record| {
            let record = record.map_err(|error| csv_error(path, &error))?;
            // Every record has as many fields as the heading.
            let field = |at: usize| record.get(at).unwrap_or_default().to_owned();
            Ok(Question {
                database: field(database),
                dialect: dialect.map(field),
                category: category.map(field).unwrap_or_default(),
                gold: field(gold),
                question: field(question),
                prediction: prediction.map(field),
                line: record.position().map_or(1, line_of),
            })
        })
        .collect()
}

fn from_json_lines(path: &Path) -> Result<Vec<Question>> {
    let lines = json_lines::<Question>(path)?;
    Ok(lines.into_iter().map(|(line, question)| Question { line, ..question }).collect())
}

/// The values of a file with one JSON value a line, with their lines; blank lines are skipped.
fn json_lines<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Vec<(usize, T)>> {
    read(path)?
        .lines()
        .zip(1..)
        .filter(|(text, _)| !text.trim().is_empty())
        .map(|(text, line)| match serde_json::from_str(text) {
            Ok(value) => Ok((line, value)),
            Err(error) => Err(line_error(path, line, problem(&error))),
        })
        .collect()
}

fn read(path: &Path) -> Result<String> {
    Ok(std::fs::read_to_string(path).map_err(CoreError::io("read", path))?)
}

fn null_as_empty<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

fn line_error(path: &Path, line: usize, what: String) -> Error {
    Error::Line { path: path.to_owned(), line, what }
}

/// The parser's message without its own line, which is 1 in a file read line by line.
fn problem(error: &serde_json::Error) -> String {
    let message = error.to_string();
    match message.rsplit_once(" at line ") {
        Some((message, _)) => format!("{message} (column {})", error.column()),
        None => message,
    }
}

fn line_of(position: &csv::Position) -> usize {
    usize::try_from(position.line()).unwrap_or(usize::MAX)
}

fn csv_error(path: &Path, error: &csv::Error) -> Error {
    let line = error.position().map_or(1, line_of);
    let problem = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("the record has {len} fields but the heading has {expected_len}")
        }
        _ => error.to_string(),
    };
    line_error(path, line, problem)
}
