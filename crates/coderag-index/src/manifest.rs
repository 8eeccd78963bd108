use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use coderag_core::{Digest, Error as CoreError, Hasher, atomic};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What an index is and how it was made: the content of `manifest.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the folder's format, [`Manifest::FORMAT_VERSION`].
    pub format_version: u32,
    /// The version of CodeRAG that built the index.
    pub coderag_version: String,
    /// When the index was built, in seconds since 1970-01-01 UTC.
    pub created_unix_seconds: u64,
    /// The model that made the vectors.
    pub model: ModelIdentity,
    /// The width of the vectors.
    pub dimensions: usize,
    /// How vectors are compared.
    pub metric: Metric,
    /// How a vector's values are stored.
    pub scalar: ScalarKind,
    /// The links of a graph node, HNSW's M.
    pub connectivity: usize,
    /// The candidates considered when a vector was added, HNSW's efConstruction.
    pub expansion_add: usize,
    /// The candidates considered by a search, HNSW's efSearch; usearch's file does not keep it.
    pub expansion_search: usize,
    /// How many documents, and so vectors, there are.
    pub documents: usize,
    /// The share of vectors that a search for themselves finds.
    pub self_recall: f64,
    /// How many vectors were added again because a search did not find them.
    pub repaired: usize,
    /// The other files of the folder by name.
    pub files: BTreeMap<String, FileEntry>,
}

/// Which model made the vectors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelIdentity {
    /// The name or path that the model was loaded by.
    pub name: String,
    /// [`coderag_core::Embedder::fingerprint`].
    pub fingerprint: Digest,
}

/// How vectors are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// The cosine of the angle between them.
    Cos,
}

/// How a vector's values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScalarKind {
    /// 32-bit floating point.
    F32,
    /// 16-bit floating point: half the size, three decimal digits.
    F16,
    /// 8-bit integers: a quarter of the size, two decimal digits.
    I8,
}

/// A file as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its size.
    pub bytes: u64,
    /// The digest of its content.
    pub sha256: Digest,
}

impl Manifest {
    /// The version of the folder's format that this crate writes and reads.
    pub const FORMAT_VERSION: u32 = 1;

    pub(crate) const FILE: &'static str = "manifest.json";

    pub(crate) fn read(folder: &Path) -> Result<Self> {
        /// The part that every version has.
        #[derive(Deserialize)]
        struct Version {
            format_version: u32,
        }
        let path = folder.join(Self::FILE);
        let bytes = std::fs::read(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory if folder.exists() => {
                Error::NotAnIndex { path: folder.to_owned() }
            }
            _ => CoreError::io("read", &path)(error).into(),
        })?;
        let damaged = |source| Error::Manifest { path: path.clone(), source };
        let Version { format_version: found } = serde_json::from_slice(&bytes).map_err(damaged)?;
        if found != Self::FORMAT_VERSION {
            let expected = Self::FORMAT_VERSION;
            return Err(Error::FormatVersion { path: folder.to_owned(), found, expected });
        }
        serde_json::from_slice(&bytes).map_err(damaged)
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(Self::FILE);
        let damaged = |source| Error::Manifest { path: path.clone(), source };
        let mut text = serde_json::to_string_pretty(self).map_err(damaged)?;
        text.push('\n');
        atomic::write_file(&path, |file| {
            file.write_all(text.as_bytes()).map_err(CoreError::io("write", &path))
        })?;
        Ok(())
    }

    /// Checks that a file is the one that was written.
    pub(crate) fn check(&self, folder: &Path, name: &str) -> Result<()> {
        let path = folder.join(name);
        let Some(written) = self.files.get(name) else {
            return Err(Error::damaged(&path, "the manifest does not list it"));
        };
        let metadata = std::fs::metadata(&path).map_err(CoreError::io("read", &path))?;
        if metadata.len() != written.bytes {
            let problem = format!("{} bytes instead of {}", metadata.len(), written.bytes);
            return Err(Error::damaged(&path, problem));
        }
        if Digest::of_file(&path)? != written.sha256 {
            return Err(Error::damaged(&path, "its SHA-256 digest is not the manifest's"));
        }
        Ok(())
    }
}

impl FileEntry {
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let mut hasher = Hasher::new();
        let bytes = hasher.update_file(path)?;
        Ok(Self { bytes, sha256: hasher.finish() })
    }
}
