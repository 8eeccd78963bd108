//! The innermost loops, for each instruction set, and the table through which they are called.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;
#[cfg(test)]
mod tests;

use super::Cpu;
use super::elementwise::{LayerNorm, Quantized, RmsNorm};

/// How many outputs a panel of packed weights has. The layout is the same for every instruction set.
pub(super) const PANEL: usize = 32;

/// A matrix product with one panel of [`PANEL`] outputs: `output = input * panel + bias`.
///
/// Both operands are read in units of 32 bits along the inner dimension: one f32, two bf16 or four 8-bit
/// values. Strides are in such units for the operands and in values for the output.
#[derive(Clone, Copy)]
pub(super) struct Product {
    /// How many rows the input and the output have.
    pub(super) rows: usize,
    /// How many units the inner dimension has.
    pub(super) units: usize,
    /// `[rows, units]`.
    pub(super) input: *const u32,
    pub(super) input_stride: usize,
    /// `[units, PANEL]`.
    pub(super) panel: *const u32,
    pub(super) panel_stride: usize,
    /// `[PANEL]`.
    pub(super) bias: *const f32,
    /// `[rows, PANEL]`.
    pub(super) output: *mut f32,
    pub(super) output_stride: usize,
}

/// What turns the integers of an int8 product into values.
#[derive(Clone, Copy)]
pub(super) struct Dequantization {
    /// `[rows]`: how each row of the input is read.
    pub(super) inputs: *const Quantized,
    /// `[PANEL]`: the step between two weights of an output.
    pub(super) scales: *const f32,
    /// `[PANEL]`: the sum of an output's quantised weights.
    pub(super) sums: *const i32,
}

/// The kernels of one instruction set.
///
/// The functions may be called on a CPU that has the set; the products also need every pointer of their
/// arguments to be valid for the sizes and strides that stand beside it, the output's for writing and by
/// nobody else. Only [`Kernels::for_cpu`] makes a table, and it checks the CPU.
pub(super) struct Kernels {
    cpu: Cpu,
    f32: unsafe fn(Product),
    bf16: unsafe fn(Product),
    int8: unsafe fn(Product, Dequantization),
    gelu: unsafe fn(&mut [f32]),
    silu_and_multiply: unsafe fn(&mut [f32], &[f32]),
    exponentials: unsafe fn(&mut [f32]) -> f32,
    add_and_normalize: unsafe fn(&mut [f32], &[f32], LayerNorm<'_>),
    normalize_rms: unsafe fn(&mut [f32], RmsNorm<'_>),
    rotate: unsafe fn(&mut [f32], &[f32], &[f32]),
    add_scaled: unsafe fn(&mut [f32], &[f32], f32),
    quantize: unsafe fn(&[f32], &mut [u8]) -> Quantized,
    to_bf16: unsafe fn(&[f32], &mut [u16]),
    transpose: unsafe fn(Transposition),
}

/// Copies `[rows, columns]` into panels, `[rows / PANEL, columns, PANEL]` rounded up; what the last panel
/// has beyond `rows` is left as it is.
#[derive(Clone, Copy)]
pub(super) struct Transposition {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) input: *const f32,
    pub(super) input_stride: usize,
    pub(super) panels: *mut f32,
}

impl std::fmt::Debug for Kernels {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Kernels({})", self.cpu)
    }
}

