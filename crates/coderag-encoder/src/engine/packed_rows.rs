#![allow(unsafe_code)]

use super::buffer::Buffer;
use super::cpu::Cpu;
use super::kernels::{Kernels, PANEL, Product, Transposition};

/// Vectors laid out once, so that their inner products with many others are fast.
///
/// The work of a search that compares everything with everything: a product of two matrices, of which a
/// part is made at a time.
#[derive(Debug)]
pub struct PackedRows {
    kernels: &'static Kernels,
    rows: usize,
    dimensions: usize,
    /// `[rows / PANEL, dimensions, PANEL]`, rounded up; zeros beyond the rows.
    panels: Buffer,
}

impl PackedRows {
    /// Lays out `[rows, dimensions]`, row-major; values that do not fill a row are left out.
    pub fn new(cpu: Cpu, rows: &[f32], dimensions: usize) -> Self {
        let kernels = Kernels::for_cpu(cpu);
        let count = rows.len().checked_div(dimensions).unwrap_or(0);
        let panels = Buffer::new(count.div_ceil(PANEL) * dimensions * PANEL);
        if count > 0 {
            let transposition = Transposition {
                rows: count,
                columns: dimensions,
                input: rows.as_ptr(),
                input_stride: dimensions,
                panels: panels.pointer(),
            };
            // SAFETY: there are as many rows, and the panels, which nobody else knows, have room for them.
            unsafe { kernels.transpose(transposition) };
        }
        Self { kernels, rows: count, dimensions, panels }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// From the products of one row to those of the next in what [`inner_products`] writes:
    /// [`len`](Self::len), rounded up.
    ///
    /// [`inner_products`]: Self::inner_products
    pub fn stride(&self) -> usize {
        self.rows.next_multiple_of(PANEL)
    }

    /// Puts the inner product of each of `others`, `[others, dimensions]`, with each row into `products`,
    /// `[others, stride]`; what a row of it has beyond [`len`](Self::len) means nothing. Values that do not
    /// fill a row are left out.
    ///
    /// It runs on the calling thread, and is fastest with some 100 rows at a time. A product does not depend
    /// on what else is computed with it.
    pub fn inner_products(&self, others: &[f32], products: &mut Vec<f32>) {
        let count = others.len().checked_div(self.dimensions).unwrap_or(0);
        products.resize(count * self.stride(), 0.0);
        for panel in 0..self.rows.div_ceil(PANEL) {
            // SAFETY: the panel is inside the buffer, and its products are inside each row of `products`.
            unsafe {
                self.kernels.product_f32(Product {
                    rows: count,
                    units: self.dimensions,
                    input: others.as_ptr().cast(),
                    input_stride: self.dimensions,
                    panel: self.panels.pointer::<u32>().add(panel * self.dimensions * PANEL),
                    panel_stride: PANEL,
                    bias: [0.0; PANEL].as_ptr(),
                    output: products.as_mut_ptr().add(panel * PANEL),
                    output_stride: self.stride(),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn products_are_those_of_a_plain_loop(
            (dimensions, rows, others) in (1usize..40).prop_flat_map(|dimensions| {
                let rows = |most: usize| prop::collection::vec(-1.0f32..1.0, 0..most * dimensions);
                (Just(dimensions), rows(70), rows(30))
            }),
        ) {
            for cpu in Cpu::ALL.into_iter().filter(|cpu| cpu.is_available()) {
                let packed = PackedRows::new(cpu, &rows, dimensions);
                prop_assert_eq!(packed.len(), rows.len() / dimensions);
                let mut products = vec![7.0];
                packed.inner_products(&others, &mut products);
                prop_assert_eq!(products.len(), others.len() / dimensions * packed.stride());
                for (index, other) in others.chunks_exact(dimensions).enumerate() {
                    for (number, row) in rows.chunks_exact(dimensions).enumerate() {
                        let product = |(a, b): (&f32, &f32)| f64::from(*a) * f64::from(*b);
                        let expected: f64 = other.iter().zip(row).map(product).sum();
                        let found = f64::from(products[index * packed.stride() + number]);
                        prop_assert!((found - expected).abs() < 1e-5, "{} {}", found, expected);
                    }
                }
            }
        }
    }

    #[test]
    fn without_dimensions_there_is_nothing() {
        let packed = PackedRows::new(Cpu::Portable, &[1.0], 0);
        let mut products = vec![7.0];
        packed.inner_products(&[1.0], &mut products);
        assert!(packed.is_empty() && products.is_empty());
    }
}
