use std::fs::File;
use std::io::Read;
use std::path::Path;

use coderag_core::{Digest, Error as CoreError, Hasher, ProgressTask};

use crate::{Error, Result};

/// What a file is, as measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checksum {
    pub(crate) sha256: Digest,
    /// In bytes.
    pub(crate) size: u64,
}

impl Checksum {
    /// Reads a whole file.
    pub(crate) fn of_file(path: &Path, progress: &dyn ProgressTask) -> Result<Self> {
        let mut file = File::open(path).map_err(CoreError::io("open", path))?;
        let mut hasher = Hasher::new();
        let mut size = 0;
        let mut buffer = vec![0; 1 << 20];
        loop {
            let read = file.read(&mut buffer).map_err(CoreError::io("read", path))?;
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
                return Ok(Self { sha256: hasher.finish(), size });
            };
            hasher.update(bytes);
            size += read as u64;
            progress.advance(read as u64);
        }
    }
}

/// What a file must be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) sha256: Option<Digest>,
    /// In bytes.
    pub(crate) size: Option<u64>,
}

impl Expected {
    /// Whether the file is what it must be; `file` names it in the error.
    pub(crate) fn check(&self, file: String, found: Checksum) -> Result<()> {
        match (self.size, self.sha256) {
            (Some(expected), _) if expected != found.size => {
                Err(Error::WrongSize { file, expected, found: found.size })
            }
            (_, Some(expected)) if expected != found.sha256 => {
                Err(Error::WrongHash { file, expected, found: found.sha256 })
            }
            _ => Ok(()),
        }
    }
}
