//! Rows of a run, read back from its files some at a time.

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::{Array as _, AsArray as _, RecordBatch, StringArray};
use coderag_core::Error as CoreError;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Manifest, OutputFile};
use crate::config::Category;
use crate::row::{Gate, RejectedRow};
use crate::{CodeLanguage, Error, Result};

/// A row of the files of pairs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// The task and the candidate's number: `function_to_summary-000017`.
    pub id: String,
    /// The task's name.
    pub task: String,
    /// What the pair joins.
    pub category: Category,
    /// What is searched with.
    pub anchor: String,
    /// What is to be found.
    pub positive: String,
    /// The language of its code.
    pub language: CodeLanguage,
    /// Where its seed came from.
    pub source: String,
    /// What was chosen for it, and what gates noticed.
    pub meta: Map<String, Value>,
}

/// The pairs of a run in their order.
///
/// # Errors
/// Each row of a file that cannot be read, or is not as the manifest has it, is [`Error::Core`],
/// [`Error::Parquet`] or [`Error::Rows`]; nothing comes after it.
pub fn read_pairs<'m>(
    run: &Path,
    manifest: &'m Manifest,
) -> impl Iterator<Item = Result<Pair>> + use<'m> {
    rows(
        run,
        manifest,
        PAIRS,
        ["id", "task", "anchor", "positive", "language", "source", "meta"],
        pair,
    )
}

/// The rejected candidates of a run in their order.
///
/// # Errors
/// As of [`read_pairs`].
pub fn read_rejected<'m>(
    run: &Path,
    manifest: &'m Manifest,
) -> impl Iterator<Item = Result<RejectedRow>> + use<'m> {
    let columns = [
        "id", "task", "gate", "reason", "anchor", "positive", "answer", "language", "source",
        "meta",
    ];
    rows(run, manifest, REJECTED, columns, rejected_row)
}

/// The folder of pairs in a run's.
pub(crate) const PAIRS: &str = "pairs";
/// The folder of rows in gretel's columns.
pub(crate) const GRETEL: &str = "gretel";
/// The folder of rejected candidates.
pub(crate) const REJECTED: &str = "rejected";

impl Manifest {
    /// The files in a folder of the run's.
    pub(crate) fn files_in(&self, folder: &str) -> impl Iterator<Item = &OutputFile> {
        self.files
            .iter()
            .filter(move |file| Path::new(&file.path).parent() == Some(Path::new(folder)))
    }
}

fn pair([id, task, anchor, positive, language, source, meta]: [&str; 7]) -> Result<Pair, String> {
    let (category, meta) = category_and_meta(meta)?;
    Ok(Pair {
        id: id.to_owned(),
        task: task.to_owned(),
        category,
        anchor: anchor.to_owned(),
        positive: positive.to_owned(),
        language: named("language", language)?,
        source: source.to_owned(),
        meta,
    })
}

fn rejected_row(
    [id, task, gate, reason, anchor, positive, answer, language, source, meta]: [&str; 10],
) -> Result<RejectedRow, String> {
    let (category, meta) = category_and_meta(meta)?;
    Ok(RejectedRow {
        id: id.to_owned(),
        task: task.to_owned(),
        category,
        gate: named::<Gate>("gate", gate)?,
        reason: reason.to_owned(),
        anchor: anchor.to_owned(),
        positive: positive.to_owned(),
        answer: answer.to_owned(),
        language: named("language", language)?,
        source: source.to_owned(),
        meta,
    })
}

/// Takes a row's `meta` apart.
fn category_and_meta(text: &str) -> Result<(Category, Map<String, Value>), String> {
    let mut meta: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| format!("`meta` is no JSON object: {error}"))?;
    let category = match meta.remove("category") {
        Some(Value::String(category)) => named("category", &category)?,
        _ => return Err("`meta` has no `category`".to_owned()),
    };
    Ok((category, meta))
}

/// The value of an enumeration with this name.
fn named<T: serde::de::DeserializeOwned>(column: &str, name: &str) -> Result<T, String> {
    serde_json::from_value(name.into()).map_err(|_| format!("the {column} `{name}` is unknown"))
}

fn rows<'m, T, const N: usize>(
    run: &Path,
    manifest: &'m Manifest,
    folder: &'static str,
    columns: [&'static str; N],
    row: fn([&str; N]) -> Result<T, String>,
) -> impl Iterator<Item = Result<T>> + use<'m, T, N> {
    let mut rows = Rows {
        run: run.to_owned(),
        files: manifest.files_in(folder).collect(),
        open: None,
        columns,
        row,
        read: VecDeque::new(),
    };
    let mut has_failed = false;
    std::iter::from_fn(move || {
        if has_failed {
            return None;
        }
        let next = rows.next().transpose();
        has_failed = matches!(next, Some(Err(_)));
        next
    })
}

struct Rows<'m, T, const N: usize> {
    run: PathBuf,
    /// Those that were not opened yet.
    files: VecDeque<&'m OutputFile>,
    open: Option<OpenFile>,
    columns: [&'static str; N],
    row: fn([&str; N]) -> Result<T, String>,
    read: VecDeque<T>,
}

struct OpenFile {
    path: PathBuf,
    reader: ParquetRecordBatchReader,
    /// How many rows were read.
    rows: u64,
}

