use std::fs::File;
use std::path::Path;

use arrow::array::{Array, StringArray};
use arrow::compute::{can_cast_types, cast};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

use crate::{Error, Result};

/// The names of a Parquet file's columns.
pub(crate) fn column_names(path: &Path) -> Result<Vec<String>> {
    let builder = open(path)?;
    Ok(builder.schema().fields().iter().map(|field| field.name().clone()).collect())
}

/// How many rows a Parquet file has, as its metadata says.
pub(crate) fn row_count(path: &Path) -> Result<u64> {
    let rows = open(path)?.metadata().file_metadata().num_rows();
    Ok(u64::try_from(rows).unwrap_or_default())
}

/// Gives each row's values of the named columns to `row`, with the row's number, counted from 1.
/// Any type that has a text form is taken.
pub(crate) fn for_each_row<const N: usize>(
    path: &Path,
    columns: [&str; N],
    mut row: impl FnMut(u64, [Option<&str>; N]) -> Result<()>,
) -> Result<()> {
    let mut number = 0;
    for arrays in batches(path, columns)? {
        let arrays = arrays?;
        for position in 0..arrays.first().map_or(0, |array| array.len()) {
            number += 1;
            let mut values = [None; N];
            for (value, array) in values.iter_mut().zip(&arrays) {
                *value = array.is_valid(position).then(|| array.value(position));
            }
            row(number, values)?;
        }
    }
    Ok(())
}

/// The named columns of a Parquet file, some rows at a time; nothing else is read. Any type that has a
/// text form is taken.
pub(crate) fn batches<const N: usize>(
    path: &Path,
    columns: [&str; N],
) -> Result<impl Iterator<Item = Result<Vec<StringArray>>> + Send + use<N>> {
    let builder = open(path)?;
    let schema = builder.schema().clone();
    for column in columns {
        let Ok(field) = schema.field_with_name(column) else {
            let found = schema.fields().iter().map(|field| field.name().clone()).collect();
            let (path, column) = (path.to_owned(), column.to_owned());
            return Err(Error::MissingColumn { path, column, found });
        };
        if field.data_type().is_nested() || !can_cast_types(field.data_type(), &DataType::Utf8) {
            let found = field.data_type().to_string();
            let (path, column) = (path.to_owned(), column.to_owned());
            return Err(Error::ColumnType { path, column, found });
        }
    }
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns);
    let mut reader = builder.with_projection(mask).build().map_err(refused(path))?;
    let columns = columns.map(str::to_owned);
    let path = path.to_owned();
    let mut next = move || -> Result<Option<Vec<StringArray>>, ArrowError> {
        let Some(batch) = reader.next().transpose()? else { return Ok(None) };
        let mut arrays = Vec::with_capacity(N);
        for column in &columns {
            let index = batch.schema().index_of(column)?;
            let array = cast(batch.column(index), &DataType::Utf8)?;
            arrays.push(StringArray::from(array.to_data()));
        }
        Ok(Some(arrays))
    };
    let refused = move |error| refused(&path)(ParquetError::from(error));
    Ok(std::iter::from_fn(move || next().map_err(&refused).transpose()))
}

fn open(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    ParquetRecordBatchReaderBuilder::try_new(file).map_err(refused(path))
}

fn refused(path: &Path) -> impl FnOnce(ParquetError) -> Error {
    let path = path.to_owned();
    move |source| Error::Parquet { action: "read", path, source }
}
