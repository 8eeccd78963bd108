#![allow(unsafe_code)]

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
    start: NonNull<Line>,
    lines: usize,
    _owner: Owner,
}

/// What frees the memory.
enum Owner {
    Lines(#[allow(dead_code, reason = "dropped")] Box<[Line]>),
    Pages(#[allow(dead_code, reason = "dropped")] MmapMut),
}

// SAFETY: the contents are reached through `pointer` only, and who writes through it takes care that
// nobody else uses the same values at the same time.
unsafe impl Sync for Buffer {}
// SAFETY: as above; the memory belongs to the buffer and may be freed by any thread.
unsafe impl Send for Buffer {}

impl Buffer {
    /// Room for `count` values, and a little more.
    pub(super) fn new(count: usize) -> Self {
        // One panel beyond the end may be read, and is ignored.
        let lines = count.div_ceil(VALUES_OF_A_LINE) + 2;
        let (start, owner) = match pages(lines * size_of::<Line>()) {
            Some(mut map) => (map.as_mut_ptr().cast(), Owner::Pages(map)),
            None => {
                let mut lines = vec![Line([0; VALUES_OF_A_LINE]); lines].into_boxed_slice();
                (lines.as_mut_ptr(), Owner::Lines(lines))
            }
        };
        // SAFETY: memory that was allocated does not begin at 0. Pages begin on a cache line.
        let start = unsafe { NonNull::new_unchecked(start) };
        Self { start, lines, _owner: owner }
    }

    pub(super) fn pointer<T>(&self) -> *mut T {
        self.start.as_ptr().cast()
    }

    pub(super) fn len(&self) -> usize {
        self.lines * VALUES_OF_A_LINE
    }
}

/// Memory straight from the system, in huge pages where there are some: fewer faults while it is filled
/// and fewer translations while it is read. Nothing where that is not worth it, or the system refuses.
fn pages(bytes: usize) -> Option<MmapMut> {
    const HUGE_PAGE: usize = 2 << 20;
    if bytes < HUGE_PAGE {
        return None;
    }
    let map = MmapOptions::new().len(bytes).map_anon().ok()?;
    #[cfg(target_os = "linux")]
    if let Err(error) = map.advise(memmap2::Advice::HugePage) {
        tracing::debug!(%error, "no huge pages for weights");
    }
    Some(map)
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Buffer({} values)", self.len())
    }
}
