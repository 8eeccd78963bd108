use std::io::{BufRead, BufReader, stdin};
use std::path::Path;

use serde_json::Value;

use crate::columns::for_each_row;
use crate::gretel::{for_each_csv_value, open};
use crate::{Error, Result};

/// Reads texts to embed or to search for, in order: the lines of a `.txt` file or, for `-`, of standard
/// input, or else the values of `field` in a `.csv`, `.jsonl`, `.json` (lines) or `.parquet` file. All
/// but Parquet may be compressed as `.gz`. Empty lines of text are empty texts, so that texts and
/// results stay in step.
///
/// # Errors
/// [`Error::NotTexts`] for another kind of file, [`Error::Core`] when the file cannot be read,
/// [`Error::MissingColumn`], [`Error::ColumnType`], and [`Error::Row`] for a row without the field.
pub fn read_texts(path: &Path, field: &str) -> Result<Vec<String>> {
    if path == Path::new("-") {
        return lines(path, stdin().lock());
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let extension = name.trim_end_matches(".gz").rsplit_once('.').map_or("", |(_, after)| after);
    let mut texts = Vec::new();
    match extension {
        "txt" => texts = lines(path, BufReader::new(open(path)?))?,
        "csv" => for_each_csv_value(path, field, |_, text| texts.push(text.to_owned()))?,
        "jsonl" | "json" => {
            for (number, line) in (1..).zip(lines(path, BufReader::new(open(path)?))?) {
                if !line.trim().is_empty() {
                    texts.push(json_field(path, number, &line, field)?);
                }
            }
        }
        "parquet" => for_each_row(path, [field], |number, [text]| {
            let text =
                text.ok_or_else(|| row(path, "row", number, format!("`{field}` is null")))?;
            texts.push(text.to_owned());
            Ok(())
        })?,
        _ => return Err(Error::NotTexts { path: path.to_owned() }),
    }
    Ok(texts)
}

fn lines(path: &Path, reader: impl BufRead) -> Result<Vec<String>> {
    reader.lines().collect::<std::io::Result<_>>().map_err(Error::io("read", path))
}

fn json_field(path: &Path, number: u64, line: &str, field: &str) -> Result<String> {
    let object: Value = serde_json::from_str(line)
        .map_err(|error| row(path, "line", number, format!("not valid JSON: {error}")))?;
    match object.get(field) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(row(path, "line", number, format!("`{field}` is not a string"))),
        None => Err(row(path, "line", number, format!("there is no field `{field}`"))),
    }
}

fn row(path: &Path, place: &'static str, number: u64, message: String) -> Error {
    Error::Row { path: path.to_owned(), place, number, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_gives_the_same_texts() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| {
            std::fs::write(folder.path().join(name), content).unwrap();
            read_texts(&folder.path().join(name), "q").unwrap()
        };
        assert_eq!(write("a.txt", "one\n\ntwo, three\n"), ["one", "", "two, three"]);
        assert_eq!(
            write("a.csv", "id,q\n1,one\n2,\n3,\"two, three\"\n"),
            ["one", "", "two, three"]
        );
        let json_lines = "{\"q\":\"one\"}\n\n{\"q\":\"\"}\n{\"q\":\"two, three\",\"x\":1}";
        assert_eq!(write("a.jsonl", json_lines), ["one", "", "two, three"]);
    }

    #[test]
    fn a_row_without_the_field_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let refusal = |name: &str, content: &str| {
            std::fs::write(folder.path().join(name), content).unwrap();
            read_texts(&folder.path().join(name), "q").unwrap_err().to_string()
        };
        let message = refusal("b.jsonl", "{\"q\":\"one\"}\n{\"x\":1}\n");
        assert!(message.ends_with("b.jsonl: line 2: there is no field `q`"), "{message}");
        assert!(refusal("b.csv", "id\n1\n").ends_with("has no column `q`; it has `id`"));
        assert!(refusal("b.pdf", "x").contains("b.pdf"));
    }
}
