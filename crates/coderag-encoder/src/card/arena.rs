#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ops::Range;

use cudarc::driver::sys::CUdeviceptr;

use super::launch::{Argument, Kernels};
use super::memory::Memory;
use super::open::Card;
use super::operations::bytes;
use crate::engine::TrainingPrecision;
use crate::{Error, Result};

/// A parameter's name and shape.
pub(super) type Named = (String, Vec<usize>);

/// Parameters one after the other on a card, in the order they were named; names that follow each other are one
/// matrix.
#[derive(Debug)]
pub(super) struct Arena {
    card: Card,
    format: TrainingPrecision,
    names: Vec<Named>,
    /// Which numbers each has, by its name.
    places: HashMap<String, Range<usize>>,
    length: usize,
    /// In f32.
    numbers: Option<Memory>,
    /// In the format of states.
    values: Option<Memory>,
}

/// In which formats an arena keeps its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// In f32 and as the states are stored.
    Both,
    /// In f32.
    Numbers,
    /// As states are stored.
    Values,
}

impl Arena {
    /// Takes memory for parameters, whose content is anything but for what is between them.
    ///
    /// # Errors
    /// [`Error::Cuda`].
    pub(super) fn new(
        card: &Card,
        format: TrainingPrecision,
        names: Vec<Named>,
        kept: Kept,
    ) -> Result<Self> {
        let (mut places, mut length) = (HashMap::new(), 0);
        for (name, shape) in &names {
            let count = shape.iter().product::<usize>();
            places.insert(name.clone(), length..length + count);
            length += count.next_multiple_of(ALIGNMENT);
        }
        let allocate = |bytes: usize| -> Result<Memory> {
            let memory = card.allocate(bytes)?;
            // SAFETY: the memory has as many bytes.
            unsafe { card.clear(memory.address(), bytes) }?;
            Ok(memory)
        };
        // In f32 the numbers are the values.
        let both = format == TrainingPrecision::F32;
        let numbers = (both || kept != Kept::Values).then(|| allocate(length * 4)).transpose()?;
        let values = (!both && kept != Kept::Numbers)
            .then(|| allocate(length * bytes(format)))
            .transpose()?;
        Ok(Self { card: card.clone(), format, names, places, length, numbers, values })
    }

    pub(super) fn names(&self) -> &[Named] {
        &self.names
    }

    /// How many numbers there are, those between parameters included.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// How many numbers stand before a parameter; all where there is none of the name.
    pub(super) fn offset(&self, name: &str) -> usize {
        self.places.get(name).map_or(self.length, |place| place.start)
    }

    /// How many numbers a parameter has; none where there is none of the name.
    pub(super) fn count(&self, name: &str) -> usize {
        self.places.get(name).map_or(0, Range::len)
    }

    /// Where the parameters are in f32.
    pub(super) fn all_numbers(&self) -> CUdeviceptr {
        self.numbers.as_ref().map_or(0, Memory::address)
    }

    /// Where they are for an optimizer that changes what products read; 0 where that is [`Self::all_numbers`].
    pub(super) fn all_values(&self) -> CUdeviceptr {
        self.values.as_ref().map_or(0, Memory::address)
    }

    /// Where a parameter is in f32.
    pub(super) fn number(&self, name: &str) -> CUdeviceptr {
        self.all_numbers() + (4 * self.offset(name)) as CUdeviceptr
    }

    /// Where a parameter is in the format of states.
    pub(super) fn value(&self, name: &str) -> CUdeviceptr {
        let all = self.values.as_ref().or(self.numbers.as_ref()).map_or(0, Memory::address);
        all + (bytes(self.format) * self.offset(name)) as CUdeviceptr
    }

    /// Sets a parameter.
    ///
    /// # Errors
    /// [`Error::Training`] when it has another number of them, [`Error::Cuda`].
    pub(super) fn write(&self, kernels: &Kernels, name: &str, numbers: &[f32]) -> Result<()> {
        if numbers.len() != self.count(name) {
            let (found, known) = (numbers.len(), self.count(name));
            let problem = format!("`{name}` has {found} numbers instead of {known}");
            return Err(Error::Training(problem));
        }
        if numbers.is_empty() {
            return Ok(());
        }
        let only_values = self.numbers.is_none();
        let copy = only_values.then(|| self.card.allocate(numbers.len() * 4)).transpose()?;
        let to = copy.as_ref().map_or(self.number(name), Memory::address);
        // SAFETY: the parameter has as many numbers, and so has the copy.
        unsafe {
            self.card.write(to, numbers)?;
            if self.values.is_some() {
                let count = Argument::Long(numbers.len() as i64);
                let blocks = numbers.len().div_ceil(256).min(4096);
                let arguments = [to.into(), self.value(name).into(), count];
                kernels.launch(c"to_values", [blocks, 1, 1], 256, &arguments)?;
            }
        }
        Ok(())
    }
}

/// Of the parameters, in numbers, so that each begins where 16 bytes do.
const ALIGNMENT: usize = 8;