impl Kernels {
    /// The kernels for an instruction set, or the portable ones where this machine lacks it.
    pub(super) fn for_cpu(cpu: Cpu) -> &'static Self {
        #[cfg(target_arch = "x86_64")]
        match cpu {
            Cpu::Avx512 if cpu.is_available() => return avx512::kernels(),
            Cpu::Avx2 if cpu.is_available() => return &avx2::KERNELS,
            _ => {}
        }
        &portable::KERNELS
    }

    pub(super) fn cpu(&self) -> Cpu {
        self.cpu
    }

    /// The product in f32.
    ///
    /// # Safety
    /// As [`Kernels`] says of pointers.
    #[allow(unsafe_code)]
    pub(super) unsafe fn product_f32(&self, product: Product) {
        // SAFETY: the caller vouches for the pointers, `for_cpu` for the CPU.
        unsafe { (self.f32)(product) }
    }

    /// The product of bf16 values with sums in f32.
    ///
    /// # Safety
    /// As [`Kernels`] says of pointers.
    #[allow(unsafe_code)]
    pub(super) unsafe fn product_bf16(&self, product: Product) {
        // SAFETY: the caller vouches for the pointers, `for_cpu` for the CPU.
        unsafe { (self.bf16)(product) }
    }

    /// The product of unsigned 8-bit inputs and signed 8-bit weights, none of which is -128.
    ///
    /// # Safety
    /// As [`Kernels`] says of pointers.
    #[allow(unsafe_code)]
    pub(super) unsafe fn product_int8(&self, product: Product, dequantization: Dequantization) {
        // SAFETY: the caller vouches for the pointers, `for_cpu` for the CPU.
        unsafe { (self.int8)(product, dequantization) }
    }

    /// The transposition into panels.
    ///
    /// # Safety
    /// As [`Kernels`] says of pointers.
    #[allow(unsafe_code)]
    pub(super) unsafe fn transpose(&self, transposition: Transposition) {
        // SAFETY: the caller vouches for the pointers, `for_cpu` for the CPU.
        unsafe { (self.transpose)(transposition) }
    }

    #[allow(unsafe_code)]
    pub(super) fn gelu(&self, values: &mut [f32]) {
        // SAFETY: `for_cpu` has checked the CPU.
        unsafe { (self.gelu)(values) }
    }

    #[allow(unsafe_code)]
    pub(super) fn silu_and_multiply(&self, gate: &mut [f32], up: &[f32]) {
        // SAFETY: `for_cpu` has checked the CPU.
        unsafe { (self.silu_and_multiply)(gate, up) }
    }

    #[allow(unsafe_code)]
    pub(super) fn exponentials(&self, scores: &mut [f32]) -> f32 {
        // SAFETY: `for_cpu` has checked the CPU.
        unsafe { (self.exponentials)(scores) }
    }

    #[allow(unsafe_code)]
    pub(super) fn add_and_normalize(&self, row: &mut [f32], residual: &[f32], norm: LayerNorm<'_>) {
        // SAFETY: `for_cpu` has checked the CPU.
        unsafe { (self.add_and_normalize)(row, residual, norm) }
    }

    #[allow(unsafe_code)]
    pub(super) fn normalize_rms(&self, row: &mut [f32], norm: RmsNorm<'_>) {
        // SAFETY: `for_cpu` has checked the CPU.
        unsafe { (self.normalize_rms)(row, norm) }
    }

    #[allow(unsafe_code)]
    pub(super) fn rotate(&self, row: &mut [f32], cosines: &[f32], sines: &[f32]) {
        // SAFETY: `for_cpu` has checked the CPU.
        unsafe { (self.rotate)(row, cosines, sines) }
    }

    #[allow(unsafe_code)]
    pub(super) fn add_scaled(&self, row: &mut [f32], addend: &[f32], factor: f32) {
        // SAFETY: `for_cpu` has checked the CPU.
        unsafe { (self.add_scaled)(row, addend, factor) }
    }

    #[allow(unsafe_code)]
    pub(super) fn quantize(&self, values: &[f32], bytes: &mut [u8]) -> Quantized {
        // SAFETY: `for_cpu` has checked the CPU.
        unsafe { (self.quantize)(values, bytes) }
    }

    #[allow(unsafe_code)]
    pub(super) fn to_bf16(&self, values: &[f32], rounded: &mut [u16]) {
        // SAFETY: `for_cpu` has checked the CPU.
        unsafe { (self.to_bf16)(values, rounded) }
    }
}

/// Compiles the functions of `elementwise` for an instruction set, as functions of the same names.
macro_rules! elementwise_for {
    ($features:literal, $fused:literal) => {
        #[target_feature(enable = $features)]
        fn gelu(values: &mut [f32]) {
            elementwise::gelu::<$fused>(values);
        }

        #[target_feature(enable = $features)]
        fn silu_and_multiply(gate: &mut [f32], up: &[f32]) {
            elementwise::silu_and_multiply::<$fused>(gate, up);
        }

        #[target_feature(enable = $features)]
        fn exponentials(scores: &mut [f32]) -> f32 {
            elementwise::exponentials::<$fused>(scores)
        }

        #[target_feature(enable = $features)]
        fn add_and_normalize(row: &mut [f32], residual: &[f32], norm: LayerNorm<'_>) {
            elementwise::add_and_normalize::<$fused>(row, residual, norm);
        }

        #[target_feature(enable = $features)]
        fn normalize_rms(row: &mut [f32], norm: RmsNorm<'_>) {
            elementwise::normalize_rms::<$fused>(row, norm);
        }

        #[target_feature(enable = $features)]
        fn rotate(row: &mut [f32], cosines: &[f32], sines: &[f32]) {
            elementwise::rotate::<$fused>(row, cosines, sines);
        }

        #[target_feature(enable = $features)]
        fn add_scaled(row: &mut [f32], addend: &[f32], factor: f32) {
            elementwise::add_scaled::<$fused>(row, addend, factor);
        }

        #[target_feature(enable = $features)]
        fn quantize(values: &[f32], bytes: &mut [u8]) -> Quantized {
            elementwise::quantize(values, bytes)
        }

        #[target_feature(enable = $features)]
        fn to_bf16(values: &[f32], rounded: &mut [u16]) {
            elementwise::to_bf16(values, rounded);
        }
    };
}
#[cfg(target_arch = "x86_64")]
use elementwise_for;

/// Computes a product tile by tile: `tiles of rows` through the function `$tile`, which has the number of
/// rows of a tile, up to 14 or 6, as its constant parameter. The rows are divided evenly, so that no tile
/// is too small to keep the arithmetic units busy.
macro_rules! for_each_tile {
    ($most:literal, [$($rows:literal)*], $product:expr, |$at:ident| $tile:ident $arguments:tt) => {{
        let rows: usize = $product.rows;
        let tiles = rows.div_ceil($most);
        let mut $at = 0;
        for tile in 0..tiles {
            let size = (rows - $at).div_ceil(tiles - tile);
            match size {
                // SAFETY: `$at + size` is at most `rows`, and the caller vouches for the rest.
                $($rows => unsafe { $tile::<$rows> $arguments },)*
                _ => unreachable!("a tile has at most {} rows", $most),
            }
            $at += size;
        }
    }};
}
#[cfg(target_arch = "x86_64")]
use for_each_tile;
