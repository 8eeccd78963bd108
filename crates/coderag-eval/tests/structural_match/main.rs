//! The structural match: pairs by hand, SQLite as the judge of soundness, Spider's gold queries,
//! and hostile input.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod generate;
mod hostile;
mod mutate;
mod pairs;
mod soundness;
mod spider;

use coderag_eval::structure::{NormalizationOptions, SchemaColumns, SelectOrder, Values};
use rusqlite::Connection;
use rusqlite::types::ValueRef;

/// What does not change the result, column for column.
pub(crate) const KEPT: NormalizationOptions =
    NormalizationOptions { select_order: SelectOrder::Kept, values: Values::Compared };

/// What changes neither the columns nor, but for its values, the conditions.
pub(crate) const LOOSEST: NormalizationOptions =
    NormalizationOptions { select_order: SelectOrder::Ignored, values: Values::Ignored };

/// The columns of the generated database.
pub(crate) fn schema() -> SchemaColumns {
    let tables = generate::TABLES.iter();
    tables.map(|(table, columns)| (*table, columns.iter().map(|(name, _)| *name))).collect()
}

/// The rows of a result, or why there are none; numbers as SQLite compares them.
pub(crate) fn rows(connection: &Connection, sql: &str) -> Result<Vec<String>, String> {
    let mut statement = connection.prepare(sql).map_err(|error| error.to_string())?;
    let columns = statement.column_count();
    let mut cursor = statement.query([]).map_err(|error| error.to_string())?;
    let mut rows = Vec::new();
    while let Some(row) = cursor.next().map_err(|error| error.to_string())? {
        let value = |column| match row.get_ref_unwrap(column) {
            ValueRef::Null => "NULL".to_owned(),
            ValueRef::Integer(value) => format!("{:?}", value as f64),
            ValueRef::Real(value) => format!("{value:?}"),
            ValueRef::Text(text) => format!("{:?}", String::from_utf8_lossy(text)),
            ValueRef::Blob(blob) => format!("{blob:?}"),
        };
        rows.push((0..columns).map(value).collect::<Vec<_>>().join("|"));
    }
    Ok(rows)
}

/// The rows without their order.
pub(crate) fn bag(connection: &Connection, sql: &str) -> Result<Vec<String>, String> {
    let mut rows = rows(connection, sql)?;
    rows.sort_unstable();
    Ok(rows)
}
