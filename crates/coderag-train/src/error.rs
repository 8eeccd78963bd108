use std::path::PathBuf;

use coderag_core::{BoxError, Digest};

use crate::data::BadRows;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong in training.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written, or its settings make no sense.
    #[error(transparent)]
    Core(#[from] coderag_core::Error),

    /// The model cannot be read, or not be trained.
    #[error(transparent)]
    Encoder(#[from] coderag_encoder::Error),

    /// A batch or its vectors do not fit the loss.
    #[error("the loss cannot be computed: {0}")]
    LossBatch(String),

    /// Parameters, gradients and the optimizer's state do not fit together.
    #[error("the optimizer cannot take a step: {0}")]
    Optimizer(String),

    /// The device failed while it computed.
    #[error("cannot compute the loss")]
    Backend(#[source] BoxError),

    /// A folder that is to hold a run holds something else.
    #[error(
        "{} has files in it and is no run's folder: there is no `run.json`; choose another folder",
        path.display()
    )]
    NotARun {
        /// The folder.
        path: PathBuf,
    },

    /// Another process works on the run.
    #[error("another process works on the run in {}; wait for it or stop it", path.display())]
    RunInUse {
        /// The run's folder.
        path: PathBuf,
    },

    /// A file of a run's folder is not what this version writes.
    #[error("{} cannot be used: {problem}; begin the run anew with `--restart`", path.display())]
    DamagedRun {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },

    /// A checkpoint is not what this version writes.
    #[error(
        "the checkpoint {} cannot be used: {problem}; remove this folder to go on from the checkpoint \
         before it, or begin anew with `--restart`",
        path.display()
    )]
    DamagedCheckpoint {
        /// The checkpoint's folder.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },

    /// Vectors do not fit the development set.
    #[error("the model cannot be measured: {0}")]
    Evaluation(String),

    /// A line of a run's metrics is no record.
    #[error(
        "{}: line {line} is not a record of training: {problem}; restore the file, or move it away and \
         the run goes on without the records so far",
        path.display()
    )]
    Metrics {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        problem: String,
    },

    /// A run is to go on with settings that would make another run of it.
    #[error(
        "the run cannot go on, because its settings have changed: {}; restore them, or begin anew with \
         `--restart`",
        changes.join(", ")
    )]
    SettingsChanged {
        /// What changed.
        changes: Vec<String>,
    },

    /// A run is to go on with another model than it began with.
    #[error(
        "the model in {} is not the one that the run began with; restore it, or begin anew with \
         `--restart`",
        path.display()
    )]
    ModelChanged {
        /// The model's folder.
        path: PathBuf,
    },

    /// The loss or the gradients are no numbers any more.
    #[error(
        "step {step}: {problem}, so the run was stopped{}; lower `learning_rate`, set \
         `max_gradient_norm` or train with `precision = \"f32\"`, and run the same command to go on from \
         there; if it stops at once again, remove that checkpoint to go on from the one before it",
        last_good(checkpoint)
    )]
    Diverged {
        /// The step, counted from 1.
        step: u64,
        /// What is no number.
        problem: String,
        /// The last checkpoint.
        checkpoint: Option<PathBuf>,
    },

    /// A checkpoint, a record or the parameters that were best could not be written.
    #[error(
        "what step {step} gave could not be written{}; make room or remove the cause, and run the same \
         command to go on from there",
        last_good(last)
    )]
    NotWritten {
        /// The step, counted from 1.
        step: u64,
        /// The last checkpoint that is there.
        last: Option<PathBuf>,
        /// The cause.
        source: Box<Error>,
    },

    /// A setting is out of range, or does not go with another.
    #[error("`{setting}`: {problem}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// What is wrong with it, and what would be right.
        problem: String,
    },

    /// A file that no reader of examples knows by its name.
    #[error(
        "{} is not a file of examples: expected .parquet, or .jsonl or .json (an object a line), the \
         latter two also with .gz",
        path.display()
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },

    /// The Parquet library refused a file.
    #[error("cannot read the Parquet file {}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What the library said.
        source: parquet::errors::ParquetError,
    },

    /// A file lacks a column.
    #[error(
        "{} has no column `{column}`, only {}; say which columns to read, such as `columns = {{ anchor \
         = \"query\", positive = \"doc\" }}`",
        path.display(),
        list(.found)
    )]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// The missing column.
        column: String,
        /// The columns that there are.
        found: Vec<String>,
    },

    /// A column has another type than is needed.
    #[error("{}: the column `{column}` has the type {found}, expected {expected}", path.display())]
    ColumnType {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Its type in the file.
        found: String,
        /// What it should hold, in words.
        expected: String,
    },

    /// A line is so long that the file cannot be one of JSON lines.
    #[error(
        "{}: line {line} is longer than {megabytes} MiB: is each example on a line of its own?",
        path.display()
    )]
    LongLine {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The limit.
        megabytes: u64,
    },

    /// There are rows that no example can be made of, and these were not to be left out.
    #[error("{bad_rows}; correct them, or leave them out with `on_bad_row = \"skip\"`")]
    BadRows {
        /// How many, and the first ones.
        bad_rows: Box<BadRows>,
    },

    /// A source gives no example at all.
    #[error("the source `{name}` has no examples{}", among(.bad_rows))]
    NoRows {
        /// The source.
        name: String,
        /// The rows that were left out, of all sources.
        bad_rows: Box<BadRows>,
    },

    /// A store of examples is damaged, or was written by another version.
    #[error("the examples in {} cannot be used: {problem}; begin the run anew with `--restart`", path.display())]
    Store {
        /// The store's folder.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },

    /// A file of examples is not what it was when the run began.
    #[error(
        "{} has changed since the run began (its SHA-256 digest was {was} and is {is}), so the run \
         cannot go on as it would have; restore the file, or begin anew with `--restart`",
        path.display()
    )]
    InputChanged {
        /// The file.
        path: PathBuf,
        /// The digest that it had.
        was: Digest,
        /// The digest that it has.
        is: Digest,
    },

    /// A run is to go on with other sources than it began with.
    #[error(
        "the sources are not those that the run began with: {problem}; restore them, or begin anew with `--restart`"
    )]
    SourcesChanged {
        /// How they differ.
        problem: String,
    },

    /// A run is to go on with batches that differ from those it began with.
    #[error(
        "the batches are not those that the run began with: {problem}; restore the settings, or begin \
         anew with `--restart`"
    )]
    BatchesChanged {
        /// How they differ.
        problem: String,
    },

    /// The rows of an epoch do not make one full batch.
    #[error(
        "no batch of {batch_size} can be made of the {rows} examples of an epoch, at most one of \
         {largest}; lower `batch_size` or keep smaller batches with `last_batch = \"keep\"`"
    )]
    NoBatch {
        /// The examples of a batch.
        batch_size: usize,
        /// The examples of an epoch.
        rows: u64,
        /// The examples of the largest batch there could be.
        largest: usize,
    },
}

fn last_good(checkpoint: &Option<PathBuf>) -> String {
    let told = |path: &PathBuf| format!("; the last good checkpoint is {}", path.display());
    checkpoint.as_ref().map(told).unwrap_or_default()
}

fn list(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        names => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    }
}

fn among(bad_rows: &BadRows) -> String {
    if bad_rows.total == 0 { String::new() } else { format!(" ({bad_rows})") }
}
