use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::ErrorCode;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong between a question and its rows.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model, the retriever, a file or a configuration failed.
    #[error(transparent)]
    Core(#[from] coderag_core::Error),

    /// The schema could not be turned into documents.
    #[error(transparent)]
    Corpus(#[from] coderag_corpus::Error),

    /// The path names a folder or something else that is not a file.
    #[error("{} is not a file; a SQLite database file is needed", path.display())]
    NotAFile {
        /// What was given.
        path: PathBuf,
    },

    /// The file is not a SQLite database, or is an encrypted one.
    #[error("{} is not a SQLite database, or it is encrypted: {message}", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        message: String,
    },

    /// The database is truncated or otherwise damaged.
    #[error("the database {} is damaged: {message}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        message: String,
    },

    /// Another process held the database's lock until the deadline.
    #[error("the database {} is locked by another process: {message}", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        message: String,
    },

    /// A writer was killed, and only a connection that may write can undo what it left.
    #[error(
        "the database {} holds a killed writer's unfinished transaction; open it once with a \
         program that may write to it, such as the sqlite3 shell: {message}",
        path.display()
    )]
    UnfinishedTransaction {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        message: String,
    },

    /// The operating system refused SQLite the file.
    #[error("cannot read the database {}: {message}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        message: String,
    },

    /// The schema holds bytes that are not UTF-8, so its names cannot be written in a statement.
    #[error("the schema of {} is not UTF-8 text: see `{name}`", path.display())]
    SchemaNotUtf8 {
        /// The file.
        path: PathBuf,
        /// The table, view, index or trigger, with the bad bytes replaced.
        name: String,
    },

    /// The text holds no statement, only space and comments.
    #[error("the SQL text holds no statement")]
    EmptyStatement,

    /// Something follows the first statement.
    #[error("the SQL text holds more than one statement; exactly one is allowed")]
    MultipleStatements,

    /// The statement has parameters, for which there are no values.
    #[error(
        "the statement has bound parameters ({count}), for which there are no values; write the \
         values into the statement"
    )]
    BoundParameters {
        /// How many.
        count: usize,
    },

    /// SQLite would ignore everything after the NUL.
    #[error("the SQL text holds a NUL character")]
    NulCharacter,

    /// The text is longer than [`Limits::max_sql_bytes`].
    ///
    /// [`Limits::max_sql_bytes`]: crate::Limits::max_sql_bytes
    #[error("the SQL text has {bytes} bytes; at most {limit} are allowed")]
    SqlTooLong {
        /// Its length.
        bytes: usize,
        /// The most that is allowed.
        limit: usize,
    },

    /// The statement wants something that the guard does not allow.
    #[error("refused {what}: {why}")]
    Refused {
        /// The operation and its object.
        what: String,
        /// The rule.
        why: &'static str,
    },

    /// The statement did not finish in time.
    #[error("the statement was stopped after {} s", limit.as_secs_f64())]
    Deadline {
        /// The time it had.
        limit: Duration,
    },

    /// The result holds text that is not UTF-8, which [`TextDecoding::Refuse`] does not take.
    ///
    /// [`TextDecoding::Refuse`]: crate::TextDecoding::Refuse
    #[error("the result holds text that is not UTF-8")]
    TextNotUtf8,

    /// A value, the statement's program or its memory grew over a limit.
    #[error("the statement needs more than the executor's limits allow: {message}")]
    TooLarge {
        /// What SQLite said.
        message: String,
    },

    /// The statement is not valid for this database, or failed while running.
    #[error("{message}")]
    Sql {
        /// SQLite's own message, such as `no such column: agee`.
        message: String,
        /// Where in the statement, in bytes from 0, where SQLite says.
        offset: Option<usize>,
    },

    /// The operating system gave no thread.
    #[error("cannot start a thread to run the statement in")]
    Thread {
        /// What the operating system said.
        source: std::io::Error,
    },

    /// The database has no tables.
    #[error("the database {database} has no tables")]
    NoTables {
        /// Its name.
        database: String,
    },

    /// The database has too many tables for one prompt and there is no retriever to choose.
    #[error(
        "the database {database} has {tables} tables, and only up to {limit} go into a prompt \
         whole; give an index that holds its tables"
    )]
    IndexNeeded {
        /// Its name.
        database: String,
        /// How many tables it has.
        tables: usize,
        /// How many go in whole.
        limit: usize,
    },

    /// No table of the database is about the question.
    #[error(
        "nothing in the database {database} is relevant to the question: {}",
        explain(.best, *.minimum)
    )]
    NothingRelevant {
        /// The database's name.
        database: String,
        /// The best table and its score, where the retriever found any of this database.
        best: Option<(String, f32)>,
        /// The score that was needed.
        minimum: f32,
    },

    /// The receiver of the stream broke off.
    #[error("the answer was broken off")]
    Cancelled,

    /// The model used up its tokens before it ended its answer.
    #[error("the model's answer was cut off after {tokens} tokens; raise max_tokens")]
    CutOff {
        /// How many it wrote.
        tokens: u32,
        /// The answer so far.
        answer: String,
    },

    /// The model answered without SQL.
    #[error("the model's answer holds no SQL statement")]
    NoStatement {
        /// The answer.
        answer: String,
    },

    /// The model answered with several different statements.
    #[error("the model's answer holds {count} different SQL statements; exactly one is expected")]
    SeveralStatements {
        /// How many.
        count: usize,
        /// The answer.
        answer: String,
    },

    /// The model's statement was refused or failed.
    #[error("the model's SQL cannot be used")]
    Generated {
        /// The statement.
        sql: String,
        /// Why.
        source: Box<Error>,
    },
}

