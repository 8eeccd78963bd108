//! The kernels without any special instruction; the others are tested against them.

#![allow(unsafe_code)]

use std::slice::{from_raw_parts, from_raw_parts_mut};

use super::{Accumulation, HALF_PANEL, InputOrder, Table};
use crate::engine::kernels::PANEL;
use crate::engine::training::elementwise;

pub(super) const TABLE: Table = Table {
    accumulate_f32,
    accumulate_bf16,
    normalize: elementwise::normalize::<false>,
    scale_and_shift: elementwise::scale_and_shift::<false>,
    normalize_backward: elementwise::normalize_backward::<false>,
    add_product: elementwise::add_product::<false>,
    gelu_backward: elementwise::gelu_backward::<false>,
    softmax: elementwise::softmax::<false>,
    probabilities: elementwise::probabilities::<false>,
    softmax_backward: elementwise::softmax_backward,
    dot: elementwise::dot::<false>,
    pair_bf16: elementwise::pair_bf16,
    mask: elementwise::mask,
};

/// Adds the products row by row, unit by unit in order; `add` adds those of one unit to a sum.
///
/// # Safety
/// As `TrainingKernels` says.
#[inline(always)]
unsafe fn accumulate(accumulation: Accumulation, add: impl Fn(&mut f32, u32, u32)) {
    let Accumulation { input, input_stride, panel, panel_stride, .. } = accumulation;
    let outputs = if accumulation.narrow { HALF_PANEL } else { PANEL };
    for row in 0..accumulation.rows {
        // SAFETY: row and unit are within the sizes.
        unsafe {
            let output = accumulation.output.add(row * accumulation.output_stride);
            let sums = from_raw_parts_mut(output, outputs);
            for unit in 0..accumulation.units {
                let input = match accumulation.order {
                    InputOrder::Rows => *input.add(row * input_stride + unit),
                    InputOrder::Units => *input.add(unit * input_stride + row),
                };
                let weights = from_raw_parts(panel.add(unit * panel_stride), outputs);
                for (sum, &weight) in sums.iter_mut().zip(weights) {
                    add(sum, input, weight);
                }
            }
        }
    }
}

/// # Safety
/// As `TrainingKernels` says.
unsafe fn accumulate_f32(accumulation: Accumulation) {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        accumulate(accumulation, |sum, input, weight| {
            *sum += f32::from_bits(input) * f32::from_bits(weight);
        });
    }
}

/// # Safety
/// As `TrainingKernels` says.
unsafe fn accumulate_bf16(accumulation: Accumulation) {
    let low = |unit: u32| f32::from_bits(unit << 16);
    let high = |unit: u32| f32::from_bits(unit & 0xffff_0000);
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        accumulate(accumulation, |sum, input, weight| {
            *sum += low(input) * low(weight) + high(input) * high(weight);
        });
    }
}
