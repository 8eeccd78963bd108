use std::fmt::{self, Write as _};

use rusqlite::types::ValueRef;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::{Error, Result};

/// A value in one of SQLite's five storage classes (<https://www.sqlite.org/datatype3.html>).
///
/// In JSON: `null`, a number, a number, a string, and `{"blob": "68656c6c6f"}` for a blob. SQLite's
/// infinities, which JSON cannot hold as numbers, are `{"real": "Infinity"}` and
/// `{"real": "-Infinity"}`.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// A 64-bit signed integer.
    Integer(i64),
    /// A 64-bit float, possibly infinite, never NaN.
    Real(f64),
    /// Text; what happens to bytes that are not UTF-8, [`TextDecoding`] says.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

/// What becomes of text in a database that is not UTF-8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextDecoding {
    /// Each bad sequence becomes U+FFFD.
    #[default]
    Replace,
    /// Bad sequences are left out, as Python's `bytes.decode(errors="ignore")` does.
    Ignore,
    /// The statement fails with [`Error::TextNotUtf8`], as Python's sqlite3 module does by itself.
    Refuse,
}

impl TextDecoding {
    fn decode(self, bytes: &[u8]) -> Result<String> {
        match self {
            Self::Replace => Ok(String::from_utf8_lossy(bytes).into_owned()),
            Self::Ignore => Ok(bytes.utf8_chunks().map(|chunk| chunk.valid()).collect()),
            Self::Refuse => match str::from_utf8(bytes) {
                Ok(text) => Ok(text.to_owned()),
                Err(_) => Err(Error::TextNotUtf8),
            },
        }
    }
}

impl Value {
    /// How much of [`Limits::max_result_bytes`](crate::Limits::max_result_bytes) a value takes: what it
    /// takes in memory.
    pub(crate) fn bytes(value: ValueRef<'_>) -> usize {
        size_of::<Self>()
            + match value {
                ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => 0,
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len(),
            }
    }

    pub(crate) fn of(value: ValueRef<'_>, decoding: TextDecoding) -> Result<Self> {
        Ok(match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(value) => Self::Integer(value),
            ValueRef::Real(value) => Self::Real(value),
            ValueRef::Text(bytes) => Self::Text(decoding.decode(bytes)?),
            ValueRef::Blob(bytes) => Self::Blob(bytes.to_owned()),
        })
    }
}

/// As SQL would write it, but text without quotes: `NULL`, `7`, `0.5`, `Lisbon`, `x'68656c6c6f'`.
impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => formatter.write_str("NULL"),
            Self::Integer(value) => write!(formatter, "{value}"),
            // With a decimal point, so that a real number is told from an integer.
            Self::Real(value) => write!(formatter, "{value:?}"),
            Self::Text(text) => formatter.write_str(text),
            Self::Blob(bytes) => write!(formatter, "x'{}'", hexadecimal(bytes)),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Integer(value) => serializer.serialize_i64(*value),
            Self::Real(value) if value.is_finite() => serializer.serialize_f64(*value),
            Self::Real(value) if *value > 0.0 => tagged(serializer, "real", "Infinity"),
            Self::Real(_) => tagged(serializer, "real", "-Infinity"),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Blob(bytes) => tagged(serializer, "blob", &hexadecimal(bytes)),
        }
    }
}

fn tagged<S: Serializer>(serializer: S, key: &str, value: &str) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(key, value)?;
    map.end()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut digits, byte| {
        // Writing to a String cannot fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}
