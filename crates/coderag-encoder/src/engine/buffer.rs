use std::cell::UnsafeCell;

/// One cache line of 32-bit values.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code, reason = "read through pointers")] [u32; 16]);

/// Memory for 32-bit values, or smaller ones in their place, that begins on a cache line and that
/// threads fill together, each its own part.
///
/// It starts as zeros, so any of it may be read at any time, by whatever type.
pub(super) struct Buffer(Box<[UnsafeCell<Line>]>);

// SAFETY: the contents are reached through `pointer` only, and who writes through it takes care that
// nobody else uses the same values at the same time.
#[allow(unsafe_code)]
unsafe impl Sync for Buffer {}

impl Buffer {
    /// Room for `count` values, and a little more.
    pub(super) fn new(count: usize) -> Self {
        // One panel beyond the end may be read, and is ignored.
        let lines = count.div_ceil(16) + 2;
        Self((0..lines).map(|_| UnsafeCell::new(Line([0; 16]))).collect())
    }

    pub(super) fn pointer<T>(&self) -> *mut T {
        self.0.as_ptr().cast_mut().cast()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len() * 16
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Buffer({} values)", self.len())
    }
}
