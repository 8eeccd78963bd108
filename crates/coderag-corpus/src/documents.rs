//! The `documents` Parquet file, the form in which a corpus is stored and exchanged.
//!
//! Eight columns, all non-null strings: `id`, `kind`, `title`, `text`, `source`, `language`, `meta`
//! (a JSON object) and `sha256` (of `text`, in hexadecimal).

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use coderag_core::{Digest, Document, atomic};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use serde_json::Value;

use crate::columns::for_each_row;
use crate::{Error, Result};

/// The columns in order.
pub const COLUMNS: [&str; 8] =
    ["id", "kind", "title", "text", "source", "language", "meta", "sha256"];

/// Whether a Parquet file with these columns is a `documents` file.
pub(crate) fn is_file(columns: &[String]) -> bool {
    COLUMNS.iter().all(|ours| columns.iter().any(|name| name == ours))
}

/// Writes documents; the file appears whole or not at all.
///
/// # Errors
/// [`Error::Core`] when the file cannot be written, [`Error::Parquet`].
pub fn write(path: &Path, documents: &[Document]) -> Result<()> {
    let bytes = encode(documents).map_err(|source| Error::Parquet {
        action: "write",
        path: path.to_owned(),
        source,
    })?;
    atomic::write_file(path, |file| file.write_all(&bytes).map_err(Error::io("write", path)))
}

/// Reads documents that [`write`] wrote, or another tool in the same columns.
///
/// # Errors
/// [`Error::Core`] and [`Error::Parquet`] when the file cannot be read, [`Error::MissingColumn`],
/// [`Error::ColumnType`], and [`Error::Row`] for a null, a meta that is not a JSON object or a text
/// that does not have its digest.
pub fn read(path: &Path) -> Result<Vec<Document>> {
    let mut documents = Vec::new();
    for_each_row(path, COLUMNS, |number, values| {
        let refused = |message| Error::Row { path: path.to_owned(), place: "row", number, message };
        let mut owned = [const { String::new() }; COLUMNS.len()];
        for ((owned, value), column) in owned.iter_mut().zip(values).zip(COLUMNS) {
            value.ok_or_else(|| refused(format!("`{column}` is null")))?.clone_into(owned);
        }
        let [id, kind, title, text, source, language, meta, sha256] = owned;
        let meta = match serde_json::from_str(&meta) {
            Ok(Value::Object(meta)) => meta,
            Ok(_) => return Err(refused("`meta` is not a JSON object".to_owned())),
            Err(error) => return Err(refused(format!("`meta` is not JSON: {error}"))),
        };
        let sha256 = sha256.parse().map_err(|error| refused(format!("`sha256`: {error}")))?;
        if sha256 != Digest::of(&text) {
            return Err(refused("`text` was changed: it does not have the digest `sha256`".into()));
        }
        documents.push(Document { id, kind, title, text, source, language, meta, sha256 });
        Ok(())
    })?;
    Ok(documents)
}

fn encode(documents: &[Document]) -> Result<Vec<u8>, ParquetError> {
    /// Rows of a batch, so that the columns of a large corpus are not held twice.
    const BATCH: usize = 8192;
    let fields = COLUMNS.map(|column| Field::new(column, DataType::Utf8, false));
    let schema = Arc::new(Schema::new(fields.to_vec()));
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, schema.clone(), Some(properties))?;
    for batch in documents.chunks(BATCH) {
        let column = |value: fn(&Document) -> String| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(batch.iter().map(value)))
        };
        let columns = vec![
            column(|document| document.id.clone()),
            column(|document| document.kind.clone()),
            column(|document| document.title.clone()),
            column(|document| document.text.clone()),
            column(|document| document.source.clone()),
            column(|document| document.language.clone()),
            column(|document| Value::Object(document.meta.clone()).to_string()),
            column(|document| document.sha256.to_string()),
        ];
        writer.write(&RecordBatch::try_new(schema.clone(), columns)?)?;
    }
    writer.close()?;
    Ok(bytes)
}
