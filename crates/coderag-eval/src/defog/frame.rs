use std::collections::HashSet;

use super::Table;
use super::cell::{Cell, Key};
use super::comparison_error::ComparisonError;
use crate::Compatibility;

/// What pandas makes of a column of SQLite's values (`lib.maybe_convert_objects`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only integers: `int64`.
    Integer,
    /// Only numbers, but with a real number or a NULL: `float64`, where NULL is NaN.
    Real,
    /// Only text, or text and NULL: `str`, where NULL is NaN.
    Text,
    /// Anything else, which includes only NULL and no rows at all: `object`, where NULL is `None`.
    Object,
}

#[derive(Clone, Debug)]
pub(super) struct Column<'a> {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) cells: Vec<Cell<'a>>,
}

/// A table as pandas holds it. It has at least one column, and the columns are equally long.
#[derive(Clone, Debug)]
pub(super) struct Frame<'a> {
    pub(super) columns: Vec<Column<'a>>,
    pub(super) rows: usize,
}

impl<'a> Frame<'a> {
    pub(super) fn of(table: &'a Table) -> Result<Self, ComparisonError> {
        if table.columns.is_empty() {
            return Err(ComparisonError::NoColumns);
        }
        let width = table.columns.len();
        if let Some(row) = table.rows.iter().position(|row| row.len() != width) {
            return Err(ComparisonError::RaggedRow {
                row: row + 1,
                values: table.rows.get(row).map_or(0, Vec::len),
                columns: width,
            });
        }
        let columns = table
            .columns
            .iter()
            .enumerate()
            .map(|(at, name)| {
                let values = table.rows.iter().filter_map(|row| row.get(at));
                Column::of(name, values.map(Cell::of).collect())
            })
            .collect();
        Ok(Self { columns, rows: table.rows.len() })
    }

    pub(super) fn shape(&self) -> (usize, usize) {
        (self.rows, self.columns.len())
    }

    /// `DataFrame.drop_duplicates`: the first of each set of equal rows stays.
    pub(super) fn without_repeated_rows(&self) -> Self {
        let mut seen: HashSet<Vec<Key<'a>>> = HashSet::with_capacity(self.rows);
        let kept: Vec<usize> = (0..self.rows)
            .filter(|&row| {
                seen.insert(
                    self.columns
                        .iter()
                        .filter_map(|column| column.cells.get(row).map(|cell| cell.key()))
                        .collect(),
                )
            })
            .collect();
        self.with_rows(&kept)
    }

    /// The rows at these positions, in this order.
    pub(super) fn with_rows(&self, rows: &[usize]) -> Self {
        let columns = self
            .columns
            .iter()
            .map(|column| Column {
                name: column.name.clone(),
                kind: column.kind,
                cells: rows.iter().filter_map(|&row| column.cells.get(row).copied()).collect(),
            })
            .collect();
        Self { columns, rows: rows.len() }
    }

    /// The columns at these positions, in this order.
    pub(super) fn with_columns(&self, columns: &[usize]) -> Self {
        let columns = columns.iter().filter_map(|&at| self.columns.get(at).cloned()).collect();
        Self { columns, rows: self.rows }
    }

    pub(super) fn names(&self) -> Vec<&str> {
        self.columns.iter().map(|column| column.name.as_str()).collect()
    }

    /// The official `deduplicate_columns`: the columns of a name that occurs several times get
    /// their position put behind it. The result may collide with other names, as there.
    pub(super) fn name_columns_apart(&mut self) {
        let mut repeated: Vec<String> = Vec::new();
        let names = self.names();
        for name in &names {
            if names.iter().filter(|other| *other == name).count() > 1
                && !repeated.iter().any(|other| other == name)
            {
                repeated.push((*name).to_owned());
            }
        }
        for name in repeated {
            for (at, column) in self.columns.iter_mut().enumerate() {
                if column.name == name {
                    column.name = format!("{name}_{at}");
                }
            }
        }
    }

    /// The kind of the array that `DataFrame.values` gives.
    fn common_kind(&self) -> Kind {
        if self.columns.iter().all(|column| column.kind == Kind::Integer) {
            Kind::Integer
        } else if self.columns.iter().all(|column| column.kind.is_numeric()) {
            Kind::Real
        } else {
            Kind::Object
        }
    }

