//! Database values as Python compares and prints them, which is what the official scorers go by.

use std::fmt::Write as _;

use coderag_sql::Value;

/// A value such that two keys are equal, and hash alike, exactly when Python says so of the values:
/// `1 == 1.0`, but `1 != '1'` and `b'a' != 'a'`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Key<'v> {
    Null,
    /// An integer, or a real number that is one.
    Integer(i64),
    /// The bits of any other real number.
    Real(u64),
    Text(&'v str),
    Blob(&'v [u8]),
}

impl<'v> Key<'v> {
    pub(crate) fn of(value: &'v Value) -> Self {
        /// 2^63, the first real number above every 64-bit integer.
        const ABOVE_INTEGERS: f64 = 9_223_372_036_854_775_808.0;
        match value {
            Value::Null => Self::Null,
            Value::Integer(value) => Self::Integer(*value),
            #[expect(clippy::cast_possible_truncation, reason = "only whole numbers in range")]
            Value::Real(value)
                if value.fract() == 0.0 && (-ABOVE_INTEGERS..ABOVE_INTEGERS).contains(value) =>
            {
                Self::Integer(*value as i64)
            }
            Value::Real(value) => Self::Real(value.to_bits()),
            Value::Text(text) => Self::Text(text),
            Value::Blob(bytes) => Self::Blob(bytes),
        }
    }
}

/// `str(value) + str(type(value))`, by which the official quick reject sorts the values of a row.
pub(crate) fn text_and_type(value: &Value) -> String {
    match value {
        Value::Null => "None<class 'NoneType'>".to_owned(),
        Value::Integer(value) => format!("{value}<class 'int'>"),
        Value::Real(value) => format!("{}<class 'float'>", float_text(*value)),
        Value::Text(text) => format!("{text}<class 'str'>"),
        Value::Blob(bytes) => format!("{}<class 'bytes'>", bytes_text(bytes)),
    }
}

/// `str(float)`: the shortest digits that read back, with an exponent below 1e-4 and from 1e16 on.
fn float_text(value: f64) -> String {
    if !value.is_finite() {
        return if value.is_nan() {
            "nan"
        } else if value > 0.0 {
            "inf"
        } else {
            "-inf"
        }
        .to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..16).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
        }
        // With a decimal point even where the number is whole.
        _ => format!("{value:?}"),
    }
}

/// `str(bytes)`.
fn bytes_text(bytes: &[u8]) -> String {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { '"' } else { '\'' };
    let mut text = format!("b{quote}");
    for byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b'\t' => text.push_str("\\t"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b' '..=b'~' if char::from(*byte) == quote => {
                text.push('\\');
                text.push(quote);
            }
            b' '..=b'~' => text.push(char::from(*byte)),
            // Writing to a String cannot fail.
            _ => drop(write!(text, "\\x{byte:02x}")),
        }
    }
    text.push(quote);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_equal_where_python_says_so() {
        let key = |value| Key::of(Box::leak(Box::new(value)));
        assert_eq!(key(Value::Integer(1)), key(Value::Real(1.0)));
        assert_eq!(key(Value::Real(-0.0)), key(Value::Integer(0)));
        assert_ne!(key(Value::Integer(1)), key(Value::Text("1".to_owned())));
        assert_ne!(key(Value::Text("a".to_owned())), key(Value::Blob(b"a".to_vec())));
        assert_ne!(key(Value::Integer(i64::MAX)), key(Value::Real(9_223_372_036_854_775_807.0)));
        assert_eq!(key(Value::Integer(i64::MIN)), key(Value::Real(-9_223_372_036_854_775_808.0)));
        assert_ne!(key(Value::Integer((1 << 53) + 1)), key(Value::Real(9_007_199_254_740_992.0)));
        assert_ne!(key(Value::Null), key(Value::Integer(0)));
    }

    #[test]
    fn values_print_as_in_python() {
        // The expected texts are Python 3.11's.
        for (value, text) in [
            (Value::Real(1.0), "1.0<class 'float'>"),
            (Value::Real(0.1), "0.1<class 'float'>"),
            (Value::Real(1e16), "1e+16<class 'float'>"),
            (Value::Real(123_456_789_012_345_680.0), "1.2345678901234568e+17<class 'float'>"),
            (Value::Real(9_999_999_999_999_998.0), "9999999999999998.0<class 'float'>"),
            (Value::Real(0.0001), "0.0001<class 'float'>"),
            (Value::Real(0.00001), "1e-05<class 'float'>"),
            (Value::Real(-2.5e-7), "-2.5e-07<class 'float'>"),
            (Value::Real(f64::NEG_INFINITY), "-inf<class 'float'>"),
            (Value::Null, "None<class 'NoneType'>"),
            (Value::Blob(b"a'\x00\xff\n".to_vec()), "b\"a'\\x00\\xff\\n\"<class 'bytes'>"),
            (Value::Blob(b"'\"".to_vec()), "b'\\'\"'<class 'bytes'>"),
        ] {
            assert_eq!(text_and_type(&value), text);
        }
    }
}
