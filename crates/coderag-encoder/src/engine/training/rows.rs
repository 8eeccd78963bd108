#![allow(unsafe_code)]

use std::ops::Range;
use std::slice::{from_raw_parts, from_raw_parts_mut};

use crate::engine::matrix::Matrix;

/// Some rows of a [`Matrix`], or their last columns, both counted from 0.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    matrix: &'a Matrix,
    first: usize,
    count: usize,
    column: usize,
}

impl<'a> Rows<'a> {
    pub(super) fn new(matrix: &'a Matrix, rows: Range<usize>) -> Self {
        assert!(rows.start <= rows.end && rows.end <= matrix.rows());
        Self { matrix, first: rows.start, count: rows.len(), column: 0 }
    }

    pub(super) fn count(self) -> usize {
        self.count
    }

    /// From one row to the next, in values.
    pub(super) fn stride(self) -> usize {
        self.matrix.stride()
    }

    /// How many values a row has, room for whole panels included.
    pub(super) fn width(self) -> usize {
        self.matrix.stride() - self.column
    }

    /// Where a row begins.
    pub(super) fn pointer(self, row: usize) -> *mut f32 {
        assert!(row < self.count, "row {row} of {}", self.count);
        // SAFETY: the column is inside the row.
        unsafe { self.matrix.pointer(self.first + row).add(self.column) }
    }

    /// The columns from one on.
    pub(super) fn after_column(self, column: usize) -> Self {
        assert!(column <= self.width());
        Self { column: self.column + column, ..self }
    }

    /// Some of these rows.
    pub(super) fn part(self, rows: Range<usize>) -> Self {
        assert!(rows.start <= rows.end && rows.end <= self.count);
        Self { first: self.first + rows.start, count: rows.len(), ..self }
    }

    /// The first columns of a row.
    ///
    /// # Safety
    /// Nobody writes to them for as long as the slice lives.
    pub(super) unsafe fn row(self, row: usize, columns: usize) -> &'a [f32] {
        assert!(columns <= self.width());
        // SAFETY: within the row; the caller vouches for the rest.
        unsafe { from_raw_parts(self.pointer(row), columns) }
    }

    /// The first columns of a row, for writing.
    ///
    /// # Safety
    /// Nobody else reads or writes them for as long as the slice lives.
    pub(super) unsafe fn row_mut(self, row: usize, columns: usize) -> &'a mut [f32] {
        assert!(columns <= self.width());
        // SAFETY: within the row; the caller vouches for the rest.
        unsafe { from_raw_parts_mut(self.pointer(row), columns) }
    }
}
