#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::ptr::NonNull;

use memmap2::{MmapMut, MmapOptions};

/// One cache line of 32-bit values.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code, reason = "read through pointers")] [u32; VALUES_OF_A_LINE]);

const VALUES_OF_A_LINE: usize = 16;

/// Memory for 32-bit values, or smaller ones in their place, that begins on a cache line and that
/// threads fill together, each its own part.
///
/// It starts as zeros, so any of it may be read at any time, by whatever type.
pub(super) struct Buffer {
    lines: usize,
    memory: Memory,
}

enum Memory {
    Lines(Box<[UnsafeCell<Line>]>),
    /// Where the pages begin, and what frees them.
    Pages(NonNull<Line>, #[allow(dead_code, reason = "dropped")] MmapMut),
}

// SAFETY: the contents are reached through `pointer` only, and who writes through it takes care that
// nobody else uses the same values at the same time.
unsafe impl Sync for Buffer {}
// SAFETY: as above; the memory belongs to the buffer and may be freed by any thread.
unsafe impl Send for Buffer {}

impl Buffer {
    /// Room for `count` values.
    pub(super) fn new(count: usize) -> Self {
        let lines = count.div_ceil(VALUES_OF_A_LINE);
        // Two lines more, which nobody counts on: a panel beyond the end may be read, and is ignored.
        let all = lines + 2;
        let memory = pages(all * size_of::<Line>()).unwrap_or_else(|| {
            let line = || UnsafeCell::new(Line([0; VALUES_OF_A_LINE]));
            Memory::Lines(std::iter::repeat_with(line).take(all).collect())
        });
        Self { lines, memory }
    }

    pub(super) fn pointer<T>(&self) -> *mut T {
        match &self.memory {
            Memory::Lines(lines) => lines.as_ptr().cast_mut().cast(),
            Memory::Pages(start, _) => start.as_ptr().cast(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lines * VALUES_OF_A_LINE
    }
}

/// Memory straight from the system, in huge pages where there are some: fewer faults while it is filled
/// and fewer translations while it is read. Nothing where that is not worth it, or the system refuses.
fn pages(bytes: usize) -> Option<Memory> {
    const HUGE_PAGE: usize = 2 << 20;
    if bytes < HUGE_PAGE {
        return None;
    }
    let mut map = MmapOptions::new().len(bytes).map_anon().ok()?;
    #[cfg(target_os = "linux")]
    if let Err(error) = map.advise(memmap2::Advice::HugePage) {
        tracing::debug!(%error, "no huge pages for weights");
    }
    // Pages begin on a cache line.
    Some(Memory::Pages(NonNull::new(map.as_mut_ptr().cast())?, map))
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Buffer({} values)", self.len())
    }
}
