use std::io::{Error as IoError, ErrorKind, Result as IoResult, Write};

use super::parquet::ParquetWriter;
use super::{json_lines, npy};
use crate::quantization::{NumberType, QuantizedEmbeddings};

/// Writes texts and vectors to a stream in one of the formats, batch by batch.
#[derive(Debug)]
pub struct VectorWriter<W: Write + Send>(Format<W>);

#[derive(Debug)]
enum Format<W: Write + Send> {
    Npy { writer: W, rows_left: u64 },
    Parquet(Box<ParquetWriter<W>>),
    JsonLines(W),
}

impl<W: Write + Send> VectorWriter<W> {
    /// Begins a NumPy array, `[rows, width]`.
    ///
    /// # Errors
    /// What the writer returns.
    pub fn npy(mut writer: W, rows: u64, width: usize, numbers: NumberType) -> IoResult<Self> {
        npy::write_header(&mut writer, rows, width, numbers)?;
        Ok(Self(Format::Npy { writer, rows_left: rows }))
    }

    /// Begins a Parquet table. At most 64 MiB of it are in memory.
    ///
    /// # Errors
    /// What the writer returns, and [`ErrorKind::InvalidInput`] for a width above 2^31 - 1.
    pub fn parquet(writer: W, width: usize, numbers: NumberType) -> IoResult<Self> {
        Ok(Self(Format::Parquet(Box::new(ParquetWriter::new(writer, width, numbers)?))))
    }

    /// Begins JSON lines.
    pub fn json_lines(writer: W) -> Self {
        Self(Format::JsonLines(writer))
    }

    /// Writes texts and their vectors.
    ///
    /// # Errors
    /// What the writer returns, and [`ErrorKind::InvalidInput`] where there are not as many texts as
    /// vectors, or more vectors than a NumPy array was to have.
    pub fn write(&mut self, texts: &[String], vectors: &QuantizedEmbeddings) -> IoResult<()> {
        let rows = vectors.len();
        if texts.len() != rows {
            let problem = format!("{} texts, and {rows} vectors", texts.len());
            return Err(IoError::new(ErrorKind::InvalidInput, problem));
        }
        match &mut self.0 {
            Format::Npy { writer, rows_left } => {
                *rows_left = rows_left.checked_sub(rows as u64).ok_or_else(miscounted)?;
                npy::write_numbers(writer, vectors.numbers())
            }
            Format::Parquet(writer) => writer.write(texts, vectors),
            Format::JsonLines(writer) => json_lines::write(writer, texts, vectors),
        }
    }

    /// Writes what a reader needs after the last vector, and flushes.
    ///
    /// # Errors
    /// What the writer returns, and [`ErrorKind::InvalidInput`] where a NumPy array has fewer rows than it
    /// was to have.
    pub fn finish(self) -> IoResult<()> {
        match self.0 {
            Format::Npy { rows_left: 1.., .. } => Err(miscounted()),
            Format::Npy { mut writer, .. } | Format::JsonLines(mut writer) => writer.flush(),
            Format::Parquet(writer) => writer.finish(),
        }
    }

    /// Hands what was written to the reader of the stream; a Parquet table keeps what is not a whole row
    /// group yet.
    ///
    /// # Errors
    /// What the writer returns.
    pub fn flush(&mut self) -> IoResult<()> {
        match &mut self.0 {
            Format::Npy { writer, .. } | Format::JsonLines(writer) => writer.flush(),
            Format::Parquet(_) => Ok(()),
        }
    }
}

fn miscounted() -> IoError {
    IoError::new(ErrorKind::InvalidInput, "the array does not have as many rows as its header says")
}
