use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coderag_core::Error as CoreError;
use coderag_sql::{
    Error as SqlError, GuardedDatabase, Limits, QueryResult, ScratchDatabase, TextDecoding, Value,
};

use super::single_statement::is_single_statement;
use crate::compatibility::Compatibility;
use crate::{Error, Result};

/// The rows of a result, or why there are none.
pub(crate) type Rows = Result<Vec<Vec<Value>>, SqlError>;

/// The tables of a database with the names of their columns.
pub(crate) type TableColumns = Vec<(String, Vec<String>)>;

/// What statements may take when they are scored: far more than for a person who waits, so that no
/// gold query fails by it.
pub(crate) fn limits(timeout: Option<Duration>) -> Limits {
    Limits {
        deadline: timeout.unwrap_or(Duration::MAX),
        max_rows: usize::MAX,
        max_result_bytes: 256 << 20,
        max_value_bytes: 100_000_000,
        max_sql_bytes: 1_000_000,
        heap_bytes: 4 << 30,
    }
}

/// A database on which gold queries and predictions run.
#[derive(Debug)]
pub(crate) struct ScoredDatabase {
    guarded: GuardedDatabase,
    compatibility: Compatibility,
    text: TextDecoding,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The copy on which everything runs once a prediction wanted to write.
    scratch: Option<Arc<ScratchDatabase>>,
    /// Results of gold queries on the database as it is now.
    gold: HashMap<String, Arc<Rows>>,
}

impl ScoredDatabase {
    pub(crate) fn open(
        path: &Path,
        compatibility: Compatibility,
        text: TextDecoding,
        timeout: Option<Duration>,
    ) -> Result<Self> {
        let guarded = GuardedDatabase::open(path, &limits(timeout))?.with_text(text);
        Ok(Self { guarded, compatibility, text, state: Mutex::default() })
    }

    /// The tables and columns as they are after what was run unguarded; none where nothing was.
    pub(crate) fn changed_table_columns(&self) -> Option<Result<TableColumns>> {
        let scratch = self.state().scratch.clone()?;
        let read =
            || Ok(GuardedDatabase::open(scratch.path(), self.guarded.limits())?.table_columns()?);
        Some(read())
    }

    /// The file that was opened.
    pub(crate) fn path(&self) -> &Path {
        self.guarded.path()
    }

    /// The rows of a gold query, which runs once for all predictions.
    ///
    /// # Errors
    /// What is not the query's fault, such as a full disk.
    pub(crate) fn gold(&self, sql: &str) -> Result<Arc<Rows>, SqlError> {
        /// Larger results are not kept: there may be thousands of gold queries.
        const MOST_KEPT_VALUES: usize = 100_000;
        if let Some(rows) = self.state().gold.get(sql) {
            return Ok(Arc::clone(rows));
        }
        let rows = self.run(sql, usize::MAX)?;
        let values = rows.as_ref().map_or(0, |rows| rows.iter().map(Vec::len).sum::<usize>());
        let rows = Arc::new(rows);
        if values <= MOST_KEPT_VALUES {
            self.state().gold.insert(sql.to_owned(), Arc::clone(&rows));
        }
        Ok(rows)
    }

    /// The rows of a prediction, at most `max_rows` and one more.
    ///
    /// A result that is longer than the gold query's is wrong however it goes on.
    ///
    /// # Errors
    /// As [`ScoredDatabase::gold`].
    pub(crate) fn prediction(&self, sql: &str, max_rows: usize) -> Result<Rows, SqlError> {
        self.run(sql, max_rows.saturating_add(1))
    }

    fn run(&self, sql: &str, max_rows: usize) -> Result<Rows, SqlError> {
        if self.compatibility.is_strict() && !is_single_statement(sql) {
            return Ok(Err(SqlError::MultipleStatements));
        }
        if self.state().scratch.is_none() {
            let limits = Limits { max_rows, ..self.guarded.limits().clone() };
            match complete(self.guarded.with_limits(limits).execute(sql), max_rows) {
                Err(error) if self.may_pass_unguarded(&error) => {}
                rows => return sort(rows),
            }
        }
        let rows = self.unguarded(&[sql], max_rows).pop();
        sort(rows.unwrap_or_else(|| Ok(Vec::new())))
    }

