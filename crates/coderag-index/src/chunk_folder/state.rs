use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use coderag_core::{Digest, Error as CoreError, Hasher, atomic};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Error, Result};

const STATE: &str = "state.json";

/// What `state.json` holds.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct State {
    format_version: u32,
    settings: Map<String, Value>,
    pub(super) chunks: Vec<ChunkRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ChunkRecord {
    pub(super) rows: u64,
    pub(super) texts_sha256: Digest,
}

impl State {
    const FORMAT_VERSION: u32 = 1;

    /// The state of a folder, if it has one.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(STATE);
        match fs::read(&path) {
            Ok(bytes) => {
                let state = serde_json::from_slice(&bytes);
                state.map(Some).map_err(|source| Error::State { path, source })
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                check_is_ours(folder)?;
                Ok(None)
            }
            Err(error) => Err(CoreError::io("read", &path)(error).into()),
        }
    }

    /// Writes the state of a folder without chunks.
    pub(super) fn begin(folder: &Path, settings: Map<String, Value>) -> Result<Self> {
        let state = Self { format_version: Self::FORMAT_VERSION, settings, chunks: Vec::new() };
        state.write(folder)?;
        Ok(state)
    }

    /// Compares with the settings of the run that goes on.
    pub(super) fn check(&self, folder: &Path, settings: &Map<String, Value>) -> Result<()> {
        let mut differences = Vec::new();
        let mut compare = |name: &str, before: &Value, now: &Value| {
            if before != now {
                differences.push(format!("`{name}` was {before} and is {now}"));
            }
        };
        compare("format_version", &self.format_version.into(), &Self::FORMAT_VERSION.into());
        let added = settings.keys().filter(|name| !self.settings.contains_key(*name));
        for name in self.settings.keys().chain(added) {
            let value = |settings: &Map<String, Value>| settings.get(name).cloned();
            let (before, now) = (value(&self.settings), value(settings));
            compare(name, &before.unwrap_or_default(), &now.unwrap_or_default());
        }
        if differences.is_empty() {
            return Ok(());
        }
        Err(Error::OtherSettings { path: folder.to_owned(), differences: differences.join(", ") })
    }

    /// Records a chunk that is on disk.
    pub(super) fn append(&mut self, folder: &Path, chunk: ChunkRecord) -> Result<()> {
        self.chunks.push(chunk);
        let written = self.write(folder);
        if written.is_err() {
            self.chunks.pop();
        }
        written
    }

    /// Forgets all chunks, which may then be removed in any order.
    pub(super) fn forget(&mut self, folder: &Path) -> Result<()> {
        self.chunks.clear();
        self.write(folder)
    }

    fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(STATE);
        atomic::write_file(&path, |file| {
            serde_json::to_writer_pretty(&mut *file, self)
                .map_err(std::io::Error::from)
                .and_then(|()| writeln!(file))
                .map_err(CoreError::io("write", &path))
        })?;
        Ok(())
    }
}

/// Refuses a folder with files that are not ours: the state, chunks where there is one, and what killed
/// writers of either left, which is hidden.
pub(super) fn check_is_ours(folder: &Path) -> Result<()> {
    let has_state = folder.join(STATE).exists();
    for entry in fs::read_dir(folder).map_err(CoreError::io("list", folder))? {
        let name = entry.map_err(CoreError::io("list", folder))?.file_name();
        let name = name.to_string_lossy();
        let visible = name.strip_prefix('.').unwrap_or(&name);
        let of_state = name == STATE || visible.starts_with(&format!("{STATE}.partial-"));
        let of_chunk =
            visible.get(..8).is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
                && visible.get(8..).is_some_and(|rest| rest.starts_with(".parquet"));
        if !(of_state || of_chunk && has_state) {
            return Err(Error::NotChunks { path: folder.to_owned() });
        }
    }
    Ok(())
}

/// The digest of texts in order, each with its length before it.
#[derive(Default)]
pub(super) struct TextsHasher(Hasher);

impl TextsHasher {
    pub(super) fn add(&mut self, text: &str) {
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text);
    }

    pub(super) fn finish(self) -> Digest {
        self.0.finish()
    }
}
