use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use coderag_core::Error as CoreError;
use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::{Batch, Connection, Statement};
use serde::Serialize;

use crate::authorizer::{Authorizer, Objects, Observed, ReadError};
use crate::lexed::Lexed;
use crate::rows::Rows;
use crate::value::TextDecoding;
use crate::{Error, Limits, Result, Value, connection};

/// No statement may run longer, whatever its limits say; it keeps times representable.
pub(crate) const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// How long after its deadline a statement's thread may still end by itself.
pub(crate) const GRACE: Duration = Duration::from_millis(500);

/// SQLite compiles nested expressions recursively.
pub(crate) const STACK_BYTES: usize = 8 << 20;

/// A SQLite file on which generated SQL can run without trusting the SQL or the file.
///
/// Every statement gets its own read-only connection in its own thread, so nothing passes from one
/// statement to the next and one value serves any number of threads. A statement that does not obey
/// its deadline, because it is inside a single call of a slow built-in function, is left behind: the
/// caller gets [`Error::Deadline`] in time, and the thread ends when that call returns.
///
/// No file is ever changed. One may appear: where a killed writer left a `-wal` file, SQLite makes
/// the `-shm` file that it needs to read it.
#[derive(Clone, Debug)]
pub struct GuardedDatabase {
    path: PathBuf,
    limits: Limits,
    text: TextDecoding,
}

/// A statement that compiles and is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Prepared {
    /// The names of the result's columns.
    pub columns: Vec<String>,
    /// The stored tables that it reads, sorted; for a view, the tables under it.
    pub tables: Vec<String>,
}

/// What a statement returned.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QueryResult {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows, each with one value a column.
    pub rows: Vec<Vec<Value>>,
    /// The stored tables that it read, sorted; for a view, the tables under it.
    pub tables: Vec<String>,
    /// Whether there were more rows than [`Limits`] allow.
    pub truncated: bool,
    /// How long it ran, in seconds in JSON.
    #[serde(rename = "elapsed_seconds", serialize_with = "crate::seconds::serialize")]
    pub elapsed: Duration,
}

impl GuardedDatabase {
    /// Opens an existing database file and reads its schema once, to find out whether it is one.
    ///
    /// # Errors
    /// [`Error::Core`] when the file is missing, [`Error::NotAFile`], [`Error::NotADatabase`],
    /// [`Error::Damaged`], [`Error::Locked`], [`Error::UnfinishedTransaction`],
    /// [`Error::Unreadable`] or [`Error::SchemaNotUtf8`] when it cannot be used.
    pub fn open(path: &Path, limits: &Limits) -> Result<Self> {
        // An absolute path also keeps SQLite from reading names such as `:memory:` and `file:x`
        // in its own way.
        let absolute = path.canonicalize().map_err(CoreError::io("open", path))?;
        if !absolute.metadata().map_err(CoreError::io("open", path))?.is_file() {
            return Err(Error::NotAFile { path: path.to_owned() });
        }
        let text = TextDecoding::default();
        let database = Self { path: absolute, limits: limits.clone(), text };
        database.read_only(|_, _| Ok(()))?;
        Ok(database)
    }

    /// The same database with other limits.
    #[must_use]
    pub fn with_limits(&self, limits: Limits) -> Self {
        Self { limits, ..self.clone() }
    }

    /// The same database with other treatment of text that is not UTF-8.
    #[must_use]
    pub fn with_text(&self, text: TextDecoding) -> Self {
        Self { text, ..self.clone() }
    }

    /// What one statement may take.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The tables with the names of their columns, in the order of their creation; SQLite's own
    /// tables, such as `sqlite_sequence`, are among them, views are not.
    ///
    /// # Errors
    /// As [`GuardedDatabase::open`].
    pub fn table_columns(&self) -> Result<Vec<(String, Vec<String>)>> {
        let path = self.path.clone();
        let deadline = self.limits.deadline;
        self.read_only(move |connection, _| {
            table_columns(&connection).map_err(|error| Error::sqlite(&path, deadline, error))
        })
    }

    /// The file's absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The database's name: the file's name without its extension.
    pub fn name(&self) -> String {
        self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Compiles exactly one statement without running it.
    ///
    /// # Errors
    /// [`Error::Refused`] for everything that is not a plain query, [`Error::Sql`] for invalid SQL,
    /// [`Error::EmptyStatement`], [`Error::MultipleStatements`], [`Error::BoundParameters`],
    /// [`Error::NulCharacter`], [`Error::SqlTooLong`], [`Error::TooLarge`], [`Error::Deadline`], and
    /// those of [`GuardedDatabase::open`].
    pub fn check(&self, sql: &str) -> Result<Prepared> {
        self.guarded(sql, |guarded, sql| {
            let (statement, observed) = guarded.prepare(sql)?;
            Ok(Prepared {
                columns: columns(&statement),
                tables: observed.tables.into_iter().collect(),
            })
        })
    }

    /// Runs exactly one query.
    ///
    /// # Errors
    /// As [`GuardedDatabase::check`].
    pub fn execute(&self, sql: &str) -> Result<QueryResult> {
        let limits = self.limits.clone();
        let text = self.text;
        self.guarded(sql, move |guarded, sql| {
            let start = Instant::now();
            let (mut statement, observed) = guarded.prepare(sql)?;
            let columns = columns(&statement);
            let Rows { rows, truncated } =
                Rows::read(&mut statement, &limits, text, |error| guarded.failure(error))?;
            let tables = observed.tables.into_iter().collect();
            Ok(QueryResult { columns, rows, tables, truncated, elapsed: start.elapsed() })
        })
    }

    /// Runs `work` on a connection with an authorizer.
    fn guarded<T: Send + 'static>(
        &self,
        sql: &str,
        work: impl FnOnce(&Guarded<'_>, &str) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if sql.len() > self.limits.max_sql_bytes {
            return Err(Error::SqlTooLong { bytes: sql.len(), limit: self.limits.max_sql_bytes });
        }
        if sql.contains('\0') {
            return Err(Error::NulCharacter);
        }
        let sql = sql.to_owned();
        let Self { path, limits, .. } = self.clone();
        self.read_only(move |mut connection, objects| {
            let authorizer = Authorizer::install(&mut connection, objects)
                .map_err(|error| Error::sqlite(&path, limits.deadline, error))?;
            work(
                &Guarded { connection: &connection, authorizer, path: &path, limits: &limits },
                &sql,
            )
        })
    }

