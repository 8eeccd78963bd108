use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coderag_core::Error as CoreError;
use coderag_sql::{
    Error as SqlError, GuardedDatabase, Limits, ScratchDatabase, TextDecoding, Value,
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
        max_result_bytes: 1 << 30,
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
    pub(crate) fn gold(&self, sql: &str) -> Arc<Rows> {
        if let Some(rows) = self.state().gold.get(sql) {
            return Arc::clone(rows);
        }
        let rows = Arc::new(self.run(sql, usize::MAX));
        self.state().gold.insert(sql.to_owned(), Arc::clone(&rows));
        rows
    }

    /// The rows of a prediction, at most `max_rows` and one more.
    ///
    /// A result that is longer than the gold query's is wrong however it goes on.
    pub(crate) fn prediction(&self, sql: &str, max_rows: usize) -> Rows {
        self.run(sql, max_rows.saturating_add(1))
    }

    fn run(&self, sql: &str, max_rows: usize) -> Rows {
        if self.compatibility.is_strict() && !is_single_statement(sql) {
            return Err(SqlError::MultipleStatements);
        }
        if self.state().scratch.is_some() {
            return self.unguarded_one(sql);
        }
        let limits = Limits { max_rows, ..self.guarded.limits().clone() };
        match self.guarded.with_limits(limits).execute(sql) {
            // Rows that are left out because there are too many are no loss; any others are.
            Ok(result) if result.truncated && result.rows.len() < max_rows => {
                Err(SqlError::TooLarge { message: "the result has more than 1 GiB".to_owned() })
            }
            Ok(result) => Ok(result.rows),
            Err(error) if self.may_pass_unguarded(&error) => self.unguarded_one(sql),
            Err(error) => Err(error),
        }
    }

    /// Runs a prediction and then the gold query, on one connection where the guard does not run the
    /// former.
    pub(crate) fn both(&self, prediction: &str, gold: &str) -> (Rows, Arc<Rows>) {
        let single = !self.compatibility.is_strict() || is_single_statement(prediction);
        if !single {
            return (Err(SqlError::MultipleStatements), Arc::new(Ok(Vec::new())));
        }
        if self.state().scratch.is_none() {
            match self.guarded.execute(prediction).map(|result| result.rows) {
                Err(error) if self.may_pass_unguarded(&error) => {}
                rows => return (rows, self.gold(gold)),
            }
        }
        let mut results = self.unguarded(&[prediction, gold]).into_iter();
        let rows = results.next().unwrap_or_else(|| Ok(Vec::new()));
        // Without a result the prediction has failed already.
        (rows, Arc::new(results.next().unwrap_or_else(|| Ok(Vec::new()))))
    }

    /// How long SQLite takes for a query, in seconds; none where it fails.
    pub(crate) fn seconds(&self, sql: &str) -> Option<f64> {
        let scratch = self.state().scratch.clone();
        let elapsed = match scratch {
            Some(scratch) => scratch.run(&[sql]).pop()?.ok()?.elapsed,
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

    fn unguarded_one(&self, sql: &str) -> Rows {
        self.unguarded(&[sql]).pop().unwrap_or_else(|| Ok(Vec::new()))
    }

    /// Runs statements on one connection to the private copy, which is made for the purpose, up to the
    /// first that fails.
    fn unguarded(&self, statements: &[&str]) -> Vec<Rows> {
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
        let results = scratch.run(statements);
        results.into_iter().map(|result| result.map(|result| result.rows)).collect()
    }

    /// A poisoned lock would only mean that another thread panicked with it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a database's name, which comes from a file, leads to no other folder.
pub(crate) fn is_plain_name(name: &str) -> bool {
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
