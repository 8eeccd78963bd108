use std::fmt;
use std::sync::Arc;

use cudarc::driver::sys::CUdeviceptr;
use cudarc::driver::{CudaSlice, CudaStream, DevicePtr};

use super::open::Card;
use crate::Result;

/// Memory on a card, given back when it is dropped.
pub(super) struct Memory {
    slice: CudaSlice<u8>,
    address: CUdeviceptr,
}

impl Memory {
    pub(super) fn new(stream: &Arc<CudaStream>, slice: CudaSlice<u8>) -> Self {
        let address = slice.device_ptr(stream).0;
        Self { slice, address }
    }

    pub(super) fn address(&self) -> CUdeviceptr {
        self.address
    }

    fn bytes(&self) -> usize {
        self.slice.len()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} bytes", self.bytes())
    }
}

/// Memory that calls use again and again, as large as the largest of them needed.
#[derive(Debug, Default)]
pub(super) struct Reserve(Option<Memory>);

impl Reserve {
    /// Where at least so many bytes are. What was in them is lost.
    ///
    /// # Errors
    /// [`Error::Cuda`](crate::Error::Cuda).
    pub(super) fn of(&mut self, card: &Card, bytes: usize) -> Result<CUdeviceptr> {
        if self.0.as_ref().is_none_or(|memory| memory.bytes() < bytes) {
            // The old makes room first, which it has when the card is through with it.
            if self.0.take().is_some() {
                card.wait()?;
            }
            self.0 = Some(card.allocate(bytes)?);
        }
        Ok(self.0.as_ref().map_or(0, Memory::address))
    }

    /// Gives the memory back.
    pub(super) fn release(&mut self) {
        self.0 = None;
    }
}

/// Gives out places one after the other. From address 0 it says how much memory they need together.
#[derive(Debug)]
pub(super) struct Places(CUdeviceptr);

impl Places {
    pub(super) fn from(address: CUdeviceptr) -> Self {
        Self(address)
    }

    /// A place for so many bytes, where the fastest accesses may begin.
    pub(super) fn take(&mut self, bytes: usize) -> CUdeviceptr {
        let place = self.0;
        self.0 += bytes.next_multiple_of(ALIGNMENT) as CUdeviceptr;
        place
    }

    /// Where the next place would be.
    pub(super) fn end(&self) -> usize {
        self.0 as usize
    }
}

/// Of the places, in bytes: what cuBLASLt's fastest kernels ask for.
const ALIGNMENT: usize = 256;
