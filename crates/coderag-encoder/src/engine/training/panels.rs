#![allow(unsafe_code)]

use std::slice::{from_raw_parts, from_raw_parts_mut};

use super::kernels::{Accumulation, HALF_PANEL, InputOrder, TrainingKernels};
use super::options::TrainingPrecision;
use super::rows::Rows;
use crate::engine::buffer::Buffer;
use crate::engine::kernels::{PANEL, Product, Transposition};
use crate::engine::matrix::Matrix;

/// A matrix in the order in which the kernels read their right operand:
/// `[outputs / PANEL, units, PANEL]`, the inner dimension in units of 32 bits.
#[derive(Debug)]
pub(super) struct Panels {
    precision: TrainingPrecision,
    outputs: usize,
    inner: usize,
    values: Buffer,
}

/// The left operand of a product: rows of units of 32 bits.
#[derive(Clone, Copy)]
pub(super) struct Operand {
    pub(super) pointer: *const u32,
    pub(super) stride: usize,
    pub(super) rows: usize,
}

impl Panels {
    /// All zeros.
    pub(super) fn new(outputs: usize, inner: usize, precision: TrainingPrecision) -> Self {
        let units = inner.div_ceil(precision.values_per_unit());
        let values = Buffer::new(outputs.div_ceil(PANEL) * units * PANEL);
        Self { precision, outputs, inner, values }
    }

    fn units(&self) -> usize {
        self.inner.div_ceil(self.precision.values_per_unit())
    }

    fn count(&self) -> usize {
        self.outputs.div_ceil(PANEL)
    }

    /// Where a panel begins.
    fn panel(&self, panel: usize) -> *mut u32 {
        assert!(panel < self.count());
        // SAFETY: inside the buffer.
        unsafe { self.values.pointer::<u32>().add(panel * self.units() * PANEL) }
    }

    /// Lays out `[outputs, inner]`.
    ///
    /// # Safety
    /// Nobody else uses the panels.
    pub(super) unsafe fn fill_by_output(&self, kernels: &TrainingKernels, weights: &[f32]) {
        assert_eq!(weights.len(), self.outputs * self.inner);
        let transpose = |first: usize, rows: usize, panels: *mut f32| {
            let transposition = Transposition {
                rows,
                columns: self.inner,
                input: weights[first * self.inner..].as_ptr(),
                input_stride: self.inner,
                panels,
            };
            // SAFETY: the panels have room for the rows.
            unsafe { kernels.forward.transpose(transposition) }
        };
        if self.outputs == 0 {
            return;
        }
        match self.precision {
            TrainingPrecision::F32 => transpose(0, self.outputs, self.values.pointer()),
            TrainingPrecision::Bf16 => {
                let values = vec![0.0; self.units() * 2 * PANEL];
                for panel in 0..self.count() {
                    let first = panel * PANEL;
                    let mut values = values.clone();
                    transpose(first, PANEL.min(self.outputs - first), values.as_mut_ptr());
                    for (unit, pair) in values.chunks_exact(2 * PANEL).enumerate() {
                        let (even, odd) = pair.split_at(PANEL);
                        // SAFETY: the unit is inside the panel.
                        let packed = unsafe {
                            from_raw_parts_mut(self.panel(panel).add(unit * PANEL), PANEL)
                        };
                        kernels.pair_bf16(even, odd, packed);
                    }
                }
            }
        }
    }

    /// Lays out `[inner, outputs]`.
    ///
    /// # Safety
    /// Nobody else uses the panels.
    pub(super) unsafe fn fill_by_input(&self, kernels: &TrainingKernels, weights: &[f32]) {
        assert_eq!(weights.len(), self.outputs * self.inner);
        let zeros = [0.0; PANEL];
        for panel in 0..self.count() {
            let first = panel * PANEL;
            let width = PANEL.min(self.outputs - first);
            let row = |index: usize| match index {
                index if index < self.inner => &weights[index * self.outputs + first..][..width],
                _ => &zeros[..width],
            };
            for unit in 0..self.units() {
                // SAFETY: the unit is inside the panel.
                let packed = unsafe { self.panel(panel).add(unit * PANEL) };
                match self.precision {
                    TrainingPrecision::F32 => {
                        // SAFETY: as above; all bits of f32 are bits of u32.
                        unsafe { from_raw_parts_mut(packed.cast::<f32>(), width) }
                            .copy_from_slice(row(unit));
                    }
                    TrainingPrecision::Bf16 => {
                        // SAFETY: as above.
                        let packed = unsafe { from_raw_parts_mut(packed, width) };
                        kernels.pair_bf16(row(2 * unit), row(2 * unit + 1), packed);
                    }
                }
            }
        }
    }

