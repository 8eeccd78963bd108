//! The folder of a long run: marked by its record, held by one process at a time.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// The file whose lock keeps a second process out.
const LOCK: &str = "lock";

/// A run's folder, held by this process until it is dropped.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    _lock: File,
}

/// What came of asking for a folder.
#[derive(Debug)]
pub enum Claim {
    /// This process holds it.
    Held(RunFolder),
    /// It holds files and no run's record.
    NotARun,
    /// Another process holds it.
    InUse,
}

impl RunFolder {
    /// Opens or creates a folder; `record` is the file without which a folder with files is no run's.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder or its lock cannot be made.
    pub fn claim(path: &Path, record: &str) -> Result<Claim> {
        // What a run leaves that was killed before it had a record.
        let is_of_a_beginning = |name: &OsStr| {
            name == LOCK || name.to_string_lossy().starts_with(&format!(".{record}.partial-"))
        };
        let is_used = fs::read_dir(path).is_ok_and(|mut entries| {
            entries.any(|entry| entry.is_ok_and(|entry| !is_of_a_beginning(&entry.file_name())))
        });
        if is_used && !path.join(record).is_file() {
            return Ok(Claim::NotARun);
        }
        fs::create_dir_all(path).map_err(Error::io("create the folder", path))?;
        let lock_path = path.join(LOCK);
        let lock = File::options()
            .create(true)
            .append(true)
            .open(&lock_path)
            .map_err(Error::io("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Claim::Held(Self { path: path.to_owned(), _lock: lock })),
            Err(TryLockError::WouldBlock) => Ok(Claim::InUse),
            Err(TryLockError::Error(error)) => Err(Error::io("lock", &lock_path)(error)),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes files and folders by their names, in order; those that are absent are passed over.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Result<()> {
        for name in names {
            let path = self.path.join(name);
            let removed =
                if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match removed {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Error::io("remove", &path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
