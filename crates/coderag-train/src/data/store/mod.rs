//! All examples of a run in a folder of their own, to be read in any order in constant memory.
//!
//! | file | content, little-endian |
//! | --- | --- |
//! | `examples.json` | the [`Manifest`] |
//! | `texts.bin` | a record a row: whether it has scores (`u32`, 0 or 1), the length of each text in bytes (`u32`), the scores (`f32`), the texts in UTF-8 |
//! | `fingerprints.bin` | 64 bits of each text, in the same order |
//! | `rows.bin` | 24 bytes a row: where its record begins (`u64`), the number of its first fingerprint (`u64`), the characters of its longest text (`u32`), how many texts it has (`u32`) |
//!
//! A row's texts are its anchor, its positive and its negatives. The rows of a source are consecutive.

mod build;
mod manifest;
mod open;
mod table;

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use coderag_core::Error as CoreError;
use memmap2::Mmap;

pub use manifest::{InputFile, Manifest, SourceRecord};
use table::Table;

use super::{Example, Rows};
use crate::{Error, Result};

const TEXTS: &str = "texts.bin";
const FINGERPRINTS: &str = "fingerprints.bin";
const ROWS: &str = "rows.bin";

/// The examples of a run, in a folder on disk.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    manifest: Manifest,
    /// Read piece by piece and not mapped, so that the memory of a long run is not full of texts it has
    /// long done with.
    texts: File,
    text_bytes: u64,
    table: Table,
}

impl Store {
    /// What was read, and what it is like.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// How many examples there are.
    pub fn rows(&self) -> usize {
        self.table.rows()
    }

    /// The number of the source that a row is of.
    pub fn source_of(&self, row: usize) -> usize {
        let mut end = 0;
        let ends = self.manifest.sources.iter().map(|source| {
            end += source.rows;
            end
        });
        ends.take_while(|end| *end <= row as u64).count()
    }

    /// Reads a row.
    ///
    /// # Errors
    /// [`Error::Core`] when the file cannot be read, [`Error::Store`] when there is no such row or its
    /// record is damaged.
    pub fn example(&self, row: usize) -> Result<Example> {
        let damaged = || Error::Store {
            path: self.folder.clone(),
            problem: format!("row {row} cannot be read"),
        };
        let entry = self.table.entry(row).ok_or_else(damaged)?;
        let end = self.table.entry(row + 1).map_or(self.text_bytes, |next| next.record);
        let mut record = vec![0; (end - entry.record) as usize];
        self.texts
            .read_exact_at(&mut record, entry.record)
            .map_err(CoreError::io("read", &self.folder.join(TEXTS)))?;
        decode(&record, entry.texts as usize).ok_or_else(damaged)
    }
}

/// The example of a record of `texts.bin` with so many texts, if it is sound.
fn decode(record: &[u8], texts: usize) -> Option<Example> {
    let mut rest = record;
    let mut take = |bytes: usize| {
        let (taken, after) = rest.split_at_checked(bytes)?;
        rest = after;
        Some(taken)
    };
    let words = |bytes: &[u8]| -> Vec<[u8; 4]> { bytes.as_chunks().0.to_vec() };
    let [has_scores] = words(take(4)?)[..] else { return None };
    let lengths = words(take(4 * texts)?);
    let scores = match u32::from_le_bytes(has_scores) {
        0 => None,
        1 => Some(words(take(4 * (texts - 1))?).into_iter().map(f32::from_le_bytes).collect()),
        _ => return None,
    };
    let mut texts = lengths.into_iter().map(|length| {
        let bytes = take(u32::from_le_bytes(length) as usize)?;
        Some(std::str::from_utf8(bytes).ok()?.to_owned())
    });
    let (anchor, positive) = (texts.next()??, texts.next()??);
    Some(Example { anchor, positive, negatives: texts.collect::<Option<_>>()?, scores })
}

impl Rows for Store {
    fn sources(&self) -> Vec<usize> {
        self.manifest.sources.iter().map(|source| source.rows as usize).collect()
    }

    fn fingerprints(&self, row: usize, fingerprints: &mut Vec<u64>) {
        self.table.fingerprints(row, fingerprints);
    }

    fn characters(&self, row: usize) -> u32 {
        self.table.entry(row).map_or(0, |entry| entry.characters)
    }
}

fn open_file(path: &Path) -> Result<File> {
    Ok(File::open(path).map_err(CoreError::io("open", path))?)
}

/// Maps a file of the store.
fn map(path: &Path) -> Result<Mmap> {
    let file = open_file(path)?;
    // SAFETY: the map is only read. A store is written under a temporary name and never changed after
    // it has its own, so the mapped file keeps its content and length.
    #[allow(unsafe_code)]
    let map = unsafe { Mmap::map(&file) }.map_err(CoreError::io("map", path))?;
    Ok(map)
}
