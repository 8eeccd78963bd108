use std::collections::BTreeMap;
use std::path::PathBuf;

use coderag_core::Digest;
use serde::{Deserialize, Serialize};

use super::super::{BadRows, Columns, Lengths, Repeats};

/// What a store holds and what it was made from: the content of `examples.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the folder's format, [`Manifest::FORMAT_VERSION`].
    pub format_version: u32,
    /// The version of CodeRAG that wrote it.
    pub coderag_version: String,
    /// The sources, in the order of their rows.
    pub sources: Vec<SourceRecord>,
    /// The rows that were left out.
    pub bad_rows: BadRows,
    /// Rows with texts of earlier rows, over all sources.
    pub repeats: Repeats,
    /// The bytes of the store's other files by name.
    pub files: BTreeMap<String, u64>,
}

/// A source as it was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// Its name.
    pub name: String,
    /// Which columns were read.
    pub columns: Columns,
    /// Its files.
    pub files: Vec<InputFile>,
    /// Its examples.
    pub rows: u64,
    /// How many of its examples have a teacher's scores.
    pub scored_rows: u64,
    /// The fewest negatives that an example has.
    pub fewest_negatives: u32,
    /// The most negatives that an example has.
    pub most_negatives: u32,
    /// How long the anchors are.
    pub anchors: Lengths,
    /// How long the positives are.
    pub positives: Lengths,
    /// How long the negatives are.
    pub negatives: Lengths,
}

/// A file as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// Where it was.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// The digest of its content.
    pub sha256: Digest,
    /// Its examples.
    pub rows: u64,
    /// Its rows that no example could be made of.
    pub bad_rows: u64,
}

impl Manifest {
    /// The version of the folder's format that this crate writes and reads.
    pub const FORMAT_VERSION: u32 = 1;

    pub(super) const FILE: &'static str = "examples.json";

    /// All examples.
    pub fn rows(&self) -> u64 {
        self.sources.iter().map(|source| source.rows).sum()
    }
}
