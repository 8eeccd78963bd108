use std::io::Read;
use std::path::{Path, PathBuf};

use csv::{Position, Reader, StringRecord};

use crate::{Error, Result};

/// The values of one column of a CSV file with a header line, in order, each with its line.
pub(crate) struct CsvColumn {
    path: PathBuf,
    reader: Reader<Box<dyn Read + Send>>,
    position: usize,
    record: StringRecord,
}

impl CsvColumn {
    /// Reads the header. `path` is what errors name.
    pub(crate) fn new(path: &Path, content: Box<dyn Read + Send>, column: &str) -> Result<Self> {
        let mut reader = Reader::from_reader(content);
        let header = reader.headers().map_err(|error| refused(path, error))?;
        let Some(position) =
            header.iter().position(|name| name.trim_start_matches('\u{feff}') == column)
        else {
            let found = header.iter().map(str::to_owned).collect();
            let (path, column) = (path.to_owned(), column.to_owned());
            return Err(Error::MissingColumn { path, column, found });
        };
        Ok(Self { path: path.to_owned(), reader, position, record: StringRecord::new() })
    }
}

impl Iterator for CsvColumn {
    type Item = Result<(u64, String)>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.reader.read_record(&mut self.record) {
            Ok(false) => None,
            Ok(true) => {
                let line = self.record.position().map_or(0, Position::line);
                let value = self.record.get(self.position).unwrap_or_default();
                Some(Ok((line, value.to_owned())))
            }
            Err(error) => Some(Err(refused(&self.path, error))),
        }
    }
}

fn refused(path: &Path, error: csv::Error) -> Error {
    let number = error.position().map_or(1, Position::line);
    let message = match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "not UTF-8 text".to_owned(),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} fields where the header has {expected_len}")
        }
        _ => error.to_string(),
    };
    match error.into_kind() {
        csv::ErrorKind::Io(source) => Error::io("read", path)(source),
        _ => Error::Row { path: path.to_owned(), place: "line", number, message },
    }
}
