use std::fs;
use std::path::{Path, PathBuf};

use coderag_core::{Claim, Digest, Error as CoreError, atomic};
use coderag_encoder::device::Device;
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
    /// Where the model computed.
    #[serde(default = "processor")]
    pub device: String,
    /// How many threads computed.
    pub threads: usize,
    /// The settings.
    pub config: TrainConfig,
    /// What was changed while the run was interrupted, in words.
    #[serde(default)]
    pub changes: Vec<String>,
}

/// Where runs computed before records said so.
fn processor() -> String {
    Device::Cpu.to_string()
}

impl RunRecord {
    /// The version of the folder's format that this crate writes and reads.
    pub const FORMAT_VERSION: u32 = 1;
}

/// A run's folder, held by one process.
#[derive(Debug)]
pub(super) struct RunFolder(coderag_core::RunFolder);

impl RunFolder {
    /// Opens or creates a folder. With `restart`, what an earlier run left is removed.
    pub(super) fn open(path: &Path, restart: bool) -> Result<Self> {
        let folder = match coderag_core::RunFolder::claim(path, RECORD)? {
            Claim::Held(folder) => Self(folder),
            Claim::NotARun => return Err(Error::NotARun { path: path.to_owned() }),
            Claim::InUse => return Err(Error::RunInUse { path: path.to_owned() }),
        };
        if restart {
            folder.clear()?;
        }
        Ok(folder)
    }

    /// Removes what a run writes, and nothing else; the record goes last, as without it the folder is no run's.
    pub(super) fn clear(&self) -> Result<()> {
        let names = ["checkpoints", "best", "examples", "model", "adapter", "metrics.jsonl"];
        Ok(self.0.remove(names.into_iter().chain(["report.html", RECORD]))?)
    }

    /// The record of the run that is in the folder, if there is one.
    pub(super) fn record(&self) -> Result<Option<RunRecord>> {
        let path = self.0.path().join(RECORD);
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
        let path = self.0.path().join(RECORD);
        let text = serde_json::to_string_pretty(record)
            .map_err(|error| CoreError::io("write", &path)(error.into()))?;
        atomic::write_file(&path, |file| {
            writeln!(file, "{text}").map_err(CoreError::io("write", &path))
        })?;
        Ok(())
    }

    pub(super) fn examples(&self, stage: usize) -> PathBuf {
        self.0.path().join("examples").join((stage + 1).to_string())
    }

    pub(super) fn metrics(&self) -> PathBuf {
        self.0.path().join("metrics.jsonl")
    }

    pub(super) fn checkpoints(&self) -> PathBuf {
        self.0.path().join("checkpoints")
    }

    pub(super) fn best(&self) -> PathBuf {
        self.0.path().join("best")
    }

    pub(super) fn model(&self) -> PathBuf {
        self.0.path().join("model")
    }

    pub(super) fn adapter(&self) -> PathBuf {
        self.0.path().join("adapter")
    }

    pub(super) fn report(&self) -> PathBuf {
        self.0.path().join("report.html")
    }
}

const RECORD: &str = "run.json";
