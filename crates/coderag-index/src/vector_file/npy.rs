use std::fs::File;
use std::io::{BufReader, Result as IoResult, Write};
use std::path::Path;

use coderag_core::{Embeddings, Error as CoreError};
use npyz::{AutoSerialize, NpyFile, Order, WriterBuilder as _};

use crate::quantization::{NumberType, Numbers};
use crate::{Error, Result};

pub(super) fn write_header(
    writer: &mut impl Write,
    rows: u64,
    width: usize,
    numbers: NumberType,
) -> IoResult<()> {
    let data_type = match numbers {
        NumberType::Float32 => f32::default_dtype(),
        NumberType::Int8 => i8::default_dtype(),
        NumberType::Uint8 => u8::default_dtype(),
    };
    let options = npyz::WriteOptions::new_header_only();
    options.dtype(data_type).shape(&[rows, width as u64]).writer(writer).write_header_only()?;
    Ok(())
}

pub(super) fn write_numbers(writer: &mut impl Write, numbers: &Numbers) -> IoResult<()> {
    let bytes: Vec<u8> = match numbers {
        Numbers::Float32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Numbers::Int8(values) => values.iter().map(|value| value.cast_unsigned()).collect(),
        Numbers::Uint8(values) => return writer.write_all(values),
    };
    writer.write_all(&bytes)
}

/// The rows of an array of 32-bit floats, `[rows, dimensions]`, in batches.
pub(super) fn read(path: &Path) -> Result<impl Iterator<Item = Result<Embeddings>> + use<>> {
    const ROWS: u64 = 1024;
    let file = File::open(path).map_err(CoreError::io("open", path))?;
    let refused = |problem: String| Error::Vectors { path: path.to_owned(), problem };
    let array = NpyFile::new(BufReader::new(file))
        .map_err(|error| refused(format!("not a NumPy array: {error}")))?;
    let &[rows, width] = array.shape() else {
        return Err(refused(format!("the array has {} axes, expected 2", array.shape().len())));
    };
    if array.order() == Order::Fortran {
        return Err(refused("the array is in Fortran order, expected C order".to_owned()));
    }
    let found = array.dtype().descr();
    let mut values = array
        .data::<f32>()
        .map_err(|_| refused(format!("the array has the type {found}, expected 32-bit floats")))?;
    let values_at_once = ROWS.checked_mul(width);
    let (Ok(dimensions), Some(_)) = (usize::try_from(width), values_at_once) else {
        return Err(refused(format!("the array is {width} numbers wide")));
    };
    let path = path.to_owned();
    let mut left = rows;
    Ok(std::iter::from_fn(move || {
        let rows = left.min(ROWS);
        if rows == 0 {
            return None;
        }
        left -= rows;
        let mut batch = Vec::new();
        for _ in 0..rows * width {
            match values.next() {
                Some(Ok(value)) => batch.push(value),
                Some(Err(error)) => return Some(Err(CoreError::io("read", &path)(error).into())),
                None => break,
            }
        }
        Some(Embeddings::new(dimensions, batch).map_err(Error::from))
    }))
}
