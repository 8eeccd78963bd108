use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use coderag_core::{Digest, Error as CoreError, atomic};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::checksum::Checksum;

/// The file that marks a folder as an installed model.
pub(crate) const RECORD_FILE: &str = "coderag-model.json";

/// What was installed, written beside a model's files.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The model's name.
    pub(crate) model: String,
    /// The source it came from, in words.
    pub(crate) source: String,
    /// When it was pulled, in seconds since 1970-01-01 00:00 UTC.
    pub(crate) pulled_at_unix_seconds: u64,
    /// Each file by its path in the folder.
    pub(crate) files: BTreeMap<String, RecordedFile>,
}

/// One installed file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RecordedFile {
    pub(crate) sha256: Digest,
    /// In bytes.
    pub(crate) size: u64,
}

impl Record {
    pub(crate) fn new(model: &str, source: String) -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            model: model.to_owned(),
            source,
            pulled_at_unix_seconds: since_1970.as_secs(),
            files: BTreeMap::new(),
        }
    }

    pub(crate) fn insert(&mut self, path: &str, checksum: Checksum) {
        let Checksum { sha256, size } = checksum;
        self.files.insert(path.to_owned(), RecordedFile { sha256, size });
    }

    /// The record in a model's folder; `None` when there is none or it is not readable as one.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(RECORD_FILE);
        match fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Ok(None)
            }
            Err(error) => Err(CoreError::io("read", &path)(error).into()),
        }
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        write_json(&folder.join(RECORD_FILE), self)
    }
}

/// Writes a value as indented JSON, whole or not at all.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    atomic::write_file(path, |file| {
        serde_json::to_writer_pretty(file, value)
            .map_err(|error| CoreError::io("write", path)(error.into()))
    })?;
    Ok(())
}
