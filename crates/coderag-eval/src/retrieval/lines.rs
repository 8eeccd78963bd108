//! Reads line-based files so that an error names the file and the line.

use std::fs::File;
use std::io::{BufRead as _, BufReader, ErrorKind};
use std::path::Path;

use coderag_core::Error as CoreError;

use crate::{Error, Result};

/// Gives every line that is not blank to `take`, which returns what is wrong with it.
///
/// # Errors
/// [`Error::Core`] when the file cannot be read, [`Error::Line`] for what `take` refuses and for a line
/// that is not UTF-8.
pub(super) fn for_each_line(
    path: &Path,
    mut take: impl FnMut(&str) -> Result<(), String>,
) -> Result<()> {
    let file = File::open(path).map_err(CoreError::io("open", path))?;
    for (number, line) in (1..).zip(BufReader::new(file).lines()) {
        let taken = match line {
            Ok(line) if line.trim().is_empty() => Ok(()),
            Ok(line) => take(&line),
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                Err("not UTF-8 text".to_owned())
            }
            Err(error) => return Err(CoreError::io("read", path)(error).into()),
        };
        taken.map_err(|what| Error::Line { path: path.to_owned(), line: number, what })?;
    }
    Ok(())
}