    pub(super) fn precision(&self) -> TrainingPrecision {
        self.precision
    }

    /// `output = operand * panels + bias`; a bias has a value for each output, zeros up to whole panels.
    ///
    /// # Safety
    /// The operand's rows have as many units as the panels, nobody writes to them, and nobody else uses the
    /// output.
    pub(super) unsafe fn multiply(
        &self,
        kernels: &TrainingKernels,
        operand: Operand,
        bias: Option<&Buffer>,
        output: Rows<'_>,
    ) {
        const NO_BIAS: [f32; PANEL] = [0.0; PANEL];
        assert!(self.count() * PANEL <= output.width() && operand.rows == output.count());
        let start_values = |panel: usize| match bias {
            None => NO_BIAS.as_ptr(),
            Some(bias) => {
                assert!((panel + 1) * PANEL <= bias.len());
                // SAFETY: inside the buffer.
                unsafe { bias.pointer::<f32>().add(panel * PANEL).cast_const() }
            }
        };
        for (start, rows) in blocks(operand.rows) {
            for panel in 0..self.count() {
                // SAFETY: rows and panels are inside the operands and the output.
                unsafe {
                    if bias.is_none() && self.is_narrow(panel) {
                        for row in start..start + rows {
                            output.pointer(row).add(panel * PANEL).write_bytes(0, HALF_PANEL);
                        }
                        self.accumulate_panel(kernels, panel, operand, start, rows, output);
                        continue;
                    }
                    let product = Product {
                        rows,
                        units: self.units(),
                        input: operand.pointer.add(start * operand.stride),
                        input_stride: operand.stride,
                        panel: self.panel(panel),
                        panel_stride: PANEL,
                        bias: start_values(panel),
                        output: output.pointer(start).add(panel * PANEL),
                        output_stride: output.stride(),
                    };
                    match self.precision {
                        TrainingPrecision::F32 => kernels.forward.product_f32(product),
                        TrainingPrecision::Bf16 => kernels.forward.product_bf16(product),
                    }
                }
            }
        }
    }

    /// `output += operand * panels`.
    ///
    /// # Safety
    /// As [`Panels::multiply`].
    pub(super) unsafe fn accumulate(
        &self,
        kernels: &TrainingKernels,
        operand: Operand,
        output: Rows<'_>,
    ) {
        assert!(self.count() * PANEL <= output.width() && operand.rows == output.count());
        for (start, rows) in blocks(operand.rows) {
            for panel in 0..self.count() {
                // SAFETY: rows and panels are inside the operands and the output.
                unsafe { self.accumulate_panel(kernels, panel, operand, start, rows, output) }
            }
        }
    }

    /// Whether a panel has few outputs.
    fn is_narrow(&self, panel: usize) -> bool {
        self.outputs - panel * PANEL <= HALF_PANEL
    }

    /// Adds the products of some rows with one panel.
    ///
    /// # Safety
    /// As [`Panels::multiply`]; the rows are among the operand's.
    unsafe fn accumulate_panel(
        &self,
        kernels: &TrainingKernels,
        panel: usize,
        operand: Operand,
        start: usize,
        rows: usize,
        output: Rows<'_>,
    ) {
        // SAFETY: rows and panel are inside the operands and the output.
        unsafe {
            let accumulation = Accumulation {
                rows,
                units: self.units(),
                input: operand.pointer.add(start * operand.stride),
                input_stride: operand.stride,
                order: InputOrder::Rows,
                panel: self.panel(panel),
                panel_stride: PANEL,
                output: output.pointer(start).add(panel * PANEL),
                output_stride: output.stride(),
                narrow: self.is_narrow(panel),
            };
            match self.precision {
                TrainingPrecision::F32 => kernels.accumulate_f32(accumulation),
                TrainingPrecision::Bf16 => kernels.accumulate_bf16(accumulation),
            }
        }
    }
}

/// The rows that are multiplied by all panels before the next: few enough for the second-level cache, many
/// enough that reading the weights costs little.
const ROWS_AT_ONCE: usize = 140;

/// Divides rows into blocks: where each begins and how many rows it has.
fn blocks(rows: usize) -> impl Iterator<Item = (usize, usize)> {
    let count = rows.div_ceil(ROWS_AT_ONCE);
    (0..count).map(move |block| {
        let start = rows * block / count;
        (start, rows * (block + 1) / count - start)
    })
}

