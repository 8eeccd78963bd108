//! Files of texts, read a text at a time.

mod format;
mod json_lines;
mod lines;
mod parquet;

use std::fmt;
use std::io::{Read, stdin};
use std::path::{Path, PathBuf};

pub use format::TextFormat;

use self::json_lines::JsonLines;
use self::lines::LineReader;
use crate::columns::row_count;
use crate::compressed::open;
use crate::csv_column::CsvColumn;
use crate::{Error, Result};

/// Where texts to embed or to search for come from.
///
/// ```no_run
/// use coderag_corpus::TextSource;
///
/// let source = TextSource::new("questions.csv.gz".as_ref(), "question", None)?;
/// let mut texts = source.open()?;
/// loop {
///     let batch = texts.next_batch(1024)?;
///     if batch.is_empty() {
///         break;
///     }
/// }
/// # Ok::<(), coderag_corpus::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TextSource {
    path: PathBuf,
    field: String,
    format: TextFormat,
}

impl TextSource {
    /// The texts of a file, or for `-` of standard input. `field` is the JSON field or the column that
    /// holds them; lines have none. Without a format the file's name tells it. A name that ends in `.gz`
    /// is of a compressed file. Parquet is read from a file alone.
    ///
    /// # Errors
    /// [`Error::NotTexts`] for a name that tells no format.
    pub fn new(path: &Path, field: &str, format: Option<TextFormat>) -> Result<Self> {
        let format = format.or_else(|| TextFormat::of(path));
        let format = format.ok_or_else(|| Error::NotTexts { path: path.to_owned() })?;
        Ok(Self { path: path.to_owned(), field: field.to_owned(), format })
    }

    /// Begins to read.
    ///
    /// # Errors
    /// [`Error::Core`] and [`Error::Parquet`] when the file cannot be read, [`Error::MissingColumn`],
    /// [`Error::ColumnType`].
    pub fn open(&self) -> Result<Texts> {
        let (path, field) = (&self.path, &self.field);
        Ok(Texts(match self.format {
            TextFormat::Lines => Box::new(LineReader::new(path, self.content()?)),
            TextFormat::JsonLines => Box::new(JsonLines::new(path, self.content()?, field)),
            TextFormat::Csv => {
                let column = CsvColumn::new(path, self.content()?, field)?;
                Box::new(column.map(|row| row.map(|(_, text)| text)))
            }
            TextFormat::Parquet => Box::new(parquet::texts(path, field)?),
        }))
    }

    /// How many texts there are, by a pass over the file that is cheap next to embedding them; `None` for
    /// what can be read only once, such as standard input.
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`Error::Row`] for a row that is not valid in its format.
    pub fn count(&self) -> Result<Option<u64>> {
        if self.path == Path::new("-")
            || !std::fs::metadata(&self.path).is_ok_and(|metadata| metadata.is_file())
        {
            return Ok(None);
        }
        Ok(Some(match self.format {
            TextFormat::Parquet => row_count(&self.path)?,
            TextFormat::JsonLines => {
                JsonLines::new(&self.path, self.content()?, &self.field).count()?
            }
            TextFormat::Lines | TextFormat::Csv => {
                self.open()?.try_fold(0, |count, text| text.map(|_| count + 1))?
            }
        }))
    }

    fn content(&self) -> Result<Box<dyn Read + Send>> {
        if self.path == Path::new("-") { Ok(Box::new(stdin())) } else { open(&self.path) }
    }
}

/// The texts of a [`TextSource`] in order. However many there are, only few are in memory at a time.
///
/// Each item is a text, [`Error::Core`] or [`Error::Parquet`] when the file cannot be read further, or
/// [`Error::Row`] for a row without the text.
pub struct Texts(Box<dyn Iterator<Item = Result<String>> + Send>);

