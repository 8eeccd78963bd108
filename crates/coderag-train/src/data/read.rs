use std::path::Path;

use coderag_core::Hasher;

use super::{BadRows, Columns, Example, InputFile, json_lines, parquet};
use crate::{Error, Result};

/// Gives each example of a file to `visit`, in order: `.parquet`, or `.jsonl` or `.json` (an object a
/// line, blank lines passed over), the latter two also with `.gz`.
///
/// A row that no example can be made of is added to `bad_rows`: one that is not an object, lacks a text,
/// has one that is empty, blank or has a NUL character, has a negative with the text of its anchor or
/// positive, or scores that do not fit.
///
/// # Errors
/// [`Error::UnknownFormat`], [`Error::Core`], [`Error::Parquet`] and [`Error::LongLine`] when the file
/// cannot be read, [`Error::MissingColumn`] and [`Error::ColumnType`] for a Parquet file, and what
/// `visit` returns.
pub fn for_each_example(
    path: &Path,
    columns: &Columns,
    bad_rows: &mut BadRows,
    mut visit: impl FnMut(Example) -> Result<()>,
) -> Result<()> {
    let mut visit = |number, row| match row {
        Ok(example) => visit(example),
        Err(problem) => {
            bad_rows.add(path, number, problem);
            Ok(())
        }
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let lines = [".jsonl", ".json", ".jsonl.gz", ".json.gz"];
    if name.ends_with(".parquet") {
        parquet::read(path, columns, &mut visit)
    } else if lines.iter().any(|extension| name.ends_with(extension)) {
        json_lines::read(path, columns, &mut visit)
    } else {
        Err(Error::UnknownFormat { path: path.to_owned() })
    }
}

/// [`for_each_example`], and what there is to say of the file.
pub(crate) fn read_file(
    path: &Path,
    columns: &Columns,
    bad_rows: &mut BadRows,
    mut visit: impl FnMut(Example) -> Result<()>,
) -> Result<InputFile> {
    let mut hasher = Hasher::new();
    let bytes = hasher.update_file(path)?;
    let (mut rows, bad_before) = (0, bad_rows.total);
    for_each_example(path, columns, bad_rows, |example| {
        rows += 1;
        visit(example)
    })?;
    let bad_rows = bad_rows.total - bad_before;
    Ok(InputFile { path: path.to_owned(), bytes, sha256: hasher.finish(), rows, bad_rows })
}
