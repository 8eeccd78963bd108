//! Files of vectors that other tools read: NumPy arrays, Parquet tables and JSON lines.

use std::io::{Error as IoError, Result as IoResult, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array as _, FixedSizeListArray, Float32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use coderag_core::{Embeddings, Error as CoreError, atomic};
use npyz::WriterBuilder as _;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde::Serialize;

use crate::Result;

/// Writes a NumPy array of 32-bit floats, `[texts, dimensions]`, atomically.
///
/// # Errors
/// [`Error::Core`](crate::Error::Core) when the file cannot be written; the old one stays then.
pub fn write_npy(path: &Path, embeddings: &Embeddings) -> Result<()> {
    let shape = [embeddings.len() as u64, embeddings.dimensions() as u64];
    write(path, |file| {
        let mut writer =
            npyz::WriteOptions::new().default_dtype().shape(&shape).writer(file).begin_nd()?;
        writer.extend(embeddings.as_slice().iter().copied())?;
        writer.finish()
    })
}

/// Writes a Parquet table with the columns `text` and `embedding`, a list of 32-bit floats of fixed
/// length, atomically. Each text belongs to the row of the same number.
///
/// # Errors
/// [`Error::Core`](crate::Error::Core) when the file cannot be written; the old one stays then.
pub fn write_parquet(path: &Path, texts: &[&str], embeddings: &Embeddings) -> Result<()> {
    write(path, |file| {
        let batch = record_batch(texts, embeddings).map_err(IoError::other)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .build();
        // The writer wants to be sent to other threads, which `file` cannot be.
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))?;
        writer.write(&batch)?;
        file.write_all(&writer.into_inner()?)
    })
}

/// Writes JSON lines with the keys `text` and `embedding`, atomically.
///
/// # Errors
/// [`Error::Core`](crate::Error::Core) when the file cannot be written; the old one stays then.
pub fn write_json_lines(path: &Path, texts: &[&str], embeddings: &Embeddings) -> Result<()> {
    write(path, |file| json_lines(file, texts, embeddings))
}

/// Writes JSON lines with the keys `text` and `embedding`.
///
/// # Errors
/// What the writer returns.
pub fn json_lines(writer: &mut dyn Write, texts: &[&str], embeddings: &Embeddings) -> IoResult<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        text: &'a str,
        embedding: &'a [f32],
    }
    for (text, embedding) in texts.iter().zip(embeddings.rows()) {
        serde_json::to_writer(&mut *writer, &Line { text, embedding })?;
        writeln!(writer)?;
    }
    Ok(())
}

fn write(path: &Path, content: impl FnOnce(&mut dyn Write) -> IoResult<()>) -> Result<()> {
    atomic::write_file(path, |file| content(file).map_err(CoreError::io("write", path)))?;
    Ok(())
}

fn record_batch(texts: &[&str], embeddings: &Embeddings) -> Result<RecordBatch, ArrowError> {
    let dimensions = i32::try_from(embeddings.dimensions())
        .map_err(|_| ArrowError::InvalidArgumentError("the vectors are too wide".to_owned()))?;
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let values = Float32Array::from(embeddings.as_slice().to_vec());
    let list = FixedSizeListArray::try_new(item, dimensions, Arc::new(values), None)?;
    let schema = Schema::new(vec![
        Field::new("text", DataType::Utf8, false),
        Field::new("embedding", list.data_type().clone(), false),
    ]);
    let texts = StringArray::from_iter_values(texts);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(texts), Arc::new(list)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_has_the_bytes_that_numpy_saves() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.npy");
        let embeddings = Embeddings::new(2, vec![1.0, -2.0, 0.5, 0.0]).unwrap();
        write_npy(&path, &embeddings).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        // https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
        assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
        let header = String::from_utf8_lossy(&bytes[10..bytes.len() - 16]);
        assert!(header.contains("'descr': '<f4'"), "{header}");
        assert!(header.contains("'shape': (2, 2,"), "{header}");
        assert!(header.contains("'fortran_order': False"), "{header}");
        assert_eq!(&bytes[bytes.len() - 16..][..4], 1.0_f32.to_le_bytes());
        assert_eq!(bytes.len() % 16, 0);
    }

    #[test]
    fn lines_keep_texts_and_vectors_together() {
        let embeddings = Embeddings::new(2, vec![1.0, -2.0, 0.5, 0.0]).unwrap();
        let mut lines = Vec::new();
        json_lines(&mut lines, &["a \"b\"", ""], &embeddings).unwrap();
        assert_eq!(
            String::from_utf8(lines).unwrap(),
            "{\"text\":\"a \\\"b\\\"\",\"embedding\":[1.0,-2.0]}\n{\"text\":\"\",\"embedding\":[0.5,0.0]}\n"
        );
    }

    #[test]
    fn a_parquet_table_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.parquet");
        let embeddings = Embeddings::new(2, vec![1.0, -2.0, 0.5, 0.0]).unwrap();
        write_parquet(&path, &["a", "b"], &embeddings).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        let mut reader =
            parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(file, 10).unwrap();
        let batch = reader.next().unwrap().unwrap();
        assert_eq!(batch, record_batch(&["a", "b"], &embeddings).unwrap());
    }
}
