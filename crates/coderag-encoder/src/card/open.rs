#![allow(unsafe_code)]

use std::sync::Arc;

use cudarc::driver::sys::{CUdevice_attribute, CUdeviceptr, CUresult};
use cudarc::driver::{CudaContext, CudaStream, DriverError, result};

use super::memory::Memory;
use crate::{Error, Result};

/// A card with a stream of its own, on which everything happens in order.
#[derive(Clone, Debug)]
pub(super) struct Card {
    index: usize,
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    multiprocessors: u32,
}

impl Card {
    /// # Errors
    /// [`Error::Cuda`].
    pub(super) fn open(index: usize) -> Result<Self> {
        let failed = failure(index, "the card does not open");
        let context = CudaContext::new(index).map_err(&failed)?;
        let stream = context.new_stream().map_err(&failed)?;
        let count = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
        let multiprocessors = context.attribute(count).map_err(&failed)?;
        let multiprocessors = u32::try_from(multiprocessors).unwrap_or(1).max(1);
        Ok(Self { index, context, stream, multiprocessors })
    }

    pub(super) fn index(&self) -> usize {
        self.index
    }

    /// How many of the card's parts run blocks of a kernel by themselves.
    pub(super) fn multiprocessors(&self) -> u32 {
        self.multiprocessors
    }

    /// As `sm_90`.
    pub(super) fn architecture(&self) -> Result<String> {
        let capability = self.context.compute_capability();
        let (major, minor) = capability.map_err(self.failed("the card does not answer"))?;
        Ok(format!("sm_{major}{minor}"))
    }

    pub(super) fn stream(&self) -> cudarc::driver::sys::CUstream {
        self.stream.cu_stream()
    }

    /// What to make of an error of the driver.
    pub(super) fn failed(&self, what: &'static str) -> impl Fn(DriverError) -> Error + use<> {
        failure(self.index, what)
    }

    /// Has the calls of this thread go to the card.
    pub(super) fn enter(&self) -> Result<()> {
        self.context.bind_to_thread().map_err(self.failed("the card does not answer"))
    }

    /// Takes memory, whose content is anything.
    ///
    /// # Errors
    /// [`Error::Cuda`], also when there is not enough.
    pub(super) fn allocate(&self, bytes: usize) -> Result<Memory> {
        // SAFETY: whoever reads the memory has written it before.
        let slice = unsafe { self.stream.alloc::<u8>(bytes.max(1)) };
        slice.map(|slice| Memory::new(&self.stream, slice)).map_err(|error| {
            if error.0 == CUresult::CUDA_ERROR_OUT_OF_MEMORY {
                let mebibytes = bytes.div_ceil(1 << 20);
                let problem = format!(
                    "its memory has no room for {mebibytes} MiB more; take fewer texts at once \
                     (`texts_at_once`, or a smaller batch), or set `gradient_checkpointing`"
                );
                Error::Cuda { index: self.index, problem }
            } else {
                self.failed("memory was not given")(error)
            }
        })
    }

    /// Copies numbers to the card.
    ///
    /// # Safety
    /// There is memory for them.
    pub(super) unsafe fn write<T>(&self, to: CUdeviceptr, from: &[T]) -> Result<()> {
        if from.is_empty() {
            return Ok(());
        }
        // SAFETY: the caller vouches for the memory; what is not pinned is copied before the call returns.
        let copied = unsafe { result::memcpy_htod_async(to, from, self.stream.cu_stream()) };
        copied.map_err(self.failed("numbers were not copied to the card"))
    }

    /// Copies numbers from the card and waits for them.
    ///
    /// # Safety
    /// There are as many, and every bit pattern is one of `T`.
    pub(super) unsafe fn read<T: Clone + Default>(
        &self,
        from: CUdeviceptr,
        count: usize,
    ) -> Result<Vec<T>> {
        let mut to = vec![T::default(); count];
        if count > 0 {
            // SAFETY: the caller vouches for the memory on the card; the vector outlives the wait.
            let copied =
                unsafe { result::memcpy_dtoh_async(&mut to, from, self.stream.cu_stream()) };
            copied.map_err(self.failed("numbers were not copied from the card"))?;
        }
        self.wait()?;
        Ok(to)
    }

    /// Waits until all is done.
    pub(super) fn wait(&self) -> Result<()> {
        self.stream.synchronize().map_err(self.failed("a computation on the card failed"))
    }

    /// Sets memory to zeros.
    ///
    /// # Safety
    /// There are as many bytes.
    pub(super) unsafe fn clear(&self, at: CUdeviceptr, bytes: usize) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: the caller vouches for the memory.
        let cleared = unsafe { result::memset_d8_async(at, 0, bytes, self.stream.cu_stream()) };
        cleared.map_err(self.failed("memory was not cleared"))
    }
}

fn failure(index: usize, what: &'static str) -> impl Fn(DriverError) -> Error {
    move |error| Error::Cuda { index, problem: format!("{what}: {error}") }
}
