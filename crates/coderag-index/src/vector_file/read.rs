use std::path::Path;

use coderag_core::Embeddings;

use super::parquet::ParquetVectors;
use super::{VectorFormat, npy};
use crate::{Error, Result};

/// Reads 32-bit floats from a NumPy array, `[rows, dimensions]`, or from the column `embedding` of a
/// Parquet table, some rows at a time.
///
/// # Errors
/// [`Error::Core`] when the file cannot be read, [`Error::Vectors`] when it does not hold such vectors.
pub fn read(path: &Path) -> Result<Box<dyn Iterator<Item = Result<Embeddings>>>> {
    match VectorFormat::of(path) {
        Some(VectorFormat::Npy) => Ok(Box::new(npy::read(path)?)),
        Some(VectorFormat::Parquet) => Ok(Box::new(ParquetVectors::open(path)?.embeddings()?)),
        Some(VectorFormat::JsonLines) | None => Err(Error::Vectors {
            path: path.to_owned(),
            problem: "expected .npy or .parquet".to_owned(),
        }),
    }
}
