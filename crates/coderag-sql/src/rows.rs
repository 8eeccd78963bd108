use rusqlite::Statement;

use crate::value::TextDecoding;
use crate::{Error, Limits, Result, Value};

/// The rows of a statement as far as the limits allow.
pub(crate) struct Rows {
    pub(crate) rows: Vec<Vec<Value>>,
    /// Whether there were more.
    pub(crate) truncated: bool,
}

impl Rows {
    /// Steps through a statement; `failure` sorts what SQLite says on the way.
    pub(crate) fn read(
        statement: &mut Statement<'_>,
        limits: &Limits,
        text: TextDecoding,
        failure: impl Fn(rusqlite::Error) -> Error,
    ) -> Result<Self> {
        let width = statement.column_count();
        let mut rows = Vec::new();
        let mut truncated = false;
        let mut bytes: usize = 0;
        let mut cursor = statement.query([]).map_err(&failure)?;
        'rows: while let Some(row) = cursor.next().map_err(&failure)? {
            truncated = rows.len() == limits.max_rows;
            if truncated {
                break;
            }
            bytes = bytes.saturating_add(size_of::<Vec<Value>>());
            let mut values = Vec::with_capacity(width);
            for column in 0..width {
                let value = row.get_ref(column).map_err(&failure)?;
                bytes = bytes.saturating_add(Value::bytes(value));
                truncated = bytes > limits.max_result_bytes;
                if truncated {
                    break 'rows;
                }
                values.push(Value::of(value, text)?);
            }
            rows.push(values);
        }
        Ok(Self { rows, truncated })
    }
}