impl Texts {
    /// The next texts, at most `most`, and fewer once they are more than 16 MiB; none at the end.
    ///
    /// # Errors
    /// That of the first text that cannot be read; the texts before it in the batch are lost.
    pub fn next_batch(&mut self, most: usize) -> Result<Vec<String>> {
        const BYTES: usize = 16 << 20;
        let mut texts = Vec::new();
        let mut bytes = 0;
        while texts.len() < most && bytes < BYTES {
            let Some(text) = self.next().transpose()? else { break };
            bytes += text.len();
            texts.push(text);
        }
        Ok(texts)
    }
}

impl Iterator for Texts {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl fmt::Debug for Texts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Texts").finish_non_exhaustive()
    }
}

/// Reads all texts of a file, as [`TextSource`] does.
///
/// # Errors
/// Those of [`TextSource::new`], [`TextSource::open`] and [`Texts`].
pub fn read_texts(path: &Path, field: &str) -> Result<Vec<String>> {
    TextSource::new(path, field, None)?.open()?.collect()
}

fn row(path: &Path, place: &'static str, number: u64, message: String) -> Error {
    Error::Row { path: path.to_owned(), place, number, message }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Write as _;
    use std::sync::Arc;

    use ::parquet::arrow::ArrowWriter;
    use arrow::array::{
        ArrayRef, Int32Array, LargeStringArray, RecordBatch, StringArray, StringViewArray,
    };
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    /// The texts, which the count must agree with.
    fn texts(path: &Path) -> Vec<String> {
        let source = TextSource::new(path, "q", None).unwrap();
        let texts: Vec<String> = source.open().unwrap().collect::<Result<_>>().unwrap();
        assert_eq!(source.count().unwrap(), Some(texts.len() as u64), "{}", path.display());
        texts
    }

    fn write_parquet(path: &Path, columns: Vec<(&str, ArrayRef)>) {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let file = File::create(path).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }

    #[test]
    fn every_format_gives_the_same_texts_compressed_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let expected = ["one", "", "two, three", "naïve"];
        for (name, content) in [
            ("a.txt", "one\n\ntwo, three\r\nnaïve"),
            ("b.txt", "\u{feff}one\n\ntwo, three\nnaïve\n"),
            ("a.csv", "id,q\n1,one\n2,\n3,\"two, three\"\n4,naïve\n"),
            ("b.CSV", "\u{feff}q\none\n\"\"\n\"two, three\"\nnaïve"),
            (
                "a.jsonl",
                "{\"q\":\"one\"}\n\n{\"q\":\"\"}\n{\"q\":\"two, three\",\"x\":1}\n{\"q\":\"na\\u00efve\"}",
            ),
            (
                "b.json",
                "{\"q\":\"one\"}\r\n{\"q\":\"\"}\r\n{\"q\":\"two, three\"}\r\n{\"q\":\"naïve\"}\r\n \r\n",
            ),
        ] {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            assert_eq!(texts(&path), expected, "{name}");
            let path = folder.path().join(format!("{name}.gz"));
            let mut file = GzEncoder::new(File::create(&path).unwrap(), Default::default());
            file.write_all(content.as_bytes()).unwrap();
            file.finish().unwrap();
            assert_eq!(texts(&path), expected, "{name}.gz");
        }
        let arrays: [ArrayRef; 3] = [
            Arc::new(StringArray::from(expected.to_vec())),
            Arc::new(LargeStringArray::from(expected.to_vec())),
            Arc::new(StringViewArray::from(expected.to_vec())),
        ];
        for array in arrays {
            let path = folder.path().join("a.parquet");
            let other: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3, 4]));
            write_parquet(&path, vec![("x", other), ("q", array)]);
            assert_eq!(texts(&path), expected);
        }
    }

    #[test]
    fn a_format_can_be_given_for_any_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        fs::write(&path, "{\"q\":\"one\"}\n").unwrap();
        assert!(matches!(TextSource::new(&path, "q", None), Err(Error::NotTexts { .. })));
        let source = TextSource::new(&path, "q", Some(TextFormat::JsonLines)).unwrap();
        assert_eq!(source.open().unwrap().next_batch(10).unwrap(), ["one"]);
        for (name, format) in [
            ("-", Some(TextFormat::Lines)),
            ("a.JSONL.gz", Some(TextFormat::JsonLines)),
            ("a.parquet.gz", None),
            ("csv", None),
            ("a.pdf", None),
        ] {
            assert_eq!(TextFormat::of(name.as_ref()), format, "{name}");
        }
    }

    #[test]
    fn what_can_be_read_once_is_not_counted() {
        let source = TextSource::new("-".as_ref(), "q", None).unwrap();
        assert_eq!(source.count().unwrap(), None);
        let source = TextSource::new("/dev/null".as_ref(), "q", Some(TextFormat::Csv)).unwrap();
        assert_eq!(source.count().unwrap(), None);
    }

    #[test]
    fn a_row_without_the_field_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let refusal = |name: &str, content: &[u8]| {
            fs::write(folder.path().join(name), content).unwrap();
            read_texts(&folder.path().join(name), "q").unwrap_err().to_string()
        };
        for (name, content, message) in [
            ("b.jsonl", "{\"q\":\"one\"}\n{\"x\":1}\n".as_bytes(), "line 2: there is no field `q`"),
            ("b.jsonl", b"\n{\"q\":\"one\"}\n{\"q\":1}\n", "line 3: `q` is not a string"),
            ("b.jsonl", b"[]\n", "line 1: there is no field `q`"),
            ("b.jsonl", b"{\"q\":\"a\"}\n{\"q\":\"\xff\"}\n", "line 2: not UTF-8 text"),
            ("b.txt", b"a\nb\n\xff\n", "line 3: not UTF-8 text"),
            ("b.csv", b"q,x\n1,2\n3\n", "line 3: 1 fields where the header has 2"),
            ("b.csv", b"q\na\n\xff\n", "line 3: not UTF-8 text"),
        ] {
            let refusal = refusal(name, content);
            assert!(refusal.ends_with(&format!("{name}: {message}")), "{refusal}");
        }
        assert!(refusal("b.jsonl", b"{\"q\":\"one\"}\n{\n").contains("line 2: not valid JSON"));
        assert!(refusal("b.csv", b"id\n1\n").ends_with("has no column `q`; it has `id`"));
        assert!(refusal("b.pdf", b"x").contains("b.pdf"));
        assert!(refusal("b.csv.gz", b"q\na\n").contains("b.csv.gz"));
        let path = folder.path().join("b.parquet");
        write_parquet(&path, vec![("q", Arc::new(StringArray::from(vec![Some("a"), None])))]);
        let refusal = read_texts(&path, "q").unwrap_err().to_string();
        assert!(refusal.ends_with("b.parquet: row 2: `q` is null"), "{refusal}");
    }

    #[test]
    fn a_batch_ends_after_as_many_texts_or_after_16_mebibytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        let long = "x".repeat(9 << 20);
        fs::write(&path, format!("a\nb\nc\n{long}\n{long}\nd\n")).unwrap();
        let mut texts = TextSource::new(&path, "", None).unwrap().open().unwrap();
        let mut sizes = Vec::new();
        loop {
            let batch = texts.next_batch(2).unwrap();
            if batch.is_empty() {
                break;
            }
            sizes.push(batch.len());
        }
        assert_eq!(sizes, [2, 2, 2]);
        let mut texts = TextSource::new(&path, "", None).unwrap().open().unwrap();
        assert_eq!(texts.next_batch(10).unwrap().len(), 5);
        assert_eq!(texts.next_batch(10).unwrap(), ["d"]);
    }

    proptest! {
        #[test]
        fn texts_survive_csv_and_json_lines(expected in prop::collection::vec(".*", 0..20)) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.csv");
            let mut writer = csv::Writer::from_path(&path).unwrap();
            writer.write_record(["q", "x"]).unwrap();
            for text in &expected {
                writer.write_record([text, "1"]).unwrap();
            }
            writer.flush().unwrap();
            prop_assert_eq!(&texts(&path), &expected);
            let path = folder.path().join("a.jsonl");
            let lines: String =
                expected.iter().map(|text| serde_json::json!({"q": text}).to_string() + "\n").collect();
            fs::write(&path, lines).unwrap();
            prop_assert_eq!(&texts(&path), &expected);
        }
    }
}
