use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::texts::row;
use crate::{Error, Result};

/// The lines of a file without their ends, one in memory at a time.
pub(super) struct LineReader {
    path: PathBuf,
    reader: BufReader<Box<dyn Read + Send>>,
    /// The number of the line, counted from 1.
    number: u64,
    line: Vec<u8>,
}

impl LineReader {
    /// `path` is what errors name.
    pub(super) fn new(path: &Path, content: Box<dyn Read + Send>) -> Self {
        let reader = BufReader::with_capacity(1 << 16, content);
        Self { path: path.to_owned(), reader, number: 0, line: Vec::new() }
    }

    /// The next line and its number.
    pub(super) fn next_line(&mut self) -> Result<Option<(u64, &str)>> {
        const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
        self.line.clear();
        let read = self.reader.read_until(b'\n', &mut self.line);
        if read.map_err(Error::io("read", &self.path))? == 0 {
            return Ok(None);
        }
        self.number += 1;
        let mut line = self.line.as_slice();
        if let Some(ended) = line.strip_suffix(b"\n") {
            line = ended.strip_suffix(b"\r").unwrap_or(ended);
        }
        if self.number == 1 {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        let line = std::str::from_utf8(line)
            .map_err(|_| row(&self.path, "line", self.number, "not UTF-8 text".to_owned()))?;
        Ok(Some((self.number, line)))
    }
}

/// Each line as a text.
impl Iterator for LineReader {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_line().map(|line| line.map(|(_, text)| text.to_owned())).transpose()
    }
}
