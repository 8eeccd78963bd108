use std::sync::Arc;

use arrow::array::{ArrayRef, ListBuilder, RecordBatch, StringBuilder};
use arrow::error::ArrowError;

use super::shards::{meta, texts};
use crate::row::Row;

/// Rows in the pairs format: `id, task, anchor, positive, negatives, language, source, meta`, of which `negatives`
/// is an empty list and `meta` a JSON object. `coderag train` and `coderag mine` read it, and so does
/// `datasets.load_dataset("parquet", ...)`.
pub(crate) fn pairs(rows: &[Row]) -> Result<RecordBatch, ArrowError> {
    let mut negatives = ListBuilder::new(StringBuilder::new());
    rows.iter().for_each(|_| negatives.append(true));
    let meta: Vec<String> = rows.iter().map(|row| meta(&row.meta, row.category)).collect();
    let column = |text: fn(&Row) -> &str| -> ArrayRef { texts(rows.iter().map(text)) };
    RecordBatch::try_from_iter([
        ("id", column(|row| &row.id)),
        ("task", column(|row| &row.task)),
        ("anchor", column(|row| &row.anchor)),
        ("positive", column(|row| &row.positive)),
        ("negatives", Arc::new(negatives.finish()) as ArrayRef),
        ("language", column(|row| row.language.id())),
        ("source", column(|row| &row.source)),
        ("meta", texts(meta.iter().map(String::as_str))),
    ])
}
