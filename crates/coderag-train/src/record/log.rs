use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use coderag_core::{Error as CoreError, atomic};

use super::Record;
use crate::{Error, Result};

/// The file of a run's records, an object a line.
#[derive(Debug)]
pub struct MetricsLog {
    path: PathBuf,
    file: File,
    /// The length of the file, all lines whole.
    bytes: u64,
}

impl MetricsLog {
    /// Begins an empty file, in place of what there was.
    ///
    /// # Errors
    /// [`Error::Core`] when it cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(CoreError::io("create", path))?;
        Ok(Self { path: path.to_owned(), file, bytes: 0 })
    }

    /// Goes on with the file of a run that goes on after so many steps: keeps the records up to this step
    /// and drops later ones, and a last line that was not written whole. A missing file is begun.
    ///
    /// # Errors
    /// [`Error::Core`] when it cannot be read or written, [`Error::Metrics`] for a line that is no record;
    /// the file is untouched then.
    pub fn resume(path: &Path, step: u64) -> Result<Self> {
        let content = match std::fs::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Self::create(path),
            content => content.map_err(CoreError::io("read", path))?,
        };
        let lines = parse(path, &content)?;
        let kept = lines.iter().filter(|(record, _)| record.step() <= step);
        atomic::write_file(path, |file| {
            for (_, line) in kept {
                file.write_all(line)
                    .and_then(|()| file.write_all(b"\n"))
                    .map_err(CoreError::io("write", path))?;
            }
            Ok::<(), CoreError>(())
        })?;
        let file = File::options().append(true).open(path).map_err(CoreError::io("open", path))?;
        let bytes = file.metadata().map_err(CoreError::io("read", path))?.len();
        Ok(Self { path: path.to_owned(), file, bytes })
    }

    /// Adds a record. A killed program leaves all lines whole but perhaps the last.
    ///
    /// # Errors
    /// [`Error::Core`] when it cannot be written; the file then ends with the record before.
    pub fn append(&mut self, record: &Record) -> Result<()> {
        let failed = |error| CoreError::io("write", &self.path)(error);
        let mut line = serde_json::to_vec(record).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        if let Err(error) = self.file.write_all(&line) {
            // A full disk may have taken half of it. Should this fail too, the reader drops that half.
            self.file.set_len(self.bytes).unwrap_or_default();
            return Err(failed(error).into());
        }
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// Waits until everything is on the disk.
    ///
    /// # Errors
    /// [`Error::Core`] when the disk refuses it.
    pub fn flush(&mut self) -> Result<()> {
        Ok(self.file.sync_data().map_err(CoreError::io("flush", &self.path))?)
    }

    /// The records of a file, but for a last line that was not written whole.
    ///
    /// # Errors
    /// [`Error::Core`] when it cannot be read, [`Error::Metrics`] for a line that is no record.
    pub fn read(path: &Path) -> Result<Vec<Record>> {
        let content = std::fs::read(path).map_err(CoreError::io("read", path))?;
        Ok(parse(path, &content)?.into_iter().map(|(record, _)| record).collect())
    }
}

/// The records and their lines, each without its end.
fn parse<'c>(path: &Path, content: &'c [u8]) -> Result<Vec<(Record, &'c [u8])>> {
    let mut records = Vec::new();
    for (index, line) in content.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let (line, is_whole) = match line.strip_suffix(b"\n") {
            Some(line) => (line, true),
            None => (line, false),
        };
        match serde_json::from_slice(line) {
            Ok(record) => records.push((record, line)),
            Err(_) if !is_whole => {}
            Err(error) => {
                let (path, line) = (path.to_owned(), index as u64 + 1);
                return Err(Error::Metrics { path, line, problem: error.to_string() });
            }
        }
    }
    Ok(records)
}
