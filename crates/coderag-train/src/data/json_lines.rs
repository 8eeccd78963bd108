use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use coderag_core::Error as CoreError;
use flate2::read::MultiGzDecoder;
use serde_json::Value as Json;

use super::row::{Value, example};
use super::{Columns, Example};
use crate::{Error, Result};

/// A longer line means that the file is not one of JSON lines.
const LONGEST_LINE: u64 = 256 << 20;

/// Gives each line, with its number counted from 1, to `visit`: an example, or why there is none. Blank
/// lines are passed over. A name that ends in `.gz` means a compressed file.
pub(super) fn read(
    path: &Path,
    columns: &Columns,
    visit: &mut dyn FnMut(u64, Result<Example, String>) -> Result<()>,
) -> Result<()> {
    let file = File::open(path).map_err(CoreError::io("open", path))?;
    let compressed = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
    let mut reader: Box<dyn BufRead> = if compressed {
        Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(BufReader::new(file))))
    } else {
        Box::new(BufReader::with_capacity(1 << 16, file))
    };
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = (&mut reader)
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)
            .map_err(CoreError::io("read", path))?;
        if read == 0 {
            break;
        }
        if read as u64 == LONGEST_LINE {
            let megabytes = LONGEST_LINE >> 20;
            return Err(Error::LongLine { path: path.to_owned(), line: number, megabytes });
        }
        let mut content = line.as_slice();
        if number == 1 {
            // Some editors begin a file with a byte order mark.
            content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
        }
        if !content.trim_ascii().is_empty() {
            visit(number, parse(content, columns))?;
        }
    }
    Ok(())
}

fn parse(line: &[u8], columns: &Columns) -> Result<Example, String> {
    let object = match serde_json::from_slice(line) {
        Ok(Json::Object(object)) => object,
        Ok(other) => return Err(format!("the line is {}, expected an object", kind(&other))),
        Err(error) => return Err(format!("not valid JSON: {error}")),
    };
    let negatives = columns.negatives(object.keys().map(String::as_str));
    example(columns, &negatives, |name| object.get(name).map_or(Value::Absent, value))
}

fn value(json: &Json) -> Value<'_> {
    match json {
        Json::Null => Value::Null,
        Json::String(text) => Value::Text(text),
        Json::Number(number) => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
        Json::Array(items) => Value::List(items.iter().map(value).collect()),
        Json::Bool(_) | Json::Object(_) => Value::Other(kind(json)),
    }
}

fn kind(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a truth value",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}
