mod json_lines;
mod parquet;

use std::io::Result as IoResult;
use std::path::Path;

use coderag_core::{Digest, Error as CoreError, Progress, Unit, atomic};
use serde::{Deserialize, Serialize};

use self::json_lines::JsonLines;
use self::parquet::ParquetWriter;
use super::pairs::files_of;
use super::{Candidate, Mined, Pairs};
use crate::data::{BadRows, for_each_example};
use crate::{Error, Result};

/// What a file of pairs with negatives looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// How many negatives a pair should have.
    pub negatives: usize,
    /// What becomes of a pair with fewer.
    pub on_too_few: OnTooFew,
    /// Adds the column `scores`: the positive's similarity, then each negative's.
    pub scores: bool,
}

/// What becomes of a pair with fewer negatives than asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnTooFew {
    /// It is written with those that it has, perhaps none.
    #[default]
    Keep,
    /// It is left out.
    Drop,
}

/// How many pairs and negatives were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The pairs.
    pub pairs: u64,
    /// Their negatives.
    pub negatives: u64,
    /// The pairs with fewer negatives than asked for, whether written or left out.
    pub too_few: u64,
    /// The rows with a pair that an earlier row had, which are left out.
    pub repeated: u64,
}

/// A pair with its negatives, to be written.
#[derive(Debug, Serialize)]
struct Row<'a> {
    anchor: &'a str,
    positive: &'a str,
    negatives: &'a [&'a str],
    #[serde(skip_serializing_if = "Option::is_none")]
    scores: Option<&'a [f32]>,
}

/// Writes rows of a format.
trait RowWriter {
    fn write(&mut self, row: &Row<'_>) -> IoResult<()>;
    fn finish(self: Box<Self>) -> IoResult<()>;
}

/// Writes the pairs in the order of their rows, each with its negatives: `anchor`, `positive`, `negatives` and
/// perhaps `scores`, as Parquet or as JSON lines, the latter also with `.gz`.
///
/// The pairs' texts are read once more, so that they are as they were whatever white space they have.
///
/// # Errors
/// [`Error::UnknownFormat`], [`Error::InputChanged`] when a file of pairs is not what it was, those of
/// [`for_each_example`], and [`Error::Core`] when the file cannot be written; an old one is untouched then.
pub fn write(
    path: &Path,
    pairs: &Pairs,
    mined: &Mined,
    layout: &Layout,
    progress: &dyn Progress,
) -> Result<Written> {
    let format = Format::of(path)?;
    atomic::write_file(path, |file| {
        let failed = |error| Error::Core(CoreError::io("write", path)(error));
        let mut writer: Box<dyn RowWriter> = match format {
            Format::Parquet => Box::new(ParquetWriter::new(file, layout.scores).map_err(failed)?),
            Format::JsonLines { compressed } => Box::new(JsonLines::new(file, compressed)),
        };
        let mut rows = Rows::new(pairs, mined, layout);
        let task = progress.task("writing pairs", Some(pairs.len() as u64), Unit::Items);
        for ((source, path), file) in files_of(pairs.sources()).zip(pairs.files()) {
            let changed = |is| Error::InputChanged { path: path.clone(), was: file.sha256, is };
            let is = Digest::of_file(path)?;
            if is != file.sha256 {
                return Err(changed(is));
            }
            // They were counted when the pairs were read.
            let mut bad_rows = BadRows::default();
            for_each_example(path, &source.columns, &mut bad_rows, |example| {
                let Some(found) = pairs.find(&example.anchor, &example.positive) else {
                    return Err(changed(Digest::of_file(path)?));
                };
                task.advance(1);
                rows.write(&example.anchor, &example.positive, found, &mut |row| {
                    writer.write(row).map_err(failed)
                })
            })?;
        }
        writer.finish().map_err(failed)?;
        Ok(rows.written)
    })
}

/// Turns pairs into rows.
struct Rows<'a> {
    pairs: &'a Pairs,
    mined: &'a Mined,
    layout: &'a Layout,
    /// Which pairs were met.
    met: Vec<bool>,
    written: Written,
}

impl<'a> Rows<'a> {
    fn new(pairs: &'a Pairs, mined: &'a Mined, layout: &'a Layout) -> Self {
        let met = vec![false; pairs.len()];
        Self { pairs, mined, layout, met, written: Written::default() }
    }

    /// Gives the row of a pair to `write`, unless it is left out. `found` is what [`Pairs::find`] says.
    fn write(
        &mut self,
        anchor: &str,
        positive: &str,
        (number, place_of_positive, place): (usize, usize, usize),
        write: &mut dyn FnMut(&Row<'_>) -> Result<()>,
    ) -> Result<()> {
        if let Some(met) = self.met.get_mut(place)
            && std::mem::replace(met, true)
        {
            self.written.repeated += 1;
            return Ok(());
        }
        let negatives = self.mined.negatives(number);
        if negatives.len() < self.layout.negatives {
            self.written.too_few += 1;
            if self.layout.on_too_few == OnTooFew::Drop {
                return Ok(());
            }
        }
        let text = |candidate: &Candidate| {
            self.pairs.documents().get(candidate.document as usize).map(String::as_str)
        };
        let texts: Vec<&str> = negatives.iter().filter_map(text).collect();
        let scores: Vec<f32> = self
            .mined
            .positive_scores(number)
            .get(place_of_positive)
            .copied()
            .into_iter()
            .chain(negatives.iter().map(|negative| negative.score))
            .collect();
        let scores = self.layout.scores.then_some(scores.as_slice());
        write(&Row { anchor, positive, negatives: &texts, scores })?;
        self.written.pairs += 1;
        self.written.negatives += texts.len() as u64;
        Ok(())
    }
}

/// How a file holds rows.
#[derive(Clone, Copy)]
enum Format {
    Parquet,
    JsonLines { compressed: bool },
}

impl Format {
    /// The format that a name tells, among those that the readers of examples know.
    fn of(path: &Path) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let (plain, compressed) = match name.strip_suffix(".gz") {
            Some(plain) => (plain, true),
            None => (name.as_str(), false),
        };
        match plain.rsplit_once('.') {
            Some((_, "parquet")) if !compressed => Ok(Self::Parquet),
            Some((_, "jsonl" | "json")) => Ok(Self::JsonLines { compressed }),
            _ => Err(Error::UnknownFormat { path: path.to_owned() }),
        }
    }
}

impl Layout {
    /// Checks that the name of a file tells a format that can be written.
    ///
    /// # Errors
    /// [`Error::UnknownFormat`].
    pub fn check_name(path: &Path) -> Result<()> {
        Format::of(path).map(|_| ())
    }
}