impl<T, const N: usize> Rows<'_, T, N> {
    fn next(&mut self) -> Result<Option<T>> {
        loop {
            if let Some(row) = self.read.pop_front() {
                return Ok(Some(row));
            }
            let Some(open) = &mut self.open else {
                let Some(file) = self.files.pop_front() else { return Ok(None) };
                self.open = Some(open(&self.run.join(&file.path), file.rows, &self.columns)?);
                continue;
            };
            let failure =
                |source| Error::Parquet { action: "read", path: open.path.clone(), source };
            let batch = open.reader.next().transpose().map_err(|error| failure(error.into()))?;
            match batch {
                None => self.open = None,
                Some(batch) => self.read = read(open, &batch, &self.columns, self.row)?,
            }
        }
    }
}

fn open(path: &Path, rows: u64, columns: &[&str]) -> Result<OpenFile> {
    let failure = |source| Error::Parquet { action: "read", path: path.to_owned(), source };
    let file = File::open(path).map_err(CoreError::io("open", path))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(failure)?;
    let wrong = |problem: String| Err(Error::Rows { path: path.to_owned(), problem });
    for column in columns {
        if builder.schema().field_with_name(column).is_err() {
            return wrong(format!("it has no column `{column}`"));
        }
    }
    let found = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or_default();
    if found != rows {
        return wrong(format!("it has {found} rows, and the manifest counts {rows}"));
    }
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    let reader = builder.with_projection(mask).build().map_err(failure)?;
    Ok(OpenFile { path: path.to_owned(), reader, rows: 0 })
}

fn read<T, const N: usize>(
    open: &mut OpenFile,
    batch: &RecordBatch,
    columns: &[&'static str; N],
    row: fn([&str; N]) -> Result<T, String>,
) -> Result<VecDeque<T>> {
    let wrong = |problem: String| Error::Rows { path: open.path.clone(), problem };
    let mut texts: Vec<(&StringArray, &str)> = Vec::with_capacity(N);
    for name in columns {
        let column = batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        let column = column.ok_or_else(|| wrong(format!("its column `{name}` is not text")))?;
        texts.push((column, name));
    }
    let mut rows = VecDeque::with_capacity(batch.num_rows());
    for position in 0..batch.num_rows() {
        let number = open.rows + position as u64 + 1;
        let mut values = [""; N];
        for (value, (column, name)) in values.iter_mut().zip(&texts) {
            if column.is_null(position) {
                return Err(wrong(format!("row {number} has no `{name}`")));
            }
            *value = column.value(position);
        }
        rows.push_back(row(values).map_err(|problem| wrong(format!("row {number}: {problem}")))?);
    }
    open.rows += batch.num_rows() as u64;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::testing::SmallRun;

    fn first_error(run: &SmallRun) -> String {
        let error = read_pairs(run.path(), &run.manifest).find_map(Result::err).unwrap();
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        text
    }

    #[test]
    fn rows_come_back_as_they_were_written_over_several_files() {
        let run = SmallRun::new();
        assert!(run.manifest.files_in(PAIRS).count() > 2);
        let pairs: Vec<Pair> =
            read_pairs(run.path(), &run.manifest).collect::<Result<_>>().unwrap();
        assert_eq!(pairs.len(), run.rows.len());
        for (pair, row) in pairs.iter().zip(&run.rows) {
            assert_eq!((&pair.id, &pair.task), (&row.id, &row.task));
            assert_eq!((&pair.anchor, &pair.positive), (&row.anchor, &row.positive));
            assert_eq!((pair.category, pair.language), (row.category, row.language));
            assert_eq!((&pair.source, &pair.meta), (&row.source, &row.meta));
        }
        let rejected: Vec<RejectedRow> =
            read_rejected(run.path(), &run.manifest).collect::<Result<_>>().unwrap();
        assert_eq!(rejected, run.rejected);
    }

    #[test]
    fn a_damaged_or_foreign_file_is_named() {
        let run = SmallRun::new();
        let second = run.path().join("pairs/part-00001.parquet");
        let whole = fs::read(&second).unwrap();

        fs::write(&second, &whole[..whole.len() / 2]).unwrap();
        let error = first_error(&run);
        assert!(
            error.starts_with("cannot read ") && error.contains("part-00001.parquet"),
            "{error}"
        );

        fs::copy(run.path().join("rejected/part-00001.parquet"), &second).unwrap();
        let error = first_error(&run);
        assert!(error.contains("part-00001.parquet"), "{error}");
        assert!(error.contains("rows, and the manifest counts"), "{error}");

        fs::copy(run.path().join("gretel/part-00000.parquet"), &second).unwrap();
        let error = first_error(&run);
        assert!(
            error.contains("part-00001.parquet") && error.contains("no column `task`"),
            "{error}"
        );

        fs::remove_file(&second).unwrap();
        let error = first_error(&run);
        assert!(
            error.starts_with("cannot open ") && error.contains("part-00001.parquet"),
            "{error}"
        );
    }

    #[test]
    fn nothing_comes_after_an_error() {
        let run = SmallRun::new();
        fs::write(run.path().join("pairs/part-00001.parquet"), "not Parquet").unwrap();
        let read: Vec<Result<Pair>> = read_pairs(run.path(), &run.manifest).collect();
        assert!(read.last().unwrap().is_err());
        assert_eq!(read.iter().filter(|row| row.is_err()).count(), 1);
    }

    #[test]
    fn unknown_names_are_refused() {
        let meta = r#"{"category": "hybrid"}"#;
        assert!(pair(["a", "b", "c", "d", "rust", "e", meta]).is_ok());
        let unknown = pair(["a", "b", "c", "d", "cobol", "e", meta]).unwrap_err();
        assert_eq!(unknown, "the language `cobol` is unknown");
        assert_eq!(
            pair(["a", "b", "c", "d", "rust", "e", "{}"]).unwrap_err(),
            "`meta` has no `category`"
        );
    }
}
