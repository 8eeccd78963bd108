use std::path::PathBuf;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong in a synthesis run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file, the configuration or a model failed.
    #[error(transparent)]
    Core(#[from] coderag_core::Error),

    /// A corpus of schemas cannot be read.
    #[error(transparent)]
    Corpus(#[from] coderag_corpus::Error),

    /// A database failed.
    #[error(transparent)]
    Sql(#[from] coderag_sql::Error),

    /// A setting cannot work.
    #[error("the setting `{key}` is wrong: {problem}")]
    Setting {
        /// The setting.
        key: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },

    /// A prompt's file is wrong.
    #[error("{}: line {line}: {problem}", path.display())]
    Prompt {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },

    /// A kept answer cannot be read.
    #[error(
        "{}: line {line} is damaged; remove that line, and what it answered is asked again",
        path.display()
    )]
    Response {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1; 0 where it is not known.
        line: usize,
        /// The parser's words.
        source: serde_json::Error,
    },

    /// A task has nothing to start from.
    #[error("the task `{task}` has no seeds")]
    NoSeeds {
        /// The task.
        task: String,
    },

    /// The model fails again and again.
    #[error(
        "the model failed {failures} times in a row; what it answered before is kept, and the same command goes on"
    )]
    ModelFails {
        /// How often.
        failures: u32,
        /// The last failure.
        source: coderag_core::Error,
    },

    /// The output folder holds something else.
    #[error(
        "{} holds files and is no run of `coderag synth`; choose another folder",
        path.display()
    )]
    NotARun {
        /// The folder.
        path: PathBuf,
    },

    /// Another process works on the run.
    #[error("another process works on the run in {}; wait for it to end", path.display())]
    RunInUse {
        /// The folder.
        path: PathBuf,
    },

    /// A file of the run cannot be read.
    #[error("{} cannot be read as {what}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// The parser's words.
        source: serde_json::Error,
    },

    /// A Parquet file cannot be written or read.
    #[error("cannot {action} {}", path.display())]
    Parquet {
        /// The attempted operation, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The library's words.
        source: parquet::errors::ParquetError,
    },

    /// A Parquet file is not what the run wrote.
    #[error(
        "{}: {problem}; the file is damaged, of another program, or being written by another process; the command \
         that made the run writes it anew from the answers that are kept",
        path.display()
    )]
    Rows {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },

    /// SQLite could not write a database with generated rows.
    #[error("cannot build a database in {}", path.display())]
    Build {
        /// Its file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}
