//! Rows in the columns of gretelai/synthetic_text_to_sql
//! (<https://huggingface.co/datasets/gretelai/synthetic_text_to_sql>).

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;

/// One question with its SQL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GretelRow {
    pub(crate) id: i32,
    pub(crate) domain: String,
    pub(crate) domain_description: String,
    pub(crate) sql_complexity: String,
    pub(crate) sql_complexity_description: String,
    pub(crate) sql_task_type: String,
    pub(crate) sql_task_type_description: String,
    pub(crate) sql_prompt: String,
    pub(crate) sql_context: String,
    pub(crate) sql: String,
    pub(crate) sql_explanation: String,
}

/// A text column and where its values are.
type TextColumn = (&'static str, fn(&GretelRow) -> &str);

/// The columns after `id`, in gretel's order.
const TEXTS: [TextColumn; 10] = [
    ("domain", |row| &row.domain),
    ("domain_description", |row| &row.domain_description),
    ("sql_complexity", |row| &row.sql_complexity),
    ("sql_complexity_description", |row| &row.sql_complexity_description),
    ("sql_task_type", |row| &row.sql_task_type),
    ("sql_task_type_description", |row| &row.sql_task_type_description),
    ("sql_prompt", |row| &row.sql_prompt),
    ("sql_context", |row| &row.sql_context),
    ("sql", |row| &row.sql),
    ("sql_explanation", |row| &row.sql_explanation),
];

/// The columns of the data set, of which `id` is a 32-bit integer and the others are text.
pub(crate) fn schema() -> Schema {
    let id = Field::new("id", DataType::Int32, false);
    let texts = TEXTS.map(|(name, _)| Field::new(name, DataType::Utf8, false));
    Schema::new(std::iter::once(id).chain(texts).collect::<Vec<_>>())
}

/// The rows by columns.
///
/// # Errors
/// [`ArrowError`] when the texts of a column are larger than Arrow can count, 2 GiB.
pub(crate) fn record_batch(rows: &[GretelRow]) -> Result<RecordBatch, ArrowError> {
    let mut columns: Vec<ArrayRef> =
        vec![Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.id)))];
    for (_, value) in TEXTS {
        let bytes: usize = rows.iter().map(|row| value(row).len()).sum();
        if i32::try_from(bytes).is_err() {
            return Err(ArrowError::OffsetOverflowError(bytes));
        }
        columns.push(Arc::new(StringArray::from_iter_values(rows.iter().map(value))));
    }
    RecordBatch::try_new(Arc::new(schema()), columns)
}

#[cfg(test)]
mod tests {
    use coderag_corpus::read_scripts;
    use parquet::arrow::ArrowWriter;

    use super::*;

    #[test]
    fn a_file_is_read_back_as_gretels() {
        let row = |id: i32, context: &str| GretelRow {
            id,
            domain: "retail".to_owned(),
            domain_description: "Stores, customers and sales.".to_owned(),
            sql_context: context.to_owned(),
            ..GretelRow::default()
        };
        let rows = [row(1, "CREATE TABLE a (b INT);"), row(2, "CREATE TABLE c (d TEXT);")];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gretel.parquet");
        let file = std::fs::File::create(&path).unwrap();
        let mut writer = ArrowWriter::try_new(file, Arc::new(schema()), None).unwrap();
        writer.write(&record_batch(&rows).unwrap()).unwrap();
        writer.close().unwrap();
        let scripts = read_scripts(&path).unwrap();
        assert_eq!(scripts.len(), 2);
        for (script, row) in scripts.iter().zip(&rows) {
            assert_eq!(script.text, row.sql_context);
            let domain = (row.domain.clone(), row.domain_description.clone());
            assert_eq!(script.domain, Some(domain));
        }
        let titles: Vec<String> = coderag_corpus::gretel::read_parquet(&path)
            .unwrap()
            .into_iter()
            .map(|document| document.title)
            .collect();
        assert_eq!(titles, ["a", "c"]);
    }
}
