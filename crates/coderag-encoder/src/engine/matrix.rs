#![allow(unsafe_code)]

use std::ops::Range;
use std::slice::{from_raw_parts, from_raw_parts_mut};

use super::buffer::Buffer;
use super::kernels::PANEL;

/// `[rows, columns]` of f32 that threads fill together.
///
/// A row has room for whole panels, so that kernels need not care where the columns end. It also has an
/// odd number of cache lines: rows a power of two apart would fall into the same few sets of the caches.
#[derive(Debug)]
pub(super) struct Matrix {
    values: Buffer,
    rows: usize,
    stride: usize,
}

impl Matrix {
    pub(super) fn zeros(rows: usize, columns: usize) -> Self {
        let stride = columns.next_multiple_of(PANEL) + 16;
        Self { values: Buffer::new(rows * stride), rows, stride }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// From one row to the next, in values.
    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    /// Where a row begins.
    pub(super) fn pointer(&self, row: usize) -> *mut f32 {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        // SAFETY: the row is inside the buffer.
        unsafe { self.values.pointer::<f32>().add(row * self.stride) }
    }

    /// Some columns of a row.
    ///
    /// # Safety
    /// Nobody writes to them for as long as the slice lives.
    pub(super) unsafe fn row(&self, row: usize, columns: Range<usize>) -> &[f32] {
        assert!(columns.start <= columns.end && columns.end <= self.stride);
        // SAFETY: within the row; the caller vouches for the rest.
        unsafe { from_raw_parts(self.pointer(row).add(columns.start), columns.len()) }
    }

    /// Some columns of a row, for writing.
    ///
    /// # Safety
    /// Nobody else reads or writes them for as long as the slice lives.
    #[allow(clippy::mut_from_ref, reason = "the caller vouches that nobody else has them")]
    pub(super) unsafe fn row_mut(&self, row: usize, columns: Range<usize>) -> &mut [f32] {
        assert!(columns.start <= columns.end && columns.end <= self.stride);
        // SAFETY: within the row; the caller vouches for the rest.
        unsafe { from_raw_parts_mut(self.pointer(row).add(columns.start), columns.len()) }
    }
}
