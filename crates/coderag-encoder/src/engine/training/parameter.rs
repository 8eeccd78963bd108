#![allow(unsafe_code)]

use std::slice::from_raw_parts_mut;

use crate::engine::buffer::Buffer;

/// A trained parameter: its value in f32 and the gradient that threads add to.
#[derive(Debug)]
pub(super) struct Parameter {
    name: String,
    shape: Vec<usize>,
    value: Vec<f32>,
    gradient: Buffer,
}

/// A trained parameter as an optimizer sees it.
#[derive(Debug)]
pub struct ParameterMut<'a> {
    /// The name in checkpoints, such as `encoder.layer.0.output.dense.weight`; an adapter's are the layer's
    /// with `.lora_A.weight` and `.lora_B.weight`.
    pub name: &'a str,
    /// The sizes of the tensor, the slowest first.
    pub shape: &'a [usize],
    /// The value, row by row.
    pub value: &'a mut [f32],
    /// The gradient of the same shape: the sum over all backward passes since it was last set to zero.
    pub gradient: &'a mut [f32],
    /// For the word embeddings, the rows whose gradient may be other than zero, in order; for others
    /// nothing, and any may.
    pub rows: Option<&'a [u32]>,
}

impl Parameter {
    pub(super) fn new(name: String, shape: Vec<usize>, value: Vec<f32>) -> Self {
        let gradient = Buffer::new(value.len());
        Self { name, shape, value, gradient }
    }

    pub(super) fn value(&self) -> &[f32] {
        &self.value
    }

    /// Where a value's gradient stands.
    pub(super) fn gradient(&self, index: usize) -> *mut f32 {
        assert!(index <= self.value.len());
        // SAFETY: the place is inside the buffer.
        unsafe { self.gradient.pointer::<f32>().add(index) }
    }

    /// Some values' gradients.
    ///
    /// # Safety
    /// Nobody else reads or writes them for as long as the slice lives.
    #[allow(clippy::mut_from_ref, reason = "the caller vouches that nobody else has them")]
    pub(super) unsafe fn gradients(&self, start: usize, count: usize) -> &mut [f32] {
        assert!(start + count <= self.value.len());
        // SAFETY: inside the buffer; the caller vouches for the rest.
        unsafe { from_raw_parts_mut(self.gradient(start), count) }
    }

    pub(super) fn set_gradients_to_zero(&mut self) {
        self.view(None).gradient.fill(0.0);
    }

    pub(super) fn view<'a>(&'a mut self, rows: Option<&'a [u32]>) -> ParameterMut<'a> {
        let count = self.value.len();
        // SAFETY: the buffer has room for as many values, and this is the only reference to it.
        let gradient = unsafe { from_raw_parts_mut(self.gradient.pointer::<f32>(), count) };
        ParameterMut {
            name: &self.name,
            shape: &self.shape,
            value: &mut self.value,
            gradient,
            rows,
        }
    }
}
