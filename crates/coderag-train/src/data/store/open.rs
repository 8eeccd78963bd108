use std::path::Path;

use coderag_core::{Digest, Error as CoreError, atomic};
use serde::Deserialize;

use super::super::Source;
use super::table::Table;
use super::{FINGERPRINTS, Manifest, ROWS, Store, TEXTS, map, open_file};
use crate::{Error, Result};

impl Store {
    /// Opens a store that [`Store::build`] wrote.
    ///
    /// # Errors
    /// [`Error::Core`] when a file cannot be read, [`Error::Store`] when the folder is damaged or of
    /// another version.
    pub fn open(folder: &Path) -> Result<Self> {
        let damaged = |problem| Error::Store { path: folder.to_owned(), problem };
        let manifest = Manifest::read(folder)?;
        let check = |name: &str, found: u64| match manifest.files.get(name) {
            Some(expected) if *expected == found => Ok(()),
            expected => {
                let expected = expected.copied().unwrap_or_default();
                Err(damaged(format!("`{name}` has {found} bytes instead of {expected}")))
            }
        };
        let texts = open_file(&folder.join(TEXTS))?;
        let text_bytes = texts.metadata().map_err(CoreError::io("read", folder))?.len();
        check(TEXTS, text_bytes)?;
        let (rows, fingerprints) = (map(&folder.join(ROWS))?, map(&folder.join(FINGERPRINTS))?);
        check(ROWS, rows.len() as u64)?;
        check(FINGERPRINTS, fingerprints.len() as u64)?;
        let table = Table::new(rows, fingerprints, text_bytes).map_err(damaged)?;
        if table.rows() as u64 != manifest.rows() {
            let (found, expected) = (table.rows(), manifest.rows());
            return Err(damaged(format!("{found} rows instead of {expected}")));
        }
        Ok(Self { folder: folder.to_owned(), manifest, texts, text_bytes, table })
    }

    /// Opens the store of a run that goes on, and makes sure that it holds what the sources hold now:
    /// files may have moved, but must have the same content.
    ///
    /// # Errors
    /// As [`Store::open`]; [`Error::InputChanged`] and [`Error::SourcesChanged`].
    pub fn resume(folder: &Path, sources: &[Source]) -> Result<Self> {
        let store = Self::open(folder)?;
        let records = &store.manifest.sources;
        let changed = |problem| Error::SourcesChanged { problem };
        if records.len() != sources.len() {
            let (was, is) = (records.len(), sources.len());
            return Err(changed(format!("it had {was} sources, now it has {is}")));
        }
        for (record, source) in records.iter().zip(sources) {
            let name = &record.name;
            if *name != source.name {
                return Err(changed(format!("the source `{name}` is now `{}`", source.name)));
            }
            if record.columns != source.columns {
                return Err(changed(format!("the source `{name}` has other columns")));
            }
            if record.files.len() != source.files.len() {
                let (was, is) = (record.files.len(), source.files.len());
                return Err(changed(format!("the source `{name}` had {was} files, now {is}")));
            }
            for (file, path) in record.files.iter().zip(&source.files) {
                let sha256 = Digest::of_file(path)?;
                if sha256 != file.sha256 {
                    let (path, was) = (path.clone(), file.sha256);
                    return Err(Error::InputChanged { path, was, is: sha256 });
                }
            }
        }
        Ok(store)
    }
}

impl Manifest {
    fn read(folder: &Path) -> Result<Self> {
        /// The part that every version has.
        #[derive(Deserialize)]
        struct Version {
            format_version: u32,
        }
        let path = folder.join(Self::FILE);
        let damaged = |problem| Error::Store { path: folder.to_owned(), problem };
        let bytes = std::fs::read(&path).map_err(CoreError::io("read", &path))?;
        let not_json = |error| damaged(format!("`{}`: {error}", Self::FILE));
        let Version { format_version } = serde_json::from_slice(&bytes).map_err(not_json)?;
        if format_version != Self::FORMAT_VERSION {
            let expected = Self::FORMAT_VERSION;
            return Err(damaged(format!(
                "it has format version {format_version}, this version reads {expected}"
            )));
        }
        serde_json::from_slice(&bytes).map_err(not_json)
    }

    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(Self::FILE);
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|error| CoreError::io("write", &path)(error.into()))?;
        text.push('\n');
        atomic::write_file(&path, |file| {
            file.write_all(text.as_bytes()).map_err(CoreError::io("write", &path))
        })?;
        Ok(())
    }
}