    /// `(self.values == other.values).all()`: numpy repeats the only row or column of one table
    /// along the other; `None` where the shapes do not allow that.
    pub(super) fn equals_elementwise(
        &self,
        other: &Self,
        compatibility: Compatibility,
    ) -> Option<bool> {
        let (rows, columns) = match compatibility {
            Compatibility::Sensible if self.shape() != other.shape() => return None,
            Compatibility::Sensible => self.shape(),
            Compatibility::Strict => (
                stretched(self.rows, other.rows)?,
                stretched(self.columns.len(), other.columns.len())?,
            ),
        };
        let kinds = (self.common_kind(), other.common_kind());
        // An array of real numbers holds its integers as such, and makes those of an array of
        // integers real; arrays of objects compare exactly, as Python does.
        let widened =
            |own, others| own == Kind::Real || (own, others) == (Kind::Integer, Kind::Real);
        let (widen_first, widen_second) = (widened(kinds.0, kinds.1), widened(kinds.1, kinds.0));
        let equal = (0..columns).all(|at| {
            let (Some(left), Some(right)) = (
                self.columns.get(at.min(self.columns.len().saturating_sub(1))),
                other.columns.get(at.min(other.columns.len().saturating_sub(1))),
            ) else {
                return false;
            };
            (0..rows).all(|row| {
                let (Some(&first), Some(&second)) = (
                    left.cells.get(row.min(self.rows.saturating_sub(1))),
                    right.cells.get(row.min(other.rows.saturating_sub(1))),
                ) else {
                    return false;
                };
                if first.is_null() && second.is_null() {
                    return compatibility == Compatibility::Sensible
                        || (left.kind == Kind::Object && right.kind == Kind::Object);
                }
                let first = if widen_first { first.widened() } else { first };
                let second = if widen_second { second.widened() } else { second };
                first.key() == second.key()
            })
        });
        Some(equal)
    }

    /// `DataFrame.fillna(-99999)`, the official stand-in for NULL.
    ///
    /// # Errors
    /// [`ComparisonError::NullInText`] where a column of text holds NULL.
    pub(super) fn with_nulls_filled(mut self) -> Result<Self, ComparisonError> {
        for column in &mut self.columns {
            for cell in column.cells.iter_mut().filter(|cell| cell.is_null()) {
                *cell = match column.kind {
                    Kind::Text => {
                        return Err(ComparisonError::NullInText { name: column.name.clone() });
                    }
                    Kind::Real => Cell::Real(-99_999.0),
                    Kind::Integer | Kind::Object => Cell::Integer(-99_999),
                };
            }
        }
        Ok(self)
    }

    /// `assert_frame_equal(..., check_dtype=False)`.
    pub(super) fn is_close(&self, other: &Self) -> bool {
        self.shape() == other.shape()
            && self.names() == other.names()
            && self.columns.iter().zip(&other.columns).all(|(left, right)| left.is_close(right))
    }
}

/// The length that numpy broadcasts two axes to.
fn stretched(left: usize, right: usize) -> Option<usize> {
    match (left, right) {
        (left, right) if left == right => Some(left),
        (1, right) => Some(right),
        (left, 1) => Some(left),
        _ => None,
    }
}

impl Kind {
    fn of(cells: &[Cell<'_>]) -> Self {
        let [mut null, mut integer, mut real, mut text, mut blob] = [false; 5];
        for cell in cells {
            match cell {
                Cell::Null => null = true,
                Cell::Integer(_) => integer = true,
                Cell::Real(_) => real = true,
                Cell::Text(_) => text = true,
                Cell::Blob(_) => blob = true,
            }
        }
        match (integer || real, text, blob) {
            (true, false, false) if real || null => Self::Real,
            (true, false, false) => Self::Integer,
            (false, true, false) => Self::Text,
            _ => Self::Object,
        }
    }

    fn is_numeric(self) -> bool {
        matches!(self, Self::Integer | Self::Real)
    }
}

impl<'a> Column<'a> {
    fn of(name: &str, mut cells: Vec<Cell<'a>>) -> Self {
        let kind = Kind::of(&cells);
        if kind == Kind::Real {
            for cell in &mut cells {
                *cell = cell.widened();
            }
        }
        Self { name: name.to_owned(), kind, cells }
    }

    /// `Series.sort_values`.
    ///
    /// # Errors
    /// [`ComparisonError::UnsortableColumn`], with [`Compatibility::Strict`] only.
    pub(super) fn sorted(&self, compatibility: Compatibility) -> Result<Self, ComparisonError> {
        if compatibility == Compatibility::Strict && !self.is_of_one_class() {
            return Err(ComparisonError::UnsortableColumn { name: self.name.clone() });
        }
        let mut sorted = self.clone();
        sorted.cells.sort_by(|left, right| left.order(*right, true));
        Ok(sorted)
    }

    /// Whether Python can compare all its values.
    pub(super) fn is_of_one_class(&self) -> bool {
        let mut classes = self.cells.iter().filter_map(|cell| cell.class());
        let first = classes.next();
        classes.all(|class| Some(class) == first)
    }

    /// `assert_series_equal(..., check_dtype=False)`: exactly where one of the two holds only
    /// integers, else with a tolerance for numbers.
    pub(super) fn is_close(&self, other: &Self) -> bool {
        if self.cells.len() != other.cells.len() {
            return false;
        }
        let mut pairs = self.cells.iter().zip(&other.cells);
        match (self.kind, other.kind) {
            (Kind::Integer, Kind::Real) | (Kind::Real, Kind::Integer) => {
                // numpy compares the two as 64-bit floats.
                pairs.all(|(left, right)| left.widened().key() == right.widened().key())
            }
            (Kind::Integer, _) | (_, Kind::Integer) => {
                pairs.all(|(left, right)| left.key() == right.key())
            }
            _ => pairs.all(|(left, right)| left.is_close(*right)),
        }
    }
}
