use std::io::{Error as IoError, Result as IoResult, Write};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Builder, ListBuilder, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::{Row, RowWriter};

/// Writes the columns `anchor` and `positive`, texts, `negatives`, lists of texts, and perhaps `scores`, lists of
/// 32-bit floats.
pub(super) struct ParquetWriter<W: Write + Send> {
    writer: ArrowWriter<W>,
    schema: Arc<Schema>,
    anchors: StringBuilder,
    positives: StringBuilder,
    negatives: ListBuilder<StringBuilder>,
    scores: Option<ListBuilder<Float32Builder>>,
    rows: usize,
    bytes: usize,
}

impl<W: Write + Send> ParquetWriter<W> {
    pub(super) fn new(file: W, scores: bool) -> IoResult<Self> {
        /// A row group is held in memory until it is written.
        const ROW_GROUP_BYTES: usize = 64 << 20;
        let text = |name| Field::new(name, DataType::Utf8, false);
        let list = |name, item: &Arc<Field>| Field::new(name, DataType::List(item.clone()), false);
        let text_item = Arc::new(Field::new_list_field(DataType::Utf8, false));
        let score_item = Arc::new(Field::new_list_field(DataType::Float32, false));
        let mut fields = vec![text("anchor"), text("positive"), list("negatives", &text_item)];
        if scores {
            fields.push(list("scores", &score_item));
        }
        let schema = Arc::new(Schema::new(fields));
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
            .build();
        Ok(Self {
            writer: ArrowWriter::try_new(file, schema.clone(), Some(properties))?,
            schema,
            anchors: StringBuilder::new(),
            positives: StringBuilder::new(),
            negatives: ListBuilder::new(StringBuilder::new()).with_field(text_item),
            scores: scores.then(|| ListBuilder::new(Float32Builder::new()).with_field(score_item)),
            rows: 0,
            bytes: 0,
        })
    }

    fn write_batch(&mut self) -> IoResult<()> {
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(self.anchors.finish()),
            Arc::new(self.positives.finish()),
            Arc::new(self.negatives.finish()),
        ];
        if let Some(scores) = &mut self.scores {
            columns.push(Arc::new(scores.finish()));
        }
        let batch = RecordBatch::try_new(self.schema.clone(), columns).map_err(IoError::other)?;
        (self.rows, self.bytes) = (0, 0);
        Ok(self.writer.write(&batch)?)
    }
}

impl<W: Write + Send> RowWriter for ParquetWriter<W> {
    fn write(&mut self, row: &Row<'_>) -> IoResult<()> {
        /// What is gathered before it is given to the writer.
        const ROWS: usize = 1024;
        const BYTES: usize = 16 << 20;
        self.anchors.append_value(row.anchor);
        self.positives.append_value(row.positive);
        self.bytes += row.anchor.len() + row.positive.len();
        for negative in row.negatives {
            self.negatives.values().append_value(negative);
            self.bytes += negative.len();
        }
        self.negatives.append(true);
        if let Some(scores) = &mut self.scores {
            scores.values().append_slice(row.scores.unwrap_or_default());
            scores.append(true);
        }
        self.rows += 1;
        if self.rows >= ROWS || self.bytes >= BYTES { self.write_batch() } else { Ok(()) }
    }

    fn finish(mut self: Box<Self>) -> IoResult<()> {
        if self.rows > 0 {
            self.write_batch()?;
        }
        self.writer.into_inner()?.flush()
    }
}
