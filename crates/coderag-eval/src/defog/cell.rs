use std::cmp::Ordering;

use coderag_sql::Value;

/// The least number of which every greater `f64` lies outside `i64`: 2^63.
const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;

/// A value in a data frame.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cell<'a> {
    /// NULL, or NaN, which pandas takes for it.
    Null,
    Integer(i64),
    Real(f64),
    Text(&'a str),
    Blob(&'a [u8]),
}

/// What is equal for two cells that Python's `==` calls equal, so that it can be hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key<'a> {
    Null,
    Integer(i64),
    RealBits(u64),
    Text(&'a str),
    Blob(&'a [u8]),
}

/// The values that Python can put in order among themselves, in the order that pandas gives them
/// where it sorts several kinds (`pandas.core.algorithms._sort_mixed`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Number,
    Blob,
    Text,
}

impl<'a> Cell<'a> {
    pub(super) fn of(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Integer(value) => Self::Integer(*value),
            Value::Real(value) if value.is_nan() => Self::Null,
            Value::Real(value) => Self::Real(*value),
            Value::Text(text) => Self::Text(text),
            Value::Blob(bytes) => Self::Blob(bytes),
        }
    }

    pub(super) fn is_null(self) -> bool {
        matches!(self, Self::Null)
    }

    /// An integer as a 64-bit float, as numpy converts it; anything else as it is.
    pub(super) fn widened(self) -> Self {
        match self {
            Self::Integer(value) => Self::Real(value as f64),
            other => other,
        }
    }

    /// A real number that is a whole one gives the same key as that integer.
    pub(super) fn key(self) -> Key<'a> {
        match self {
            Self::Null => Key::Null,
            Self::Integer(value) => Key::Integer(value),
            Self::Real(value)
                if value.fract() == 0.0 && (-TWO_TO_63..TWO_TO_63).contains(&value) =>
            {
                Key::Integer(value as i64)
            }
            Self::Real(value) => Key::RealBits(value.to_bits()),
            Self::Text(text) => Key::Text(text),
            Self::Blob(bytes) => Key::Blob(bytes),
        }
    }

    /// `None` for NULL.
    pub(super) fn class(self) -> Option<Class> {
        match self {
            Self::Null => None,
            Self::Integer(_) | Self::Real(_) => Some(Class::Number),
            Self::Text(_) => Some(Class::Text),
            Self::Blob(_) => Some(Class::Blob),
        }
    }

    /// By class, then by value; NULL last, whichever the direction.
    pub(super) fn order(self, other: Self, ascending: bool) -> Ordering {
        let order = match (self.class(), other.class()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Greater,
            (Some(_), None) => return Ordering::Less,
            (Some(left), Some(right)) => left.cmp(&right).then_with(|| self.within_class(other)),
        };
        if ascending { order } else { order.reverse() }
    }

    fn within_class(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Integer(left), Self::Integer(right)) => left.cmp(&right),
            (Self::Real(left), Self::Real(right)) => {
                left.partial_cmp(&right).unwrap_or(Ordering::Equal)
            }
            (Self::Integer(left), Self::Real(right)) => integer_against_real(left, right),
            (Self::Real(left), Self::Integer(right)) => integer_against_real(right, left).reverse(),
            // UTF-8 keeps the order of the code points, by which Python compares.
            (Self::Text(left), Self::Text(right)) => left.cmp(right),
            (Self::Blob(left), Self::Blob(right)) => left.cmp(right),
            _ => Ordering::Equal,
        }
    }

    /// Whether `pandas.testing` takes the two for almost equal (`assert_almost_equal`): numbers
    /// within `math.isclose`'s tolerance, anything else equal.
    pub(super) fn is_close(self, other: Self) -> bool {
        self.key() == other.key()
            || match (self.widened(), other.widened()) {
                (Self::Real(left), Self::Real(right)) => is_close(left, right),
                _ => false,
            }
    }
}

/// Exactly, as Python compares them: no digit of the integer is lost.
fn integer_against_real(integer: i64, real: f64) -> Ordering {
    if real >= TWO_TO_63 {
        Ordering::Less
    } else if real < -TWO_TO_63 {
        Ordering::Greater
    } else {
        // In range, so truncation is exact.
        integer
            .cmp(&(real.trunc() as i64))
            .then_with(|| 0.0.partial_cmp(&real.fract()).unwrap_or(Ordering::Equal))
    }
}

/// Python's `math.isclose` with the tolerances of `pandas.testing`.
fn is_close(left: f64, right: f64) -> bool {
    const RELATIVE: f64 = 1e-5;
    const ABSOLUTE: f64 = 1e-8;
    if left == right {
        return true;
    }
    if left.is_infinite() || right.is_infinite() {
        return false;
    }
    let difference = (right - left).abs();
    difference <= (RELATIVE * right).abs()
        || difference <= (RELATIVE * left).abs()
        || difference <= ABSOLUTE
}
