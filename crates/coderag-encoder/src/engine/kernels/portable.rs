//! The kernels without any special instruction; the others are tested against them.

#![allow(unsafe_code)]

use std::slice::from_raw_parts;

use super::{Dequantization, Kernels, PANEL, Product, Transposition};
use crate::engine::Cpu;
use crate::engine::elementwise;

pub(super) static KERNELS: Kernels = Kernels {
    cpu: Cpu::Portable,
    f32: product_f32,
    bf16: product_bf16,
    int8: product_int8,
    gelu: elementwise::gelu::<false>,
    silu_and_multiply: elementwise::silu_and_multiply::<false>,
    exponentials: elementwise::exponentials::<false>,
    add_and_normalize: elementwise::add_and_normalize::<false>,
    normalize_rms: elementwise::normalize_rms::<false>,
    rotate: elementwise::rotate::<false>,
    add_scaled: elementwise::add_scaled::<false>,
    quantize: elementwise::quantize,
    to_bf16: elementwise::to_bf16,
    transpose,
};

impl Product {
    /// The sums of one row's products, unit by unit in order; `add` adds those of one unit.
    ///
    /// # Safety
    /// The input and the panel are valid, and `row` is one of the rows.
    #[inline(always)]
    unsafe fn row_sums<T: Copy>(
        &self,
        row: usize,
        start: [T; PANEL],
        add: impl Fn(&mut T, u32, u32),
    ) -> [T; PANEL] {
        let mut sums = start;
        for unit in 0..self.units {
            // SAFETY: `unit` is within the inner dimension and `row` within the rows.
            let (input, panel) = unsafe {
                let panel = self.panel.add(unit * self.panel_stride);
                (*self.input.add(row * self.input_stride + unit), from_raw_parts(panel, PANEL))
            };
            for (sum, &weight) in sums.iter_mut().zip(panel) {
                add(sum, input, weight);
            }
        }
        sums
    }

    /// # Safety
    /// The output is valid, and `row` is one of the rows.
    unsafe fn write_row(&self, row: usize, values: [f32; PANEL]) {
        // SAFETY: as above; the arrays have the same alignment and size as the memory.
        unsafe { self.output.add(row * self.output_stride).cast::<[f32; PANEL]>().write(values) }
    }

    /// # Safety
    /// The bias is valid.
    unsafe fn bias(&self) -> [f32; PANEL] {
        // SAFETY: a bias has `PANEL` values.
        unsafe { self.bias.cast::<[f32; PANEL]>().read() }
    }
}

/// # Safety
/// As `Kernels` says.
unsafe fn product_f32(product: Product) {
    for row in 0..product.rows {
        // SAFETY: the caller vouches for the pointers.
        unsafe {
            let sums = product.row_sums(row, product.bias(), |sum, input, weight| {
                *sum += f32::from_bits(input) * f32::from_bits(weight);
            });
            product.write_row(row, sums);
        }
    }
}

/// # Safety
/// As `Kernels` says.
pub(super) unsafe fn product_bf16(product: Product) {
    let low = |unit: u32| f32::from_bits(unit << 16);
    let high = |unit: u32| f32::from_bits(unit & 0xffff_0000);
    for row in 0..product.rows {
        // SAFETY: the caller vouches for the pointers.
        unsafe {
            let sums = product.row_sums(row, product.bias(), |sum, input, weight| {
                *sum += low(input) * low(weight) + high(input) * high(weight);
            });
            product.write_row(row, sums);
        }
    }
}

/// # Safety
/// As `Kernels` says.
unsafe fn product_int8(product: Product, dequantization: Dequantization) {
    for row in 0..product.rows {
        // SAFETY: the caller vouches for the pointers.
        unsafe {
            let sums = product.row_sums(row, [0; PANEL], |sum, input, weight| {
                for (input, weight) in input.to_le_bytes().into_iter().zip(weight.to_le_bytes()) {
                    *sum += i32::from(input) * i32::from(weight as i8);
                }
            });
            let read = *dequantization.inputs.add(row);
            let bias = product.bias();
            let values = std::array::from_fn(|output| {
                let sum = sums[output] - read.zero * *dequantization.sums.add(output);
                sum as f32 * (read.scale * *dequantization.scales.add(output)) + bias[output]
            });
            product.write_row(row, values);
        }
    }
}

/// # Safety
/// As `Kernels` says.
pub(super) unsafe fn transpose(transposition: Transposition) {
    let Transposition { rows, columns, input, input_stride, panels } = transposition;
    for first in (0..rows).step_by(PANEL) {
        let count = PANEL.min(rows - first);
        for column in 0..columns {
            for row in 0..count {
                // SAFETY: row and column are within the input, and the panels hold as many of each.
                unsafe {
                    let value = *input.add((first + row) * input_stride + column);
                    *panels.add(first * columns + column * PANEL + row) = value;
                }
            }
        }
    }
}
