#![allow(unsafe_code)]

use std::slice::{from_raw_parts, from_raw_parts_mut};

use super::Precision;
use super::buffer::Buffer;
use super::elementwise::Quantized;
use super::kernels::Kernels;
use super::matrix::Matrix;

/// The inputs of linear layers in the layers' precision; in f32 they are taken as they are.
#[derive(Debug)]
pub(super) struct PreparedInput {
    /// `[rows, stride]` in units of 32 bits.
    values: Buffer,
    stride: usize,
    /// `[rows]` of [`Quantized`].
    quantized: Buffer,
    rows: usize,
}

impl PreparedInput {
    /// Memory for inputs of any precision that needs no more than `widest` does.
    pub(super) fn new(widest: Precision, rows: usize, columns: usize) -> Self {
        let (rows, stride) = match widest {
            Precision::F32 => (0, 0),
            Precision::Bf16 | Precision::Int8 => {
                let units = columns.div_ceil(widest.values_per_unit());
                // An odd number of cache lines, as in `Matrix`.
                (rows, units.next_multiple_of(32) + 16)
            }
        };
        Self {
            values: Buffer::new(rows * stride),
            stride,
            quantized: Buffer::new(rows * (size_of::<Quantized>() / 4)),
            rows,
        }
    }

    /// Where a row begins, and the stride between rows.
    pub(super) fn row(&self, row: usize) -> (*const u32, usize) {
        assert!(row < self.rows);
        // SAFETY: the row is inside the buffer.
        (unsafe { self.values.pointer::<u32>().add(row * self.stride) }, self.stride)
    }

    pub(super) fn quantized(&self, row: usize) -> *const Quantized {
        assert!(row < self.rows);
        // SAFETY: the row is inside the buffer, whose lines are aligned enough.
        unsafe { self.quantized.pointer::<Quantized>().add(row) }
    }

    /// Rounds or quantises some columns of a row of `input`.
    ///
    /// # Safety
    /// Nobody else uses this row here or writes to the input's.
    pub(super) unsafe fn prepare(
        &self,
        kernels: &Kernels,
        precision: Precision,
        row: usize,
        input: &Matrix,
        columns: usize,
    ) {
        let (prepared, stride) = self.row(row);
        // The last unit may reach beyond the columns; it meets weights of 0.
        let width = columns.next_multiple_of(precision.values_per_unit());
        assert!(width <= stride * precision.values_per_unit());
        // SAFETY: the row is this caller's and has room for the width.
        unsafe {
            match precision {
                Precision::F32 => {}
                Precision::Bf16 => {
                    let rounded = from_raw_parts_mut(prepared.cast_mut().cast::<u16>(), width);
                    let values = from_raw_parts(input.pointer(row), width);
                    kernels.to_bf16(values, rounded);
                }
                Precision::Int8 => {
                    let bytes = from_raw_parts_mut(prepared.cast_mut().cast::<u8>(), columns);
                    let values = from_raw_parts(input.pointer(row), columns);
                    let quantized = kernels.quantize(values, bytes);
                    self.quantized(row).cast_mut().write(quantized);
                }
            }
        }
    }
}