    /// Runs a prediction and then the gold query, on one connection where the guard does not run the
    /// former.
    ///
    /// # Errors
    /// As [`ScoredDatabase::gold`].
    pub(crate) fn both(&self, prediction: &str, gold: &str) -> Result<(Rows, Arc<Rows>), SqlError> {
        if self.compatibility.is_strict() && !is_single_statement(prediction) {
            return Ok((Err(SqlError::MultipleStatements), Arc::new(Ok(Vec::new()))));
        }
        if self.state().scratch.is_none() {
            match complete(self.guarded.execute(prediction), usize::MAX) {
                Err(error) if self.may_pass_unguarded(&error) => {}
                rows => return Ok((sort(rows)?, self.gold(gold)?)),
            }
        }
        let mut results = self.unguarded(&[prediction, gold], usize::MAX).into_iter();
        let rows = sort(results.next().unwrap_or_else(|| Ok(Vec::new())))?;
        // Without a result the prediction has failed already.
        let gold_rows = sort(results.next().unwrap_or_else(|| Ok(Vec::new())))?;
        Ok((rows, Arc::new(gold_rows)))
    }

    /// How long SQLite takes for a query, in seconds; none where it fails.
    pub(crate) fn seconds(&self, sql: &str) -> Option<f64> {
        let scratch = self.state().scratch.clone();
        let elapsed = match scratch {
            Some(scratch) => scratch.run(&[sql], usize::MAX).pop()?.ok()?.elapsed,
            None => self.guarded.execute(sql).ok()?.elapsed,
        };
        Some(elapsed.as_secs_f64())
    }

    /// Whether a statement that the guard does not run may have a result for Python's sqlite3 module,
    /// and that is wanted.
    fn may_pass_unguarded(&self, error: &SqlError) -> bool {
        self.compatibility.is_strict()
            && matches!(error, SqlError::Refused { .. } | SqlError::EmptyStatement)
    }

    /// Runs statements on one connection to the private copy, which is made for the purpose, up to the
    /// first that fails.
    fn unguarded(&self, statements: &[&str], max_rows: usize) -> Vec<Rows> {
        let scratch = {
            let mut state = self.state();
            // Whatever runs may change what gold queries return.
            state.gold.clear();
            match &state.scratch {
                Some(scratch) => Arc::clone(scratch),
                None => {
                    let (path, limits) = (self.guarded.path(), self.guarded.limits());
                    match ScratchDatabase::copy_of(path, limits, self.text) {
                        Ok(copy) => Arc::clone(state.scratch.insert(Arc::new(copy))),
                        Err(error) => return vec![Err(error)],
                    }
                }
            }
        };
        let results = scratch.run(statements, max_rows);
        results.into_iter().map(|result| complete(result, max_rows)).collect()
    }

    /// A poisoned lock would only mean that another thread panicked with it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rows of a result that is whole up to `max_rows`; one that is cut for its size is an error.
pub(crate) fn complete(result: Result<QueryResult, SqlError>, max_rows: usize) -> Rows {
    let result = result?;
    if result.truncated && result.rows.len() < max_rows {
        let message = "the result takes more than 256 MiB".to_owned();
        return Err(SqlError::TooLarge { message });
    }
    Ok(result.rows)
}

/// Tells the errors that a statement can cause, which are its own, from those of the machine and of the
/// database, with which no score is right.
fn sort(rows: Rows) -> Result<Rows, SqlError> {
    match rows {
        Err(
            error @ (SqlError::Sql { .. }
            | SqlError::Refused { .. }
            | SqlError::Deadline { .. }
            | SqlError::TooLarge { .. }
            | SqlError::SqlTooLong { .. }
            | SqlError::EmptyStatement
            | SqlError::MultipleStatements
            | SqlError::BoundParameters { .. }
            | SqlError::NulCharacter
            | SqlError::TextNotUtf8),
        ) => Ok(Err(error)),
        Err(error) => Err(error),
        rows => Ok(rows),
    }
}

/// Whether a database's name, which comes from a file, leads to no other folder.
pub fn is_plain_name(name: &str) -> bool {
    Path::new(name).file_name() == Some(OsStr::new(name))
}

/// The database files in a database's folder, sorted: `folder/name/name.sqlite` and, for a test suite,
/// further ones beside it.
///
/// # Errors
/// [`Error::NoDatabase`] when there is none.
pub fn database_files(folder: &Path, name: &str) -> Result<Vec<PathBuf>> {
    let folder = folder.join(name);
    let missing = || Error::NoDatabase {
        database: name.to_owned(),
        path: folder.join(format!("{name}.sqlite")),
    };
    if !is_plain_name(name) {
        return Err(missing());
    }
    let Ok(entries) = folder.read_dir() else { return Err(missing()) };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(CoreError::io("list", &folder))?.path();
        if path.extension() == Some(OsStr::new("sqlite")) {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() { Err(missing()) } else { Ok(files) }
}
