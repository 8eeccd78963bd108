use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use coderag_core::{Digest, Error as CoreError, atomic};
use serde::{Deserialize, Serialize};

use crate::config::TrainConfig;
use crate::{Error, Result};

/// What a run was made from: the content of `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecord {
    /// The version of the folder's format.
    pub format_version: u32,
    /// The version of CodeRAG that began the run.
    pub coderag_version: String,
    /// When it began, by RFC 3339.
    pub started: String,
    /// The digest of all that decides the vectors of the model that the run began with.
    pub model_fingerprint: Digest,
    /// The digests of the files of the evaluation.
    #[serde(default)]
    pub development: Vec<Digest>,
    /// How many threads computed.
    pub threads: usize,
    /// The settings.
    pub config: TrainConfig,
    /// What was changed while the run was interrupted, in words.
    #[serde(default)]
    pub changes: Vec<String>,
}

impl RunRecord {
    /// The version of the folder's format that this crate writes and reads.
    pub const FORMAT_VERSION: u32 = 1;
}

/// A run's folder, held by one process.
#[derive(Debug)]
pub(super) struct RunFolder {
    path: PathBuf,
    _lock: File,
}

impl RunFolder {
    /// Opens or creates a folder. With `restart`, what an earlier run left is removed.
    pub(super) fn open(path: &Path, restart: bool) -> Result<Self> {
        let record = path.join(RECORD);
        let is_used = fs::read_dir(path).is_ok_and(|mut entries| {
            entries.any(|entry| entry.is_ok_and(|entry| !is_of_a_beginning(&entry.file_name())))
        });
        if is_used && !record.is_file() {
            return Err(Error::NotARun { path: path.to_owned() });
        }
        fs::create_dir_all(path).map_err(CoreError::io("create the folder", path))?;
        let lock_path = path.join(LOCK);
        let lock = File::options()
            .create(true)
            .append(true)
            .open(&lock_path)
            .map_err(CoreError::io("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::RunInUse { path: path.to_owned() });
            }
            Err(TryLockError::Error(error)) => {
                return Err(CoreError::io("lock", &lock_path)(error).into());
            }
        }
        let folder = Self { path: path.to_owned(), _lock: lock };
        if restart {
            folder.clear()?;
        }
        Ok(folder)
    }

    /// Removes what a run writes, and nothing else; the record goes last, as without it the folder is no run's.
    pub(super) fn clear(&self) -> Result<()> {
        for name in ["checkpoints", "best", "examples", "model", "adapter", "metrics.jsonl"]
            .into_iter()
            .chain(["report.html", RECORD])
        {
            let path = self.path.join(name);
            let removed =
                if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match removed {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(CoreError::io("remove", &path)(error).into());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The record of the run that is in the folder, if there is one.
    pub(super) fn record(&self) -> Result<Option<RunRecord>> {
        let path = self.path.join(RECORD);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(CoreError::io("read", &path))?,
        };
        let record: RunRecord = serde_json::from_slice(&bytes).map_err(|error| {
            Error::DamagedRun { path: path.clone(), problem: error.to_string() }
        })?;
        if record.format_version != RunRecord::FORMAT_VERSION {
            let problem = format!(
                "it has format version {}, this version reads {}",
                record.format_version,
                RunRecord::FORMAT_VERSION
            );
            return Err(Error::DamagedRun { path, problem });
        }
        Ok(Some(record))
    }

    pub(super) fn write_record(&self, record: &RunRecord) -> Result<()> {
        let path = self.path.join(RECORD);
        let text = serde_json::to_string_pretty(record)
            .map_err(|error| CoreError::io("write", &path)(error.into()))?;
        atomic::write_file(&path, |file| {
            writeln!(file, "{text}").map_err(CoreError::io("write", &path))
        })?;
        Ok(())
    }

    pub(super) fn examples(&self, stage: usize) -> PathBuf {
        self.path.join("examples").join((stage + 1).to_string())
    }

    pub(super) fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    pub(super) fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    pub(super) fn best(&self) -> PathBuf {
        self.path.join("best")
    }

    pub(super) fn model(&self) -> PathBuf {
        self.path.join("model")
    }

    pub(super) fn adapter(&self) -> PathBuf {
        self.path.join("adapter")
    }

    pub(super) fn report(&self) -> PathBuf {
        self.path.join("report.html")
    }
}

/// Whether a name is of what a run leaves that was killed before it had a record.
fn is_of_a_beginning(name: &OsStr) -> bool {
    name == LOCK || name.to_string_lossy().starts_with(&format!(".{RECORD}.partial-"))
}

const RECORD: &str = "run.json";
const LOCK: &str = "lock";
