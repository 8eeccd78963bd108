use std::path::{Path, PathBuf};

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong while reading or writing a corpus.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file operation.
    #[error(transparent)]
    Core(#[from] coderag_core::Error),

    /// A file that no reader knows, by its extension or its content.
    #[error(
        "{} is not a corpus: expected .sql, .ddl, .csv, .jsonl or .json (each also with .gz), \
         .parquet, .sqlite, .sqlite3, .db, or a folder of those",
        path.display()
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },

    /// A file that texts cannot be read from.
    #[error(
        "{} is not a file of texts: expected .txt, .csv, .jsonl or .json (each also with .gz), \
         .parquet, or - for standard input",
        path.display()
    )]
    NotTexts {
        /// The file.
        path: PathBuf,
    },

    /// A folder in which no reader finds anything.
    #[error("the folder {} holds no corpus file", path.display())]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
    },

    /// A file that should be text is not UTF-8.
    #[error("{} is not UTF-8 text: byte {offset} is not valid", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The first bad byte, counted from 0.
        offset: usize,
    },

    /// A row of a table lacks what a document needs, or is not valid in its format.
    #[error("{}: {place} {number}: {message}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// What `number` counts: `line` in a text file, `row` in a Parquet file.
        place: &'static str,
        /// The line or row, counted from 1.
        number: u64,
        /// What was wrong and what was expected.
        message: String,
    },

    /// A table lacks a column without which no document can be made.
    #[error("{} has no column `{column}`; it has {}", path.display(), list(.found))]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// The missing column.
        column: String,
        /// The columns that there are.
        found: Vec<String>,
    },

    /// A column has another type than the format says.
    #[error("{}: column `{column}` has the type {found}, expected text", path.display())]
    ColumnType {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Its type in the file.
        found: String,
    },

    /// The Parquet library refused a file.
    #[error("cannot {action} the Parquet file {}", path.display())]
    Parquet {
        /// The attempted operation: `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the library said.
        source: parquet::errors::ParquetError,
    },

    /// SQLite refused a database.
    #[error("cannot read the SQLite database {database}")]
    Sqlite {
        /// The file, or the database's name where it is not in a file.
        database: String,
        /// What SQLite said.
        source: rusqlite::Error,
    },

    /// A document's meta does not describe a table.
    #[error("the meta of document `{id}` does not describe a table")]
    Meta {
        /// The document's id.
        id: String,
        /// What is missing or has the wrong type.
        source: serde_json::Error,
    },
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let wrap = coderag_core::Error::io(action, path);
        move |source| Self::Core(wrap(source))
    }
}

fn list(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        names => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    }
}
