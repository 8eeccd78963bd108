use arrow::array::{ArrayRef, RecordBatch};
use arrow::error::ArrowError;

use super::shards::{meta, texts};
use crate::row::RejectedRow;

/// Rejected candidates: the columns of pairs without `negatives`, and `gate`, `reason` and the model's `answer`.
pub(crate) fn rejected(rows: &[RejectedRow]) -> Result<RecordBatch, ArrowError> {
    let meta: Vec<String> = rows.iter().map(|row| meta(&row.meta, row.category)).collect();
    let column = |text: fn(&RejectedRow) -> &str| -> ArrayRef { texts(rows.iter().map(text)) };
    RecordBatch::try_from_iter([
        ("id", column(|row| &row.id)),
        ("task", column(|row| &row.task)),
        ("gate", column(|row| row.gate.id())),
        ("reason", column(|row| &row.reason)),
        ("anchor", column(|row| &row.anchor)),
        ("positive", column(|row| &row.positive)),
        ("answer", column(|row| &row.answer)),
        ("language", column(|row| row.language.id())),
        ("source", column(|row| &row.source)),
        ("meta", texts(meta.iter().map(String::as_str))),
    ])
}
