use std::path::{Path, PathBuf};

use crate::{Error, ModelKind, Registry, Result, Store};

/// The path behind what a user gave where a model is wanted: an existing file or folder as it is,
/// else the installed model of that name. A generator of one file resolves to the file, any other
/// model to its folder.
///
/// # Errors
/// [`Error::NotInstalled`] for a model that is not pulled yet, [`Error::NeitherPathNorModel`] for
/// anything else, [`Error::Core`] when the store cannot be read.
pub fn resolve(registry: &Registry, store: &Store, name_or_path: &str) -> Result<PathBuf> {
    let path = Path::new(name_or_path);
    if path.exists() {
        return Ok(path.to_owned());
    }
    let model = registry.get(name_or_path).map_err(|error| match error {
        Error::UnknownModel { name, nearest } => Error::NeitherPathNorModel { name, nearest },
        other => other,
    })?;
    let folder =
        store.installed(model)?.ok_or_else(|| Error::NotInstalled { name: model.name.clone() })?;
    Ok(match model.files.as_slice() {
        [only] if model.kind == ModelKind::Generator => folder.join(&only.path),
        _ => folder,
    })
}