impl Operand {
    /// The first `columns` columns of some rows in a number format, which is written to `rounded` where it
    /// is another than f32.
    ///
    /// # Safety
    /// Nobody writes to the rows, and nobody else uses `rounded` for as long as the operand is used.
    pub(super) unsafe fn new(
        kernels: &TrainingKernels,
        precision: TrainingPrecision,
        rows: Rows<'_>,
        columns: usize,
        rounded: &Matrix,
    ) -> Self {
        assert!(columns <= rows.width());
        match precision {
            TrainingPrecision::F32 => Self {
                pointer: rows.pointer(0).cast_const().cast(),
                stride: rows.stride(),
                rows: rows.count(),
            },
            TrainingPrecision::Bf16 => {
                let units = columns.div_ceil(2);
                assert!(units <= rounded.stride() && rows.count() <= rounded.rows());
                for row in 0..rows.count() {
                    // SAFETY: the caller vouches for the rows; these are inside them. A row of f32 has room
                    // for twice as many values of 16 bits.
                    unsafe {
                        let values = from_raw_parts(rows.pointer(row), columns);
                        let target = rounded.pointer(row).cast::<u16>();
                        if columns % 2 == 1 {
                            target.add(columns).write(0);
                        }
                        let target = from_raw_parts_mut(target, columns);
                        kernels.forward.to_bf16(values, target);
                    }
                }
                Self {
                    pointer: rounded.pointer(0).cast_const().cast(),
                    stride: rounded.stride(),
                    rows: rows.count(),
                }
            }
        }
    }
}

/// `output += left^T * right` over tokens: the gradient of weights from the gradient of their outputs and
/// from their inputs.
#[derive(Clone, Copy)]
pub(super) struct OuterProduct {
    /// In bf16, of pairs of tokens.
    pub(super) precision: TrainingPrecision,
    /// Tokens, or pairs of them.
    pub(super) units: usize,
    /// `[units, rows]`.
    pub(super) left: *const u32,
    pub(super) left_stride: usize,
    pub(super) rows: usize,
    /// `[units, columns]`, with whole panels readable.
    pub(super) right: *const u32,
    pub(super) right_stride: usize,
    pub(super) columns: usize,
    /// `[rows, columns]`.
    pub(super) output: *mut f32,
    pub(super) output_stride: usize,
}

impl OuterProduct {
    /// # Safety
    /// All pointers are valid for the sizes and strides beside them, and nobody else uses the output.
    pub(super) unsafe fn add(self, kernels: &TrainingKernels) {
        /// The units of the inner dimension that are worked on together: their part of a panel stays in the
        /// first-level cache.
        const UNITS_AT_ONCE: usize = 256;
        for start in (0..self.units).step_by(UNITS_AT_ONCE) {
            for column in (0..self.columns).step_by(PANEL) {
                let width = PANEL.min(self.columns - column);
                // SAFETY: unit and column are within the sizes.
                let accumulation = unsafe {
                    Accumulation {
                        rows: self.rows,
                        units: UNITS_AT_ONCE.min(self.units - start),
                        input: self.left.add(start * self.left_stride),
                        input_stride: self.left_stride,
                        order: InputOrder::Units,
                        panel: self.right.add(start * self.right_stride + column),
                        panel_stride: self.right_stride,
                        output: self.output.add(column),
                        output_stride: self.output_stride,
                        narrow: width <= HALF_PANEL,
                    }
                };
                // SAFETY: the caller vouches for the pointers.
                unsafe {
                    if width == PANEL {
                        self.accumulate(kernels, accumulation);
                    } else {
                        self.accumulate_part(kernels, accumulation, width);
                    }
                }
            }
        }
    }

    /// # Safety
    /// As [`TrainingKernels`] says of pointers.
    unsafe fn accumulate(self, kernels: &TrainingKernels, accumulation: Accumulation) {
        // SAFETY: the caller vouches for the pointers.
        unsafe {
            match self.precision {
                TrainingPrecision::F32 => kernels.accumulate_f32(accumulation),
                TrainingPrecision::Bf16 => kernels.accumulate_bf16(accumulation),
            }
        }
    }

    /// The last panel, of which the output has only some columns.
    ///
    /// # Safety
    /// As [`OuterProduct::add`].
    unsafe fn accumulate_part(
        self,
        kernels: &TrainingKernels,
        accumulation: Accumulation,
        width: usize,
    ) {
        let mut panel = vec![0.0; self.rows * PANEL];
        let (output, output_stride) = (panel.as_mut_ptr(), PANEL);
        // SAFETY: the panel has room for the rows; the output has `width` columns more.
        unsafe {
            self.accumulate(kernels, Accumulation { output, output_stride, ..accumulation });
            for (row, sums) in panel.chunks_exact(PANEL).enumerate() {
                let output = accumulation.output.add(row * self.output_stride);
                let output = from_raw_parts_mut(output, width);
                kernels.forward.add_scaled(output, &sums[..width], 1.0);
            }
        }
    }
}
