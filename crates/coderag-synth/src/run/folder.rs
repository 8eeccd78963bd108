use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use coderag_core::{Digest, Error as CoreError, atomic};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::config::SynthConfig;
use crate::output::{GRETEL, Manifest, PAIRS, REJECTED};
use crate::report::{self, Survey};
use crate::{Error, Result, data_card};

/// What a run was made from: the content of `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecord {
    /// The version of the folder's format.
    pub format_version: u32,
    /// The version of CodeRAG that wrote this.
    pub coderag_version: String,
    /// When the run began, by RFC 3339.
    pub started: String,
    /// The name of the model, by which its answers are found again.
    pub model: String,
    /// The digests of the prompts by their files.
    pub prompts: BTreeMap<String, Digest>,
    /// The digests of what else decides the rows: the seeds, the evaluation sets, the encoder.
    pub inputs: BTreeMap<String, Digest>,
    /// The settings.
    pub config: SynthConfig,
}

impl RunRecord {
    /// The version of the folder's format that this crate writes and reads.
    pub const FORMAT_VERSION: u32 = 1;

    /// Whether a run with this record makes the same rows of the same answers.
    fn makes_the_same(&self, other: &Self) -> bool {
        let how = |record: &Self| {
            let mut record = record.clone();
            // These decide how fast and how far, not what.
            record.started.clear();
            record.config.requests = Default::default();
            record.config.budget = Default::default();
            record.config.model.gguf = Default::default();
            record.config.model.endpoint = None;
            record
        };
        how(self) == how(other)
    }
}

/// A run's folder, held by one process.
#[derive(Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
    _lock: File,
}

impl RunFolder {
    /// Opens or creates a folder. With `restart`, what an earlier run left is removed.
    pub(super) fn open(path: &Path, restart: bool) -> Result<Self> {
        let is_used = fs::read_dir(path).is_ok_and(|mut entries| {
            entries.any(|entry| entry.is_ok_and(|entry| !is_of_a_beginning(&entry.file_name())))
        });
        if is_used && !path.join(RECORD).is_file() {
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
            Err(TryLockError::WouldBlock) => return Err(Error::RunInUse { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => {
                return Err(CoreError::io("lock", &lock_path)(error).into());
            }
        }
        let folder = Self { path: path.to_owned(), _lock: lock };
        if restart {
            folder.remove(OUTPUTS.into_iter().chain([RESPONSES, RECORD]))?;
        }
        Ok(folder)
    }

    /// Records what the run is made from. Where that changed since an earlier call, the rows of then are removed,
    /// as others will be made; the answers stay. Returns whether nothing changed.
    pub(super) fn begin(
        &self,
        config: &SynthConfig,
        model: &str,
        prompts: &BTreeMap<String, Digest>,
        inputs: BTreeMap<String, Digest>,
    ) -> Result<bool> {
        let mut record = RunRecord {
            format_version: RunRecord::FORMAT_VERSION,
            coderag_version: env!("CARGO_PKG_VERSION").to_owned(),
            started: now(),
            model: model.to_owned(),
            prompts: prompts.clone(),
            inputs,
            config: config.clone(),
        };
        let mut is_as_before = false;
        if self.path.join(RECORD).is_file() {
            let earlier = self.record()?;
            is_as_before = earlier.makes_the_same(&record);
            if !is_as_before {
                tracing::warn!(
                    "the settings, prompts or inputs changed since the run in {} began; its rows are made anew, with the answers that it has where the same is asked",
                    self.path.display()
                );
                self.remove(OUTPUTS)?;
            }
            record.started = earlier.started;
        }
        write_json(&self.path.join(RECORD), &record)?;
        Ok(is_as_before)
    }

    pub(super) fn record(&self) -> Result<RunRecord> {
        read_json(&self.path.join(RECORD), "the record of a run")
    }

    /// The manifest of an earlier call.
    pub(super) fn manifest(&self) -> Result<Option<Manifest>> {
        let path = self.path.join(MANIFEST);
        path.is_file().then(|| read_json(&path, "the manifest of a run")).transpose()
    }

    pub(super) fn write_manifest(&self, manifest: &Manifest) -> Result<()> {
        write_json(&self.path.join(MANIFEST), manifest)
    }

    /// Writes the report and the card of the rows that the manifest names.
    pub(super) fn write_for_people(&self, manifest: &Manifest) -> Result<()> {
        let survey = Survey::read(&self.path, manifest)?;
        report::write_html(&self.path.join(REPORT), manifest, &survey)?;
        data_card::write(&self.path.join(CARD), manifest, &survey)
    }

    pub(super) fn responses(&self) -> PathBuf {
        self.path.join(RESPONSES)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn remove<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Result<()> {
        for name in names {
            let path = self.path.join(name);
            let removed =
                if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match removed {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(CoreError::io("remove", &path)(error).into());
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Reads the manifest of the run in a folder.
///
/// # Errors
/// [`Error::Core`] and [`Error::Record`] when there is none, or it cannot be read.
pub fn read_manifest(run: &Path) -> Result<Manifest> {
    read_json(&run.join(MANIFEST), "the manifest of a run")
}

fn read_json<T: DeserializeOwned>(path: &Path, what: &'static str) -> Result<T> {
    let bytes = fs::read(path).map_err(CoreError::io("read", path))?;
    serde_json::from_slice(&bytes).map_err(|source| Error::Record {
        path: path.to_owned(),
        what,
        source,
    })
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| CoreError::io("write", path)(error.into()))?;
    Ok(atomic::write_file(path, |file| {
        writeln!(file, "{text}").map_err(CoreError::io("write", path))
    })?)
}

/// Now, by RFC 3339.
pub(super) fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

/// Whether a name is of what a run leaves that was killed before it had a record.
fn is_of_a_beginning(name: &OsStr) -> bool {
    name == LOCK || name.to_string_lossy().starts_with(&format!(".{RECORD}.partial-"))
}

const RECORD: &str = "run.json";
const RESPONSES: &str = "responses.jsonl";
const MANIFEST: &str = "manifest.json";
const REPORT: &str = "report.html";
const CARD: &str = "README.md";
const LOCK: &str = "lock";

/// What is made of the answers.
const OUTPUTS: [&str; 6] = [PAIRS, GRETEL, REJECTED, MANIFEST, CARD, REPORT];
