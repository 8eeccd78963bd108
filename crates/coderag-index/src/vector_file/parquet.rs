use std::fs::File;
use std::io::{Error as IoError, ErrorKind, Result as IoResult, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray as _, FixedSizeListArray, Float32Array, Int8Array, RecordBatch,
    RecordBatchReader as _, StringArray, UInt8Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float32Type, Schema};
use arrow::error::ArrowError;
use coderag_core::{Embeddings, Error as CoreError};
use parquet::arrow::ArrowWriter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::TextVectors;
use crate::quantization::{NumberType, Numbers, QuantizedEmbeddings};
use crate::{Error, Result};

const TEXT: &str = "text";
const EMBEDDING: &str = "embedding";

/// Writes the columns `text` and `embedding`.
#[derive(Debug)]
pub(crate) struct ParquetWriter<W: Write + Send> {
    writer: ArrowWriter<W>,
    schema: Arc<Schema>,
}

impl<W: Write + Send> ParquetWriter<W> {
    pub(crate) fn new(writer: W, width: usize, numbers: NumberType) -> IoResult<Self> {
        /// A row group is held in memory until it is written.
        const ROW_GROUP_BYTES: usize = 64 << 20;
        let list = i32::try_from(width)
            .map(|width| DataType::FixedSizeList(item(numbers), width))
            .map_err(|_| IoError::new(ErrorKind::InvalidInput, "the vectors are too wide"))?;
        let schema = Arc::new(Schema::new(vec![
            Field::new(TEXT, DataType::Utf8, false),
            Field::new(EMBEDDING, list, false),
        ]));
        // The numbers of vectors neither repeat nor help to find a row.
        let values = ColumnPath::from([EMBEDDING, "list", "item"].map(str::to_owned).to_vec());
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_column_dictionary_enabled(values.clone(), false)
            .set_column_statistics_enabled(values, EnabledStatistics::None)
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
            .build();
        let writer = ArrowWriter::try_new(writer, schema.clone(), Some(properties))?;
        Ok(Self { writer, schema })
    }

    /// Writes as many texts as vectors.
    pub(crate) fn write(
        &mut self,
        texts: &[String],
        vectors: &QuantizedEmbeddings,
    ) -> IoResult<()> {
        let batch = self.batch(texts, vectors).map_err(IoError::other)?;
        Ok(self.writer.write(&batch)?)
    }

    pub(crate) fn finish(self) -> IoResult<()> {
        self.writer.into_inner()?.flush()
    }

    fn batch(
        &self,
        texts: &[String],
        vectors: &QuantizedEmbeddings,
    ) -> Result<RecordBatch, ArrowError> {
        let numbers: ArrayRef = match vectors.numbers() {
            Numbers::Float32(values) => Arc::new(Float32Array::from(values.clone())),
            Numbers::Int8(values) => Arc::new(Int8Array::from(values.clone())),
            Numbers::Uint8(values) => Arc::new(UInt8Array::from(values.clone())),
        };
        let width = i32::try_from(vectors.width()).unwrap_or_default();
        let item = item(vectors.number_type());
        let list = FixedSizeListArray::try_new(item, width, numbers, None)?;
        let texts = StringArray::from_iter_values(texts);
        RecordBatch::try_new(self.schema.clone(), vec![Arc::new(texts), Arc::new(list)])
    }
}

fn item(numbers: NumberType) -> Arc<Field> {
    let data_type = match numbers {
        NumberType::Float32 => DataType::Float32,
        NumberType::Int8 => DataType::Int8,
        NumberType::Uint8 => DataType::UInt8,
    };
    Arc::new(Field::new("item", data_type, false))
}

/// A table with a column `embedding`, and perhaps `text`.
pub(crate) struct ParquetVectors {
    path: PathBuf,
    reader: ParquetRecordBatchReaderBuilder<File>,
}

impl ParquetVectors {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(CoreError::io("open", path))?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)
            .map_err(|error| refused(path, error.to_string()))?;
        Ok(Self { path: path.to_owned(), reader })
    }

    /// How many rows there are.
    pub(crate) fn rows(&self) -> u64 {
        u64::try_from(self.reader.metadata().file_metadata().num_rows()).unwrap_or_default()
    }

    /// The vectors, some at a time.
    pub(crate) fn embeddings(self) -> Result<impl Iterator<Item = Result<Embeddings>> + use<>> {
        let path = self.path.clone();
        let batches = self.batches(&[EMBEDDING])?;
        Ok(batches.map(move |batch| {
            embeddings(batch?.column(0)).map_err(|problem| refused(&path, problem))
        }))
    }

    /// Texts and vectors, some at a time.
    pub(crate) fn text_vectors(self) -> Result<impl Iterator<Item = Result<TextVectors>> + use<>> {
        let path = self.path.clone();
        let batches = self.batches(&[TEXT, EMBEDDING])?;
        Ok(batches.map(move |batch| {
            let batch = batch?;
            let refused = |problem| refused(&path, problem);
            let texts = cast(batch.column(0), &DataType::Utf8)
                .map_err(|error| refused(error.to_string()))?;
            let texts = StringArray::from(texts.to_data());
            let texts = texts.iter().map(|text| text.unwrap_or_default().to_owned()).collect();
            let embeddings = embeddings(batch.column(1)).map_err(refused)?;
            Ok(TextVectors { texts, embeddings })
        }))
    }

    /// The record batches, with these columns alone and in this order.
    fn batches(
        self,
        columns: &[&'static str],
    ) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
        let Self { path, reader } = self;
        let mask = ProjectionMask::columns(reader.parquet_schema(), columns.iter().copied());
        let reader = reader
            .with_projection(mask)
            .build()
            .map_err(|error| refused(&path, error.to_string()))?;
        let mut indices = Vec::with_capacity(columns.len());
        for column in columns {
            let index = reader.schema().index_of(column);
            indices.push(index.map_err(|_| refused(&path, format!("no column `{column}`")))?);
        }
        Ok(reader.map(move |batch| {
            let batch = batch.and_then(|batch| batch.project(&indices));
            batch.map_err(|error| refused(&path, error.to_string()))
        }))
    }
}

fn refused(path: &Path, problem: String) -> Error {
    Error::Vectors { path: path.to_owned(), problem }
}

/// The rows of a column of lists, or why they are not vectors of one length.
fn embeddings(column: &ArrayRef) -> Result<Embeddings, String> {
    let not_vectors = || {
        let found = column.data_type();
        format!("`{EMBEDDING}` has the type {found}, expected lists of 32-bit floats")
    };
    let width = match column.data_type() {
        DataType::FixedSizeList(_, width) => *width,
        DataType::List(_) => column.as_list::<i32>().iter().flatten().next().map_or(0, length),
        DataType::LargeList(_) => column.as_list::<i64>().iter().flatten().next().map_or(0, length),
        _ => return Err(not_vectors()),
    };
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    // Lists of another length than the first become null.
    let lists = cast(column, &DataType::FixedSizeList(item, width)).map_err(|_| not_vectors())?;
    let lists = lists.as_fixed_size_list();
    let values = lists.values();
    if lists.null_count() > 0 || values.null_count() > 0 {
        return Err(format!("`{EMBEDDING}` holds nulls, or lists of different lengths"));
    }
    let values = values.as_primitive_opt::<Float32Type>().ok_or_else(not_vectors)?;
    let width = usize::try_from(width).unwrap_or_default();
    Embeddings::new(width, values.values().to_vec()).map_err(|error| error.to_string())
}

fn length(list: ArrayRef) -> i32 {
    i32::try_from(list.len()).unwrap_or_default()
}
