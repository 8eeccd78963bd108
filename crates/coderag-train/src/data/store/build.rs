use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use coderag_core::atomic::AtomicFolder;
use coderag_core::{Error as CoreError, Progress, Unit};

use super::super::fingerprint::fingerprint;
use super::super::statistics::LengthCounts;
use super::super::{BadRows, Example, OnBadRow, Repeats, Source, read_file};
use super::table::{Entry, Table};
use super::{FINGERPRINTS, Manifest, ROWS, SourceRecord, Store, TEXTS, map};
use crate::{Error, Result};

impl Store {
    /// Reads all sources into the folder, in place of what it held. The folder appears whole or not at
    /// all; memory does not grow with the sources, but for 16 bytes a row at the end.
    ///
    /// # Errors
    /// Those of [`for_each_example`](crate::data::for_each_example), [`Error::BadRows`] where these end
    /// the run, [`Error::NoRows`] for a source without an example, [`Error::Setting`] for sources that
    /// cannot be told apart, and [`Error::Core`] when the folder cannot be written; the old one is
    /// untouched then.
    pub fn build(
        folder: &Path,
        sources: &[Source],
        on_bad_row: OnBadRow,
        progress: &dyn Progress,
    ) -> Result<Self> {
        check(sources)?;
        let target = AtomicFolder::begin(folder)?;
        let mut writer = Writer::create(target.path())?;
        let mut bad_rows = BadRows::default();
        let mut records = Vec::with_capacity(sources.len());
        let task = progress.task("reading examples", None, Unit::Items);
        for source in sources {
            let bad_before = bad_rows.total;
            let record = read(source, &mut writer, &mut bad_rows, &|| task.advance(1))?;
            tracing::info!(
                "{}: {} examples, {} bad rows",
                record.name,
                record.rows,
                bad_rows.total - bad_before
            );
            records.push(record);
        }
        drop(task);
        on_bad_row.settle("the examples", &bad_rows)?;
        if let Some(empty) = records.iter().find(|record| record.rows == 0) {
            let (name, bad_rows) = (empty.name.clone(), Box::new(bad_rows));
            return Err(Error::NoRows { name, bad_rows });
        }
        let files = writer.finish()?;
        let texts = files.get(TEXTS).copied().unwrap_or_default();
        let (rows, fingerprints) =
            (map(&target.path().join(ROWS))?, map(&target.path().join(FINGERPRINTS))?);
        let table = Table::new(rows, fingerprints, texts)
            .map_err(|problem| Error::Store { path: folder.to_owned(), problem })?;
        let manifest = Manifest {
            format_version: Manifest::FORMAT_VERSION,
            coderag_version: env!("CARGO_PKG_VERSION").to_owned(),
            sources: records,
            bad_rows,
            repeats: Repeats::count(table.pairs()),
            files,
        };
        drop(table);
        manifest.write(target.path())?;
        target.commit()?;
        Self::open(folder)
    }
}

fn check(sources: &[Source]) -> Result<()> {
    let refused = |problem| Err(Error::Setting { setting: "sources", problem });
    if sources.is_empty() {
        return refused("there are none; name at least one file of examples".to_owned());
    }
    for (index, source) in sources.iter().enumerate() {
        if source.files.is_empty() {
            return refused(format!("`{}` has no files", source.name));
        }
        if sources.iter().take(index).any(|other| other.name == source.name) {
            return refused(format!("two have the name `{}`", source.name));
        }
    }
    Ok(())
}

fn read(
    source: &Source,
    writer: &mut Writer,
    bad_rows: &mut BadRows,
    advance: &dyn Fn(),
) -> Result<SourceRecord> {
    let mut counts: [LengthCounts; 3] = Default::default();
    let (mut fewest, mut most, mut scored_rows) = (u32::MAX, 0, 0);
    let mut files = Vec::with_capacity(source.files.len());
    for path in &source.files {
        files.push(read_file(path, &source.columns, bad_rows, |example| {
            let lengths = writer.add(&example)?;
            for (index, length) in lengths.iter().enumerate() {
                if let Some(counts) = counts.get_mut(index.min(2)) {
                    counts.add(*length);
                }
            }
            scored_rows += u64::from(example.scores.is_some());
            let negatives = lengths.len() as u32 - 2;
            (fewest, most) = (fewest.min(negatives), most.max(negatives));
            advance();
            Ok(())
        })?);
    }
    let [anchors, positives, negatives] = counts.map(|counts| counts.lengths());
    Ok(SourceRecord {
        name: source.name.clone(),
        columns: source.columns.clone(),
        rows: files.iter().map(|file| file.rows).sum(),
        files,
        scored_rows,
        fewest_negatives: fewest.min(most),
        most_negatives: most,
        anchors,
        positives,
        negatives,
    })
}

/// Writes the files of a store, row by row.
struct Writer {
    texts: Part,
    fingerprints: Part,
    rows: Part,
    /// How many fingerprints were written.
    written: u64,
    record: Vec<u8>,
    lengths: Vec<u32>,
    collapsed: String,
}

impl Writer {
    fn create(folder: &Path) -> Result<Self> {
        Ok(Self {
            texts: Part::create(folder.join(TEXTS))?,
            fingerprints: Part::create(folder.join(FINGERPRINTS))?,
            rows: Part::create(folder.join(ROWS))?,
            written: 0,
            record: Vec::new(),
            lengths: Vec::new(),
            collapsed: String::new(),
        })
    }

    /// Writes an example and returns the length of each of its texts in characters.
    fn add(&mut self, example: &Example) -> Result<&[u32]> {
        let fingerprints = self.written;
        self.record.clear();
        self.lengths.clear();
        self.record.extend(u32::from(example.scores.is_some()).to_le_bytes());
        // The readers take no text that is longer than 32 bits can say.
        for text in example.texts() {
            self.record.extend((text.len() as u32).to_le_bytes());
        }
        for score in example.scores.iter().flatten() {
            self.record.extend(score.to_le_bytes());
        }
        for text in example.texts() {
            self.record.extend(text.as_bytes());
            self.lengths.push(text.chars().count() as u32);
            let bits = fingerprint(text, &mut self.collapsed);
            self.fingerprints.write(&bits.to_le_bytes())?;
            self.written += 1;
        }
        let entry = Entry {
            record: self.texts.bytes,
            fingerprints,
            characters: self.lengths.iter().copied().max().unwrap_or_default(),
            texts: self.lengths.len() as u32,
        };
        self.rows.write(&entry.to_bytes())?;
        self.texts.write(&self.record)?;
        Ok(&self.lengths)
    }

    /// Ends the files and returns their sizes by name.
    fn finish(self) -> Result<BTreeMap<String, u64>> {
        let parts = [(TEXTS, self.texts), (FINGERPRINTS, self.fingerprints), (ROWS, self.rows)];
        parts.into_iter().map(|(name, part)| Ok((name.to_owned(), part.finish()?))).collect()
    }
}

struct Part {
    path: PathBuf,
    file: BufWriter<File>,
    bytes: u64,
}

impl Part {
    fn create(path: PathBuf) -> Result<Self> {
        let file = File::create(&path).map_err(CoreError::io("create", &path))?;
        Ok(Self { path, file: BufWriter::with_capacity(1 << 16, file), bytes: 0 })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(CoreError::io("write", &self.path))?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn finish(mut self) -> Result<u64> {
        self.file.flush().map_err(CoreError::io("write", &self.path))?;
        Ok(self.bytes)
    }
}
