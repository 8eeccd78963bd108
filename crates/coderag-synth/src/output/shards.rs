use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use coderag_core::{Digest, Error as CoreError, atomic};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde_json::{Map, Value};

use super::OutputFile;
use crate::config::Category;
use crate::{Error, Result};

/// Rows of one kind, in a folder of Parquet files with a limited number of rows each.
#[derive(Debug)]
pub(crate) struct Shards<T> {
    run: PathBuf,
    name: &'static str,
    rows_per_file: usize,
    to_batch: fn(&[T]) -> Result<RecordBatch, arrow::error::ArrowError>,
    rows: Vec<T>,
    files: Vec<OutputFile>,
}

impl<T> Shards<T> {
    /// Files in the folder `name` of a run.
    pub(crate) fn new(
        run: &Path,
        name: &'static str,
        rows_per_file: usize,
        to_batch: fn(&[T]) -> Result<RecordBatch, arrow::error::ArrowError>,
    ) -> Self {
        let run = run.to_owned();
        Self { run, name, rows_per_file, to_batch, rows: Vec::new(), files: Vec::new() }
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum::<u64>() + self.rows.len() as u64
    }

    /// Adds a row; writes a file when that fills it.
    pub(crate) fn push(&mut self, row: T) -> Result<()> {
        self.rows.push(row);
        if self.rows.len() >= self.rows_per_file { self.write() } else { Ok(()) }
    }

    /// Writes the last file and removes those of an earlier call that had more.
    pub(crate) fn finish(mut self) -> Result<Vec<OutputFile>> {
        if !self.rows.is_empty() {
            self.write()?;
        }
        let kept: BTreeSet<PathBuf> =
            self.files.iter().map(|file| self.run.join(&file.path)).collect();
        let folder = self.run.join(self.name);
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(self.files),
            entries => entries.map_err(CoreError::io("list", &folder))?,
        };
        for entry in entries {
            let path = entry.map_err(CoreError::io("list", &folder))?.path();
            if path.extension().is_some_and(|it| it == "parquet") && !kept.contains(&path) {
                fs::remove_file(&path).map_err(CoreError::io("remove", &path))?;
            }
        }
        Ok(self.files)
    }

    fn write(&mut self) -> Result<()> {
        let relative = format!("{}/part-{:05}.parquet", self.name, self.files.len());
        let path = self.run.join(&relative);
        let failure = |source| Error::Parquet { action: "write", path: path.clone(), source };
        let rows = std::mem::take(&mut self.rows);
        let batch = (self.to_batch)(&rows).map_err(|error| failure(error.into()))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .build();
        let bytes = (|| {
            let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))?;
            writer.write(&batch)?;
            writer.into_inner()
        })()
        .map_err(failure)?;
        atomic::write_file(&path, |file| {
            file.write_all(&bytes).map_err(CoreError::io("write", &path))
        })?;
        self.files.push(OutputFile {
            path: relative,
            rows: rows.len() as u64,
            bytes: bytes.len() as u64,
            sha256: Digest::of(&bytes),
        });
        Ok(())
    }
}

/// A column of texts.
pub(super) fn texts<'t>(texts: impl Iterator<Item = &'t str>) -> Arc<arrow::array::StringArray> {
    Arc::new(texts.map(Some).collect())
}

/// What a row's column `meta` holds, as JSON.
pub(super) fn meta(meta: &Map<String, Value>, category: Category) -> String {
    let mut meta = meta.clone();
    meta.insert("category".to_owned(), category.id().into());
    Value::from(meta).to_string()
}
