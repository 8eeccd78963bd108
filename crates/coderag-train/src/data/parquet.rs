use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, ListArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use coderag_core::Error as CoreError;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

use super::row::{Value, example};
use super::{Columns, Example};
use crate::{Error, Result};

/// Gives each row, with its number counted from 1, to `visit`: an example, or why there is none.
pub(super) fn read(
    path: &Path,
    columns: &Columns,
    visit: &mut dyn FnMut(u64, Result<Example, String>) -> Result<()>,
) -> Result<()> {
    let refused = |source: ParquetError| Error::Parquet { path: path.to_owned(), source };
    let refused_batch = |error: ArrowError| refused(ParquetError::from(error));
    let file = File::open(path).map_err(CoreError::io("open", path))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(refused)?;
    let schema = Arc::clone(builder.schema());
    let negatives = negatives(path, columns, &schema)?;
    let mut wanted: Vec<(usize, &str, Kind)> = Vec::new();
    for name in [&columns.anchor, &columns.positive] {
        wanted.push(find(path, &schema, name, &[Kind::Text])?);
    }
    for name in &negatives {
        wanted.push(find(path, &schema, name, &[Kind::Text, Kind::Texts])?);
    }
    if let Some(name) = &columns.scores {
        wanted.push(find(path, &schema, name, &[Kind::Numbers])?);
    }
    // A projected batch has its columns in the order of the file.
    wanted.sort_unstable();
    wanted.dedup();
    let positions = wanted.iter().map(|(position, ..)| *position);
    let mask = ProjectionMask::roots(builder.parquet_schema(), positions);
    let reader = builder.with_projection(mask).build().map_err(refused)?;
    let mut number = 0;
    for batch in reader {
        let batch = batch.map_err(refused_batch)?;
        let mut read = Vec::with_capacity(wanted.len());
        for ((_, name, kind), array) in wanted.iter().zip(batch.columns()) {
            read.push((*name, Column::new(*kind, array).map_err(refused_batch)?));
        }
        for row in 0..batch.num_rows() {
            number += 1;
            let value = |name: &str| {
                let column = read.iter().find(|(column, _)| *column == name);
                column.map_or(Value::Absent, |(_, column)| column.value(row))
            };
            visit(number, example(columns, &negatives, value))?;
        }
    }
    Ok(())
}

/// The columns with negatives, less those without any value.
fn negatives<'a>(path: &Path, columns: &Columns, schema: &'a Schema) -> Result<Vec<&'a str>> {
    let mut found = columns.negatives(schema.fields().iter().map(|field| field.name().as_str()));
    if let ([], Some(name)) = (&found[..], &columns.negatives) {
        return Err(missing(path, name, schema));
    }
    found.retain(|name| {
        schema.field_with_name(name).is_ok_and(|field| *field.data_type() != DataType::Null)
    });
    Ok(found)
}

fn find<'a>(
    path: &Path,
    schema: &Schema,
    name: &'a str,
    kinds: &[Kind],
) -> Result<(usize, &'a str, Kind)> {
    let Some((position, field)) = schema.column_with_name(name) else {
        return Err(missing(path, name, schema));
    };
    match Kind::of(field.data_type()).filter(|kind| kinds.contains(kind)) {
        Some(kind) => Ok((position, name, kind)),
        // A list of nulls, as is written where every list is empty, fits any list.
        None if empty_lists(field.data_type()) && !kinds.contains(&Kind::Numbers) => {
            Ok((position, name, Kind::Texts))
        }
        None => Err(Error::ColumnType {
            path: path.to_owned(),
            column: name.to_owned(),
            found: field.data_type().to_string(),
            expected: kinds.iter().map(|kind| kind.words()).collect::<Vec<_>>().join(" or "),
        }),
    }
}

fn missing(path: &Path, name: &str, schema: &Schema) -> Error {
    let found = schema.fields().iter().map(|field| field.name().clone()).collect();
    Error::MissingColumn { path: path.to_owned(), column: name.to_owned(), found }
}

/// What a column holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Text,
    Texts,
    Numbers,
}

impl Kind {
    fn of(data_type: &DataType) -> Option<Self> {
        match item_type(data_type) {
            Some(item) if is_text(item) => Some(Self::Texts),
            Some(item) if item.is_numeric() => Some(Self::Numbers),
            None if is_text(data_type) => Some(Self::Text),
            _ => None,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Texts => "a list of texts",
            Self::Numbers => "a list of numbers",
        }
    }
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

fn item_type(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Some(item.data_type())
        }
        _ => None,
    }
}

fn empty_lists(data_type: &DataType) -> bool {
    item_type(data_type) == Some(&DataType::Null)
}

/// The values of a column in one batch, in the plainest type.
enum Column {
    Text(StringArray),
    Texts(ListArray, StringArray),
    Numbers(ListArray, Float64Array),
}

impl Column {
    fn new(kind: Kind, array: &ArrayRef) -> Result<Self, ArrowError> {
        let list = |item: DataType| -> Result<ListArray, ArrowError> {
            let list = DataType::List(Arc::new(Field::new_list_field(item, true)));
            Ok(ListArray::from(cast(array, &list)?.to_data()))
        };
        Ok(match kind {
            Kind::Text => Self::Text(StringArray::from(cast(array, &DataType::Utf8)?.to_data())),
            Kind::Texts => {
                let lists = list(DataType::Utf8)?;
                let items = StringArray::from(lists.values().to_data());
                Self::Texts(lists, items)
            }
            Kind::Numbers => {
                let lists = list(DataType::Float64)?;
                let items = Float64Array::from(lists.values().to_data());
                Self::Numbers(lists, items)
            }
        })
    }

    fn value(&self, row: usize) -> Value<'_> {
        match self {
            Self::Text(texts) if texts.is_null(row) => Value::Null,
            Self::Text(texts) => Value::Text(texts.value(row)),
            Self::Texts(lists, items) => {
                list(lists, items, row, |index| Value::Text(items.value(index)))
            }
            Self::Numbers(lists, items) => {
                list(lists, items, row, |index| Value::Number(items.value(index)))
            }
        }
    }
}

fn list<'a>(
    lists: &ListArray,
    items: &dyn Array,
    row: usize,
    value: impl Fn(usize) -> Value<'a>,
) -> Value<'a> {
    if lists.is_null(row) {
        return Value::Null;
    }
    let offsets = lists.offsets();
    let range = offsets[row] as usize..offsets[row + 1] as usize;
    Value::List(
        range.map(|index| if items.is_null(index) { Value::Null } else { value(index) }).collect(),
    )
}