    /// Runs `work`, the project's own code, on a read-only connection with limits and a deadline but
    /// without an authorizer, in a thread that is left behind when it does not obey the deadline.
    pub(crate) fn read_only<T: Send + 'static>(
        &self,
        work: impl FnOnce(Connection, Objects) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let Self { path, limits, .. } = self.clone();
        let allowed = limits.deadline.min(LONGEST);
        let deadline = Instant::now() + allowed;
        let (sender, receiver) = mpsc::sync_channel(1);
        let worker = thread::Builder::new()
            .name("sql".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                let failure = |error| Error::sqlite(&path, limits.deadline, error);
                let result = connection::open(&path, &limits, deadline).map_err(failure).and_then(
                    |connection| match Objects::read(&connection) {
                        Ok(objects) => work(connection, objects),
                        Err(ReadError::Sqlite(error)) => Err(failure(error)),
                        Err(ReadError::NotUtf8 { name }) => {
                            Err(Error::SchemaNotUtf8 { path: path.clone(), name })
                        }
                    },
                );
                // Nobody receives the result of a thread that was left behind.
                let _ = sender.send(result);
            })
            .map_err(|source| Error::Thread { source })?;
        match receiver.recv_timeout(allowed + GRACE) {
            Ok(result) => result,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                tracing::warn!(
                    database = %self.path.display(),
                    "a statement ignores its deadline; its thread is left behind"
                );
                Err(Error::Deadline { limit: self.limits.deadline })
            }
            // The thread panicked, which is a defect: it stays a panic.
            Err(mpsc::RecvTimeoutError::Disconnected) => match worker.join() {
                Err(payload) => std::panic::resume_unwind(payload),
                Ok(()) => Err(Error::Deadline { limit: self.limits.deadline }),
            },
        }
    }

    /// Sorts what SQLite said about this database.
    pub(crate) fn failure(&self, error: rusqlite::Error) -> Error {
        Error::sqlite(&self.path, self.limits.deadline, error)
    }
}

/// A connection on which only allowed statements compile.
struct Guarded<'c> {
    connection: &'c Connection,
    authorizer: Authorizer,
    path: &'c Path,
    limits: &'c Limits,
}

impl<'c> Guarded<'c> {
    fn prepare(&self, sql: &str) -> Result<(Statement<'c>, Observed)> {
        let mut batch = Batch::new(self.connection, sql);
        let statement =
            batch.next().map_err(|error| self.failure(error))?.ok_or(Error::EmptyStatement)?;
        let observed = self.authorizer.observed();
        // What follows is not to run, so it need not even be SQL.
        if !matches!(batch.next(), Ok(None)) {
            return Err(Error::MultipleStatements);
        }
        let refuse = |what, why| Err(Error::Refused { what, why });
        if statement.is_explain() != 0 {
            return refuse("EXPLAIN".to_owned(), "it describes a query instead of answering it");
        }
        // VACUUM, for one, asks the authorizer only when it runs.
        if !observed.selects || !statement.readonly() || statement.column_count() == 0 {
            return refuse(keyword(sql), "only a SELECT may run on this database");
        }
        match statement.parameter_count() {
            0 => Ok((statement, observed)),
            count => Err(Error::BoundParameters { count }),
        }
    }

    /// SQLite's error, or the authorizer's where that caused it.
    fn failure(&self, error: rusqlite::Error) -> Error {
        self.authorizer
            .observed()
            .refusal()
            .unwrap_or_else(|| Error::sqlite(self.path, self.limits.deadline, error))
    }
}

fn table_columns(connection: &Connection) -> rusqlite::Result<Vec<(String, Vec<String>)>> {
    let mut statement = connection.prepare(
        "SELECT schema.name, info.name FROM main.sqlite_schema AS schema \
         LEFT JOIN pragma_table_info(schema.name) AS info \
         WHERE schema.type = 'table' ORDER BY schema.rowid, info.cid",
    )?;
    let mut rows = statement.query([])?;
    let mut tables: Vec<(String, Vec<String>)> = Vec::new();
    while let Some(row) = rows.next()? {
        let table: String = row.get(0)?;
        if tables.last().is_none_or(|(last, _)| *last != table) {
            tables.push((table, Vec::new()));
        }
        if let (Some((_, columns)), Some(column)) = (tables.last_mut(), row.get(1)?) {
            columns.push(column);
        }
    }
    Ok(tables)
}

pub(crate) fn columns(statement: &Statement<'_>) -> Vec<String> {
    statement.column_names().map(str::to_owned).collect()
}

/// The first word of a statement that SQLite has accepted, for messages.
fn keyword(sql: &str) -> String {
    let word = Lexed::of(sql).first_word().unwrap_or("the statement");
    word.to_ascii_uppercase()
}
