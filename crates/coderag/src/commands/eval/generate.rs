//! Predictions of a language model for a file of questions, one after the other, so that an interrupted
//! run goes on where it was.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use coderag_core::{ChatModel, Digest, Error as CoreError, Progress as _, Unit, atomic};
use coderag_corpus::read_texts;
use coderag_eval::execution::is_plain_name;
use coderag_eval::files::Gold;
use coderag_sql::{DatabaseSchema, GuardedDatabase, Settings, TextToSql, single_line};
use serde::{Deserialize, Serialize};

use crate::arguments::EvalSqlArguments;
use crate::commands::{Session, language_model};

/// What the predictions in a file were made from; written beside it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Run {
    version: String,
    model: String,
    endpoint: Option<String>,
    questions_sha256: Digest,
    limit: Option<usize>,
    settings: Settings,
}

struct Question {
    text: String,
    gold: Gold,
}

/// Asks the model every question of `questions` whose answer `predictions` does not hold yet, and
/// returns the gold queries.
pub(super) fn generate(
    session: &Session,
    arguments: &EvalSqlArguments,
    questions_path: &Path,
    predictions: &Path,
) -> Result<Vec<Gold>> {
    let questions = read_questions(questions_path, arguments.limit)?;
    for question in &questions {
        let name = &question.gold.database;
        if !is_plain_name(name) {
            bail!("{}: `{name}` is not the name of a database", questions_path.display());
        }
    }
    let run = Run {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        model: arguments.language_model.model.clone(),
        endpoint: arguments.language_model.endpoint.clone(),
        questions_sha256: Digest::of_file(questions_path)?,
        limit: arguments.limit,
        settings: Settings::default(),
    };
    let mut file = open_predictions(predictions, &run)?;
    let done = complete_lines(&mut file, predictions)?;
    if done < questions.len() {
        let model = language_model::open(session, &arguments.language_model)?;
        let total = u64::try_from(questions.len())?;
        let task = session.progress.task("asking", Some(total), Unit::Items);
        task.advance(u64::try_from(done)?);
        let mut current: Option<(&str, GuardedDatabase, DatabaseSchema)> = None;
        for question in questions.get(done..).unwrap_or_default() {
            let name = question.gold.database.as_str();
            if current.as_ref().is_none_or(|(open, ..)| *open != name) {
                let path = arguments.db_dir.join(name).join(format!("{name}.sqlite"));
                let database = GuardedDatabase::open(&path, &run.settings.limits)?;
                let schema = DatabaseSchema::read(&database)?;
                current = Some((name, database, schema));
            }
            let Some((_, database, schema)) = &current else { continue };
            let line = answer(&*model, &run.settings, &question.text, database, schema)?;
            // One write a line, so that what an interrupted run leaves are whole lines and one part.
            file.write_all(format!("{line}\n").as_bytes())
                .and_then(|()| file.flush())
                .map_err(CoreError::io("write", predictions))?;
            task.advance(1);
        }
        file.sync_all().map_err(CoreError::io("write", predictions))?;
    }
    Ok(questions.into_iter().map(|question| question.gold).collect())
}

/// The model's statement in one line, whether or not the database takes it.
///
/// What goes wrong with the model or its endpoint ends the run; an answer without a statement is a wrong
/// prediction.
fn answer(
    model: &dyn ChatModel,
    settings: &Settings,
    question: &str,
    database: &GuardedDatabase,
    schema: &DatabaseSchema,
) -> Result<String> {
    use coderag_sql::Error;
    let selection = schema.select(question, None, &settings.selection)?;
    let text_to_sql = TextToSql { model, settings: settings.clone() };
    let answer =
        text_to_sql.answer(question, database, &selection, &mut |_| ControlFlow::Continue(()));
    let sql = match answer {
        Ok(answer) => answer.sql,
        Err(Error::Generated { sql, .. }) => sql,
        Err(
            error @ (Error::CutOff { .. }
            | Error::NoStatement { .. }
            | Error::SeveralStatements { .. }),
        ) => {
            tracing::warn!(%error, question, "no prediction");
            return Ok("-".to_owned());
        }
        Err(error) => return Err(error.into()),
    };
    Ok(single_line(&sql))
}

fn read_questions(path: &Path, limit: Option<usize>) -> Result<Vec<Question>> {
    let (texts, databases) = (read_texts(path, "question")?, read_texts(path, "db_id")?);
    // Spider's name for it, then that of most others.
    let queries = read_texts(path, "query").or_else(|error| {
        let other = read_texts(path, "sql");
        other.map_err(|_| error)
    })?;
    let questions = texts.into_iter().zip(databases).zip(queries);
    Ok(questions
        .take(limit.unwrap_or(usize::MAX))
        .map(|((text, database), sql)| Question { text, gold: Gold { sql, database } })
        .collect())
}

/// Opens the file of predictions to go on with it; one that was made from something else stays as it is.
fn open_predictions(path: &Path, run: &Run) -> Result<File> {
    let manifest = manifest_path(path);
    match std::fs::read(&manifest) {
        Ok(bytes) => {
            let before: Run = serde_json::from_slice(&bytes)
                .with_context(|| format!("cannot read {}", manifest.display()))?;
            if before != *run {
                bail!(
                    "{} holds predictions of another run (see {}); give another --pred or remove both",
                    path.display(),
                    manifest.display()
                );
            }
        }
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(CoreError::io("read", &manifest)(error).into());
        }
        Err(_) if path.exists() => bail!(
            "{} exists and no run is recorded in {}; give another --pred",
            path.display(),
            manifest.display()
        ),
        Err(_) => atomic::write_file(&manifest, |file| {
            serde_json::to_writer_pretty(&mut *file, run).map_err(std::io::Error::other)?;
            Ok::<_, anyhow::Error>(writeln!(file)?)
        })?,
    }
    let mut options = OpenOptions::new();
    let file = options.read(true).append(true).create(true).open(path);
    Ok(file.map_err(CoreError::io("open", path))?)
}

fn manifest_path(path: &Path) -> PathBuf {
    let mut manifest = path.as_os_str().to_owned();
    manifest.push(".run.json");
    manifest.into()
}

/// How many whole lines the file has; the part of a line that a killed run left is removed.
fn complete_lines(file: &mut File, path: &Path) -> Result<usize> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(CoreError::io("read", path))?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    if whole < bytes.len() {
        file.set_len(u64::try_from(whole)?).map_err(CoreError::io("shorten", path))?;
    }
    Ok(bytes.iter().take(whole).filter(|byte| **byte == b'\n').count())
}
