use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use coderag_core::Error as CoreError;
use rusqlite::config::DbConfig;
use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::{Batch, Connection, OpenFlags};
use tempfile::TempDir;

use crate::authorizer::has_side_effects;
use crate::executor::{GRACE, LONGEST, STACK_BYTES, columns};
use crate::lexed::Lexed;
use crate::rows::Rows;
use crate::value::TextDecoding;
use crate::{Error, Limits, QueryResult, Result};

/// A private copy of a database on which a statement may write, because nobody else sees the copy.
///
/// It serves evaluation that must do to a database what a scorer did which ran predictions unguarded:
/// Python's sqlite3 module in its default mode. There INSERT, UPDATE, DELETE and REPLACE open a
/// transaction that is never committed, and every other change stays. Still refused is what reaches
/// beyond the copy: attaching files and loading code.
#[derive(Debug)]
pub struct ScratchDatabase {
    /// Removed with the copy when dropped.
    _folder: TempDir,
    path: PathBuf,
    limits: Limits,
    text: TextDecoding,
}

impl ScratchDatabase {
    /// Copies a database into a new temporary folder.
    ///
    /// # Errors
    /// [`Error::Core`] when the file cannot be copied.
    pub fn copy_of(original: &Path, limits: &Limits, text: TextDecoding) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("coderag-scratch-")
            .tempdir()
            .map_err(CoreError::io("create a temporary folder for", original))?;
        let path = folder.path().join(original.file_name().unwrap_or("database".as_ref()));
        std::fs::copy(original, &path).map_err(CoreError::io("copy", original))?;
        Ok(Self { _folder: folder, path, limits: limits.clone(), text })
    }

    /// The copy.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs statements one after the other on one connection and returns the result of each up to the
    /// first that fails. A text without a statement has no rows. Of each result at most `max_rows` are
    /// read.
    ///
    /// # Errors
    /// The last result may be [`Error::Sql`], [`Error::MultipleStatements`],
    /// [`Error::BoundParameters`], [`Error::NulCharacter`], [`Error::TextNotUtf8`],
    /// [`Error::TooLarge`] or [`Error::Deadline`].
    pub fn run(&self, statements: &[&str], max_rows: usize) -> Vec<Result<QueryResult>> {
        let statements: Vec<String> = statements.iter().map(|sql| (*sql).to_owned()).collect();
        let limits = Limits { max_rows, ..self.limits.clone() };
        let (path, text) = (self.path.clone(), self.text);
        let allowed = limits.deadline.min(LONGEST);
        let deadline = Instant::now() + allowed;
        let (sender, receiver) = mpsc::sync_channel(1);
        let spawned = thread::Builder::new()
            .name("scratch sql".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                let results = match open(&path, &limits, deadline) {
                    Ok(connection) => run_all(&connection, &path, &statements, &limits, text),
                    Err(error) => vec![Err(Error::sqlite(&path, limits.deadline, error))],
                };
                // Nobody receives the results of a thread that was left behind.
                let _ = sender.send(results);
            });
        if let Err(source) = spawned {
            return vec![Err(Error::Thread { source })];
        }
        receiver
            .recv_timeout(allowed + GRACE)
            .unwrap_or_else(|_| vec![Err(Error::Deadline { limit: self.limits.deadline })])
    }
}

fn run_all(
    connection: &Connection,
    path: &Path,
    statements: &[String],
    limits: &Limits,
    text: TextDecoding,
) -> Vec<Result<QueryResult>> {
    let mut results = Vec::with_capacity(statements.len());
    for sql in statements {
        let result = run(connection, path, sql, limits, text);
        let failed = result.is_err();
        results.push(result);
        if failed {
            break;
        }
    }
    results
}

/// Pragmas that name files, and those that set what the whole process or the disk may give.
const REFUSED_PRAGMAS: [&str; 5] = [
    "data_store_directory",
    "hard_heap_limit",
    "max_page_count",
    "soft_heap_limit",
    "temp_store_directory",
];

/// How far the copy may grow.
const GROWTH_BYTES: i64 = 256 << 20;

fn open(path: &Path, limits: &Limits, deadline: Instant) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.progress_handler(1_000, Some(move || Instant::now() >= deadline))?;
    limits.apply(&connection)?;
    // As SQLite has it by itself; only the guarded executor does without triggers.
    connection.set_limit(Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 1_000)?;
    for (option, value) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, false),
        // SQLite's own default, which the library that comes with rusqlite turns round.
        (DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false),
    ] {
        connection.set_db_config(option, value)?;
    }
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
    let page_bytes: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let most = pages.saturating_add(GROWTH_BYTES / page_bytes.max(1));
    connection.pragma_update_and_check(None, "max_page_count", most, |_| Ok(()))?;
    connection.authorizer(Some(judge))?;
    Ok(connection)
}

fn judge(context: AuthContext<'_>) -> Authorization {
    match context.action {
        AuthAction::Attach { .. } | AuthAction::Detach { .. } => Authorization::Deny,
        AuthAction::Function { function_name } if has_side_effects(function_name) => {
            Authorization::Deny
        }
        AuthAction::Pragma { pragma_name, .. }
            if REFUSED_PRAGMAS.iter().any(|refused| pragma_name.eq_ignore_ascii_case(refused)) =>
        {
            Authorization::Deny
        }
        AuthAction::Unknown { .. } => Authorization::Deny,
        _ => Authorization::Allow,
    }
}

fn run(
    connection: &Connection,
    path: &Path,
    sql: &str,
    limits: &Limits,
    text: TextDecoding,
) -> Result<QueryResult> {
    let start = Instant::now();
    if sql.contains('\0') {
        return Err(Error::NulCharacter);
    }
    let failure = |error| Error::sqlite(path, limits.deadline, error);
    let mut batch = Batch::new(connection, sql);
    let Some(mut statement) = batch.next().map_err(failure)? else {
        return Ok(QueryResult {
            columns: Vec::new(),
            rows: Vec::new(),
            tables: Vec::new(),
            truncated: false,
            elapsed: start.elapsed(),
        });
    };
    if !matches!(batch.next(), Ok(None)) {
        return Err(Error::MultipleStatements);
    }
    if statement.parameter_count() > 0 {
        return Err(Error::BoundParameters { count: statement.parameter_count() });
    }
    let changes_rows = Lexed::of(sql).first_word().is_some_and(|word| {
        ["insert", "update", "delete", "replace"].iter().any(|verb| word.eq_ignore_ascii_case(verb))
    });
    if changes_rows && connection.is_autocommit() {
        connection.execute_batch("BEGIN").map_err(failure)?;
    }
    let columns = columns(&statement);
    let Rows { rows, truncated } = Rows::read(&mut statement, limits, text, failure)?;
    Ok(QueryResult { columns, rows, tables: Vec::new(), truncated, elapsed: start.elapsed() })
}
