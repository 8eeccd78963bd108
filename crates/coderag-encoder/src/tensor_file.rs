use std::collections::HashMap;
use std::fs::{self, File};
use std::path::Path;

use safetensors::{SafeTensorError, View};

use crate::{Error, Result};

/// Writes a safetensors file that transformers reads, one tensor in memory at a time.
///
/// # Errors
/// [`Error::Core`] when the file cannot be written.
pub(crate) fn write_tensors<S: AsRef<str> + Ord + std::fmt::Display, V: View>(
    tensors: impl IntoIterator<Item = (S, V)>,
    path: &Path,
) -> Result<()> {
    let failed = |source| coderag_core::Error::io("write", path)(source);
    // safetensors 0.8 gives its file to its owner alone; this one tells what other files get.
    let file = File::create(path).map_err(failed)?;
    let permissions = file.metadata().map_err(failed)?.permissions();
    // transformers refuses files that do not say so.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let written = safetensors::serialize_to_file(tensors, Some(metadata), path);
    written.map_err(|source| match source {
        SafeTensorError::IoError(source) => Error::from(failed(source)),
        source => Error::Damaged { path: path.to_owned(), source },
    })?;
    Ok(fs::set_permissions(path, permissions).map_err(failed)?)
}
