use std::collections::HashMap;

use coderag_core::{Progress, Unit};

use crate::data::{BadRows, InputFile, OnBadRow, Source, fingerprint, read_file};
use crate::{Error, Result};

/// The texts of pairs, each text once, and which documents are positives of which anchor.
///
/// Texts that differ in white space alone are one text. All texts are in memory.
#[derive(Debug)]
pub struct Pairs {
    sources: Vec<Source>,
    files: Vec<InputFile>,
    bad_rows: BadRows,
    anchors: Texts,
    documents: Texts,
    /// Each anchor with each of its positives, sorted and without repeats.
    pairs: Vec<(u32, u32)>,
    /// Where the pairs of each anchor begin in `pairs`, and their number at the end.
    starts: Vec<usize>,
}

/// Different texts, numbered as they come.
#[derive(Debug, Default)]
struct Texts {
    texts: Vec<String>,
    numbers: HashMap<u64, u32>,
    collapsed: String,
}

impl Texts {
    fn number(&self, text: &str) -> Option<u32> {
        self.numbers.get(&fingerprint(text, &mut String::new())).copied()
    }

    /// The number of a text, which may be new.
    fn add(&mut self, text: String) -> Result<u32> {
        let bits = fingerprint(&text, &mut self.collapsed);
        if let Some(number) = self.numbers.get(&bits) {
            return Ok(*number);
        }
        let number = u32::try_from(self.texts.len()).map_err(|_| Error::Setting {
            setting: "sources",
            problem: "more than 4 billion different texts cannot be compared".to_owned(),
        })?;
        self.numbers.insert(bits, number);
        self.texts.push(text);
        Ok(number)
    }
}

impl Pairs {
    /// Reads the anchors and positives of all sources; the negatives and scores that rows may have are passed
    /// over.
    ///
    /// # Errors
    /// Those of [`for_each_example`](crate::data::for_each_example), [`Error::BadRows`] where these end the run, and [`Error::NoRows`] when
    /// there is no pair.
    pub fn read(sources: &[Source], on_bad_row: OnBadRow, progress: &dyn Progress) -> Result<Self> {
        let (mut anchors, mut documents) = (Texts::default(), Texts::default());
        let (mut files, mut pairs, mut bad_rows) = (Vec::new(), Vec::new(), BadRows::default());
        let task = progress.task("reading pairs", None, Unit::Items);
        for (source, path) in files_of(sources) {
            files.push(read_file(path, &source.columns, &mut bad_rows, |example| {
                pairs.push((anchors.add(example.anchor)?, documents.add(example.positive)?));
                task.advance(1);
                Ok(())
            })?);
        }
        on_bad_row.settle("the pairs", &bad_rows)?;
        if pairs.is_empty() {
            let name = sources.first().map(|source| source.name.clone()).unwrap_or_default();
            return Err(Error::NoRows { name, bad_rows: Box::new(bad_rows) });
        }
        pairs.sort_unstable();
        pairs.dedup();
        // Numbers are given in order, so every anchor has a pair.
        let mut starts = vec![0];
        for (place, both) in pairs.windows(2).enumerate() {
            if let [(anchor, _), (next, _)] = both
                && anchor != next
            {
                starts.push(place + 1);
            }
        }
        starts.push(pairs.len());
        Ok(Self { sources: sources.to_vec(), files, bad_rows, anchors, documents, pairs, starts })
    }

    /// Adds a document that is nobody's positive. Returns whether it is new; a blank text is not added.
    ///
    /// # Errors
    /// [`Error::Setting`] for too many texts.
    pub fn add_document(&mut self, text: String) -> Result<bool> {
        if text.trim().is_empty() {
            return Ok(false);
        }
        let before = self.documents.texts.len();
        self.documents.add(text)?;
        Ok(self.documents.texts.len() > before)
    }

    /// The different anchors, in the order in which they came.
    pub fn anchors(&self) -> &[String] {
        &self.anchors.texts
    }

    /// The different documents: the positives in the order in which they came, then those that were added.
    pub fn documents(&self) -> &[String] {
        &self.documents.texts
    }

    /// How many different pairs there are.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there are no pairs, which [`read`](Self::read) refuses.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The files that the pairs are from.
    pub fn files(&self) -> &[InputFile] {
        &self.files
    }

    /// The rows that were left out.
    pub fn bad_rows(&self) -> &BadRows {
        &self.bad_rows
    }

    /// The most positives that an anchor has.
    pub fn most_positives(&self) -> usize {
        let ends = self.starts.iter().skip(1);
        self.starts.iter().zip(ends).map(|(start, end)| end - start).max().unwrap_or(0)
    }

    pub(super) fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The positives of an anchor in rising order.
    pub(super) fn positives(&self, anchor: usize) -> impl ExactSizeIterator<Item = u32> + '_ {
        let range = match self.starts.get(anchor..).unwrap_or_default() {
            [start, end, ..] => *start..*end,
            _ => 0..0,
        };
        self.pairs.get(range).unwrap_or_default().iter().map(|(_, document)| *document)
    }

    /// The document that is the anchor's own text, if there is one.
    pub(super) fn own_document(&self, anchor: usize) -> Option<u32> {
        self.anchors.texts.get(anchor).and_then(|text| self.documents.number(text))
    }

    /// What tells an anchor from others, whatever its number.
    pub(super) fn anchor_bits(&self, anchor: usize) -> u64 {
        let text = self.anchors.texts.get(anchor).map_or("", String::as_str);
        fingerprint(text, &mut String::new())
    }

    /// The anchor's number, that of the pair among the anchor's, and that among all pairs.
    pub(super) fn find(&self, anchor: &str, positive: &str) -> Option<(usize, usize, usize)> {
        let pair = (self.anchors.number(anchor)?, self.documents.number(positive)?);
        let place = self.pairs.binary_search(&pair).ok()?;
        let anchor = pair.0 as usize;
        Some((anchor, place - self.starts.get(anchor)?, place))
    }
}

/// Each file with its source.
pub(super) fn files_of(sources: &[Source]) -> impl Iterator<Item = (&Source, &std::path::PathBuf)> {
    sources.iter().flat_map(|source| source.files.iter().map(move |path| (source, path)))
}
