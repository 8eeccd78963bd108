//! Files and folders that appear whole or not at all.
//!
//! Everything is written to a hidden temporary sibling, flushed to disk and renamed into place, so a
//! reader, a killed writer or a full disk never meets half an artifact. A killed writer's leftovers
//! are removed by the next writer of the same name.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions, TryLockError};
use std::io::{BufWriter, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use tempfile::TempDir;

use crate::{Error, Result};

/// Writes a file through `write`; the file at `path` is replaced only after all of it is on disk.
///
/// # Errors
/// Whatever `write` returns, or [`Error::Io`]; the old file is untouched then.
pub fn write_file<T, E: From<Error>>(
    path: &Path,
    write: impl FnOnce(&mut (dyn Write + Send)) -> Result<T, E>,
) -> Result<T, E> {
    let parent = prepare_parent(path)?;
    let temporary = tempfile::Builder::new()
        .prefix(&partial_prefix(path))
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(parent)
        .map_err(Error::io("create a temporary file in", parent))?;
    temporary.as_file().lock().map_err(Error::io("lock", temporary.path()))?;
    let mut writer = BufWriter::new(temporary);
    let value = write(&mut writer)?;
    let temporary = writer
        .into_inner()
        .map_err(|error| error.into_error())
        .map_err(Error::io("write", path))?;
    temporary.as_file().sync_all().map_err(Error::io("write", path))?;
    temporary.persist(path).map_err(|error| error.error).map_err(Error::io("replace", path))?;
    sync_folder(parent)?;
    Ok(value)
}

/// A folder under construction beside its final place. Dropping it without [`commit`] removes it.
///
/// [`commit`]: AtomicFolder::commit
#[derive(Debug)]
pub struct AtomicFolder {
    destination: PathBuf,
    temporary: TempDir,
    /// Held while building, so that another process can tell a live build from a killed one's.
    _lock: File,
}

impl AtomicFolder {
    /// Begins to build the folder `destination`, and removes what killed builds of it left behind.
    ///
    /// # Errors
    /// [`Error::Io`] when the parent folder cannot be created or written.
    pub fn begin(destination: &Path) -> Result<Self> {
        let parent = prepare_parent(destination)?;
        let temporary = tempfile::Builder::new()
            .prefix(&partial_prefix(destination))
            .permissions(Permissions::from_mode(0o777))
            .tempdir_in(parent)
            .map_err(Error::io("create a temporary folder in", parent))?;
        let lock = File::open(temporary.path()).map_err(Error::io("open", temporary.path()))?;
        lock.lock().map_err(Error::io("lock", temporary.path()))?;
        Ok(Self { destination: destination.to_owned(), temporary, _lock: lock })
    }

    /// Where to write the files.
    pub fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Flushes every file, then puts the folder in place of the old one in a single step.
    ///
    /// # Errors
    /// [`Error::Io`]; the old folder is untouched then.
    pub fn commit(self) -> Result<()> {
        sync_tree(self.temporary.path())?;
        match rename(self.temporary.path(), &self.destination, RenameFlags::NOREPLACE) {
            // The folder has left its temporary name, so there is nothing for the guard to remove.
            Ok(()) => drop(self.temporary.keep()),
            // The guard now holds the old content under the temporary name, and removes it.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                rename(self.temporary.path(), &self.destination, RenameFlags::EXCHANGE)
                    .map_err(Error::io("replace", &self.destination))?;
            }
            Err(error) => return Err(Error::io("create", &self.destination)(error)),
        }
        sync_folder(parent_of(&self.destination))
    }
}

fn rename(from: &Path, to: &Path, flags: RenameFlags) -> std::io::Result<()> {
    Ok(rustix::fs::renameat_with(CWD, from, CWD, to, flags)?)
}

/// Creates the folder that `path` will be in and removes the temporary siblings of `path` that no
/// living process holds locked.
fn prepare_parent(path: &Path) -> Result<&Path> {
    let parent = parent_of(path);
    fs::create_dir_all(parent).map_err(Error::io("create the folder", parent))?;
    let prefix = partial_prefix(path);
    for entry in fs::read_dir(parent).map_err(Error::io("list", parent))? {
        let entry = entry.map_err(Error::io("list", parent))?;
        if !entry.file_name().as_encoded_bytes().starts_with(prefix.as_encoded_bytes()) {
            continue;
        }
        let leftover = entry.path();
        // Another process may remove it first.
        let Ok(handle) = File::open(&leftover) else { continue };
        match handle.try_lock() {
            Ok(()) if leftover.is_dir() => fs::remove_dir_all(&leftover),
            Ok(()) => fs::remove_file(&leftover),
            Err(TryLockError::WouldBlock) => Ok(()),
            Err(TryLockError::Error(error)) => Err(error),
        }
        .or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
        .map_err(Error::io("remove", &leftover))?;
    }
    Ok(parent)
}

/// `.NAME.partial-`, the start of every temporary name for `path`.
fn partial_prefix(path: &Path) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(path.file_name().unwrap_or(OsStr::new("unnamed")));
    prefix.push(".partial-");
    prefix
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn sync_tree(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let path = entry.map_err(Error::io("list", folder))?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            let file = File::open(&path).map_err(Error::io("open", &path))?;
            file.sync_all().map_err(Error::io("flush", &path))?;
        }
    }
    sync_folder(folder)
}

fn sync_folder(folder: &Path) -> Result<()> {
    let handle = File::open(folder).map_err(Error::io("open", folder))?;
    handle.sync_all().map_err(Error::io("flush", folder))
}
