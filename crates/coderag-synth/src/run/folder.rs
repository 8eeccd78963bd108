use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use coderag_core::{Claim, Digest, Error as CoreError, atomic};
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
pub(crate) struct RunFolder(coderag_core::RunFolder);

impl RunFolder {
    /// Opens or creates a folder. With `restart`, what an earlier run left is removed.
    pub(super) fn open(path: &Path, restart: bool) -> Result<Self> {
        let folder = match coderag_core::RunFolder::claim(path, RECORD)? {
            Claim::Held(folder) => Self(folder),
            Claim::NotARun => return Err(Error::NotARun { path: path.to_owned() }),
            Claim::InUse => return Err(Error::RunInUse { path: path.to_owned() }),
        };
        if restart {
            folder.0.remove(OUTPUTS.into_iter().chain([RESPONSES, RECORD]))?;
        }
        Ok(folder)
    }

    /// Records what the run is made from. Where that changed since an earlier call, the rows of then are removed,
    /// as others will be made; the answers stay, and the account of the calls that got them. Returns the manifest of
    /// what there is, if an earlier call left one.
    pub(super) fn begin(
        &self,
        config: &SynthConfig,
        model: &str,
        prompts: &BTreeMap<String, Digest>,
        inputs: BTreeMap<String, Digest>,
    ) -> Result<Option<Manifest>> {
        let mut record = RunRecord {
            format_version: RunRecord::FORMAT_VERSION,
            coderag_version: env!("CARGO_PKG_VERSION").to_owned(),
            started: now(),
            model: model.to_owned(),
            prompts: prompts.clone(),
            inputs,
            config: config.clone(),
        };
        let mut manifest = self.manifest()?;
        if self.0.path().join(RECORD).is_file() {
            let earlier = self.record()?;
            record.started = earlier.started.clone();
            if !earlier.makes_the_same(&record) {
                tracing::warn!(
                    "the settings, prompts or inputs changed since the run in {} began; its rows are made anew, with the answers that it has where the same is asked",
                    self.0.path().display()
                );
                self.0.remove(OUTPUTS)?;
                if let Some(Manifest { calls, .. }) = manifest {
                    let emptied = Manifest { calls, ..Manifest::empty(record.clone()) };
                    self.write_manifest(&emptied)?;
                    manifest = Some(emptied);
                }
            }
        }
        write_json(&self.0.path().join(RECORD), &record)?;
        Ok(manifest)
    }

    pub(super) fn record(&self) -> Result<RunRecord> {
        read_json(&self.0.path().join(RECORD), "the record of a run")
    }

    /// The manifest of an earlier call.
    fn manifest(&self) -> Result<Option<Manifest>> {
        let path = self.0.path().join(MANIFEST);
        path.is_file().then(|| read_json(&path, "the manifest of a run")).transpose()
    }

    pub(super) fn write_manifest(&self, manifest: &Manifest) -> Result<()> {
        write_json(&self.0.path().join(MANIFEST), manifest)
    }

    /// Writes the report and the card of the rows that the manifest names.
    pub(super) fn write_for_people(&self, manifest: &Manifest) -> Result<()> {
        let survey = Survey::read(self.0.path(), manifest)?;
        report::write_html(&self.0.path().join(REPORT), manifest, &survey)?;
        data_card::write(&self.0.path().join(CARD), manifest, &survey)
    }

    pub(super) fn responses(&self) -> PathBuf {
        self.0.path().join(RESPONSES)
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
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

const RECORD: &str = "run.json";
const RESPONSES: &str = "responses.jsonl";
const MANIFEST: &str = "manifest.json";
const REPORT: &str = "report.html";
const CARD: &str = "README.md";

/// What is made of the answers.
const OUTPUTS: [&str; 6] = [PAIRS, GRETEL, REJECTED, MANIFEST, CARD, REPORT];
