use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::lines::LineReader;
use super::row;
use crate::Result;

/// One field of each line's JSON object. Blank lines are passed over.
pub(super) struct JsonLines {
    path: PathBuf,
    lines: LineReader,
    field: String,
}

impl JsonLines {
    /// `path` is what errors name.
    pub(super) fn new(path: &Path, content: Box<dyn Read + Send>, field: &str) -> Self {
        let lines = LineReader::new(path, content);
        Self { path: path.to_owned(), lines, field: field.to_owned() }
    }

    /// How many lines there are but blank ones; none is parsed.
    pub(super) fn count(mut self) -> Result<u64> {
        let mut count = 0;
        while let Some((_, line)) = self.lines.next_line()? {
            count += u64::from(!line.trim().is_empty());
        }
        Ok(count)
    }

    fn next_text(&mut self) -> Result<Option<String>> {
        while let Some((number, line)) = self.lines.next_line()? {
            if line.trim().is_empty() {
                continue;
            }
            let refused = |message| row(&self.path, "line", number, message);
            let mut object: Value = serde_json::from_str(line)
                .map_err(|error| refused(format!("not valid JSON: {error}")))?;
            let field = &self.field;
            return match object.get_mut(field).map(Value::take) {
                Some(Value::String(text)) => Ok(Some(text)),
                Some(_) => Err(refused(format!("`{field}` is not a string"))),
                None => Err(refused(format!("there is no field `{field}`"))),
            };
        }
        Ok(None)
    }
}

impl Iterator for JsonLines {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_text().transpose()
    }
}
