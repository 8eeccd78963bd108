use std::ops::ControlFlow;
use std::time::Instant;

use anyhow::Result;
use coderag_core::{Progress as _, Retriever, Unit, Usage};
use coderag_index::{Index, SearchMode, VectorRetriever};
use coderag_sql::{
    Answer, DatabaseSchema, GuardedDatabase, QueryResult, Settings, TextToSql, Value,
};
use serde::Serialize;

use crate::arguments::{Format, SqlArguments};
use crate::commands::{Session, language_model};
use crate::output;

pub(crate) fn run(session: &Session, arguments: &SqlArguments) -> Result<()> {
    let settings = settings(arguments)?;
    // What is cheap to open comes first: a wrong path should not wait for a language model to load.
    let database = GuardedDatabase::open(&arguments.db, &settings.limits)?;
    let schema = DatabaseSchema::read(&database)?;
    // The tables are chosen before the language model is loaded, which takes a while and is in vain
    // when nothing is relevant.
    let index = arguments.index.as_deref().map(Index::open).transpose()?;
    let encoder = match &index {
        Some(index) => {
            let built_with = &index.manifest().model.name;
            let model = arguments.embedding_model.as_ref().unwrap_or(built_with);
            Some(session.encoder(model, arguments.embedding_adapter.as_deref())?)
        }
        None => None,
    };
    let retriever = match (&index, &encoder) {
        (Some(index), Some(encoder)) => {
            Some(VectorRetriever::new(index, encoder, SearchMode::Approximate)?)
        }
        _ => None,
    };
    let retriever = retriever.as_ref().map(|retriever| retriever as &dyn Retriever);
    let selection = schema.select(&arguments.question, retriever, &settings.selection)?;

    let model = language_model::open(session, &arguments.language_model)?;
    let asked = Instant::now();
    let answer = {
        let task = session.progress.task("writing SQL", None, Unit::Items);
        TextToSql { model: &*model, settings }.answer(
            &arguments.question,
            &database,
            &selection,
            &mut |_| {
                task.advance(1);
                ControlFlow::Continue(())
            },
        )
    };
    let answer = answer.map_err(show_generated)?;
    tracing::info!(usage = ?answer.usage, elapsed = ?asked.elapsed(), "answered");
    print(&answer, model.name(), arguments.format)
}

/// The settings file, or the built-in one, with the flags laid over it.
fn settings(arguments: &SqlArguments) -> Result<Settings> {
    let mut settings = match &arguments.config {
        Some(path) => Settings::load(path)?,
        None => Settings::default(),
    };
    settings.execute |= arguments.execute;
    if let Some(score) = arguments.minimum_score {
        settings.selection.minimum_score = score;
    }
    Ok(settings)
}

/// Puts what the model wrote before the reason why it cannot be used.
fn show_generated(error: coderag_sql::Error) -> anyhow::Error {
    if let Some(written) = error.sql().or_else(|| error.answer()) {
        output::note(output::printable(written));
    }
    error.into()
}

/// An answer as `--format json` prints it.
#[derive(Serialize)]
struct PrintedAnswer<'a> {
    question: &'a str,
    model: &'a str,
    sql: &'a str,
    tables: &'a [String],
    selected_tables: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    columns: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<&'a [Vec<Value>]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<bool>,
    usage: Usage,
}

fn print(answer: &Answer, model: &str, format: Format) -> Result<()> {
    let result = answer.result.as_ref();
    match format {
        Format::Json => output::json(&PrintedAnswer {
            question: &answer.question,
            model,
            sql: &answer.sql,
            tables: &answer.tables,
            selected_tables: &answer.selected_tables,
            columns: result.map(|result| result.columns.as_slice()),
            rows: result.map(|result| result.rows.as_slice()),
            truncated: result.map(|result| result.truncated),
            usage: answer.usage,
        }),
        Format::Csv => match result {
            // Values stay as they are: the reader of CSV is a program.
            Some(result) => {
                output::note(output::printable(&answer.sql));
                warn_if_truncated(result);
                output::csv(&result.columns, &texts(result, ""))
            }
            None => output::line(&answer.sql),
        },
        Format::Table => {
            output::line(output::printable(&answer.sql))?;
            output::line(format_args!(
                "-- tables: {}",
                output::printable(&answer.tables.join(", "))
            ))?;
            if let Some(result) = result {
                output::line("")?;
                output::table(&result.columns, &texts(result, "NULL"), &numeric_columns(result))?;
                warn_if_truncated(result);
            }
            Ok(())
        }
    }
}

fn warn_if_truncated(result: &QueryResult) {
    if result.truncated {
        output::note(format_args!(
            "only the first {} rows are shown; limits.max_rows and limits.max_result_bytes in a \
             settings file (--config) raise the limit",
            result.rows.len()
        ));
    }
}

/// The rows as text, with `null` for NULL.
fn texts(result: &QueryResult, null: &str) -> Vec<Vec<String>> {
    let text = |value: &Value| match value {
        Value::Null => null.to_owned(),
        other => other.to_string(),
    };
    result.rows.iter().map(|row| row.iter().map(text).collect()).collect()
}

/// The columns that hold nothing but numbers, which read better aligned to the right.
fn numeric_columns(result: &QueryResult) -> Vec<usize> {
    let is_number =
        |value: &Value| matches!(value, Value::Integer(_) | Value::Real(_) | Value::Null);
    (0..result.columns.len())
        .filter(|column| result.rows.iter().all(|row| row.get(*column).is_none_or(is_number)))
        .collect()
}