impl Error {
    /// The model's statement, where there was one.
    pub fn sql(&self) -> Option<&str> {
        match self {
            Self::Generated { sql, .. } => Some(sql),
            _ => None,
        }
    }

    /// The model's answer, where no statement could be taken from it.
    pub fn answer(&self) -> Option<&str> {
        match self {
            Self::CutOff { answer, .. }
            | Self::NoStatement { answer }
            | Self::SeveralStatements { answer, .. } => Some(answer),
            _ => None,
        }
    }

    /// Sorts what SQLite said about the database at `path`, or a statement on it, by cause.
    pub(crate) fn sqlite(path: &Path, deadline: Duration, error: rusqlite::Error) -> Self {
        let path = path.to_owned();
        let code = error.sqlite_error_code();
        let offset = match &error {
            rusqlite::Error::SqlInputError { offset, .. } => usize::try_from(*offset).ok(),
            _ => None,
        };
        let message = message(error);
        match code {
            Some(ErrorCode::OperationInterrupted) => Self::Deadline { limit: deadline },
            Some(ErrorCode::NotADatabase) => Self::NotADatabase { path, message },
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged { path, message },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Self::Locked { path, message }
            }
            Some(ErrorCode::ReadOnly) => Self::UnfinishedTransaction { path, message },
            Some(
                ErrorCode::CannotOpen
                | ErrorCode::SystemIoFailure
                | ErrorCode::PermissionDenied
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::NoLargeFileSupport,
            ) => Self::Unreadable { path, message },
            Some(ErrorCode::TooBig | ErrorCode::OutOfMemory | ErrorCode::DiskFull) => {
                Self::TooLarge { message }
            }
            _ => Self::Sql { message, offset },
        }
    }
}

/// SQLite's message alone; rusqlite's Display adds the whole statement, and its source the code.
fn message(error: rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqlInputError { msg, .. } => msg,
        rusqlite::Error::SqliteFailure(_, Some(message)) => message,
        other => other.to_string(),
    }
}

fn explain(best: &Option<(String, f32)>, minimum: f32) -> String {
    match best {
        Some((table, score)) => {
            format!("the best table, {table}, scores {score:.3}, and {minimum:.3} is needed")
        }
        None => "none of its tables was found".to_owned(),
    }
}
