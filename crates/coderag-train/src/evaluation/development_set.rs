use std::collections::HashMap;

use coderag_core::Embeddings;

use super::Scores;
use super::search::search;
use crate::config::EvaluationSettings;
use crate::data::{BadRows, InputFile, OnBadRow, read_file};
use crate::{Error, Result};

/// Queries, the documents that are searched for them, and which should be found.
///
/// Texts are the same where they are equal character by character.
#[derive(Clone, Debug)]
pub struct DevelopmentSet {
    queries: Vec<String>,
    documents: Vec<String>,
    /// The numbers of each query's positives, ascending.
    relevant: Vec<Vec<usize>>,
    files: Vec<InputFile>,
    bad_rows: BadRows,
}

impl DevelopmentSet {
    /// Reads the pairs. The queries are the different anchors of the first pairs, as many as the settings
    /// say; the documents are the different positives and negatives of all pairs. All positives of an
    /// anchor should be found for it, whichever pair they come with.
    ///
    /// # Errors
    /// Those of [`for_each_example`](crate::data::for_each_example), [`Error::BadRows`] where these end the
    /// run, and [`Error::NoRows`] when there is no pair.
    pub fn read(settings: &EvaluationSettings, on_bad_row: OnBadRow) -> Result<Self> {
        let source = &settings.source;
        let limit = settings.queries.unwrap_or(usize::MAX);
        let (mut queries, mut documents) = (Numbers::default(), Numbers::default());
        let (mut positives, mut rows) = (Vec::new(), 0);
        let mut bad_rows = BadRows::default();
        let mut files = Vec::with_capacity(source.files.len());
        let mut anchors_asked = 0;
        for path in &source.files {
            files.push(read_file(path, &source.columns, &mut bad_rows, |example| {
                let anchor = queries.number(example.anchor);
                positives.push((anchor, documents.number(example.positive)));
                for negative in example.negatives {
                    documents.number(negative);
                }
                rows += 1;
                if rows <= limit {
                    anchors_asked = queries.texts.len();
                }
                Ok(())
            })?);
        }
        on_bad_row.settle(&source.name, &bad_rows)?;
        if rows == 0 {
            let (name, bad_rows) = (source.name.clone(), Box::new(bad_rows));
            return Err(Error::NoRows { name, bad_rows });
        }
        let mut relevant = vec![Vec::new(); anchors_asked];
        for (anchor, positive) in positives {
            if let Some(relevant) = relevant.get_mut(anchor) {
                relevant.push(positive);
            }
        }
        for relevant in &mut relevant {
            relevant.sort_unstable();
            relevant.dedup();
        }
        queries.texts.truncate(anchors_asked);
        let (queries, documents) = (queries.texts, documents.texts);
        Ok(Self { queries, documents, relevant, files, bad_rows })
    }

    /// What is searched with.
    pub fn queries(&self) -> &[String] {
        &self.queries
    }

    /// What is searched.
    pub fn documents(&self) -> &[String] {
        &self.documents
    }

    /// The files as they were read, with their digests.
    pub fn files(&self) -> &[InputFile] {
        &self.files
    }

    /// The rows that were left out.
    pub fn bad_rows(&self) -> &BadRows {
        &self.bad_rows
    }

    /// The scores of a model, given its vectors of the queries `[queries, dim]` and of the documents
    /// `[documents, dim]`, which need not have length 1. The search is exact, by cosine; of equally similar
    /// documents the one that was read later is first, as trec_eval has it for numbers as ids.
    ///
    /// # Errors
    /// [`Error::Evaluation`] when there are more or fewer vectors than texts, or when the vectors of
    /// queries and documents differ in width.
    pub fn score(&self, queries: &Embeddings, documents: &Embeddings) -> Result<Scores> {
        let sides =
            [("queries", &self.queries, queries), ("documents", &self.documents, documents)];
        for (side, texts, vectors) in sides {
            if texts.len() != vectors.len() {
                let (texts, vectors) = (texts.len(), vectors.len());
                return Err(Error::Evaluation(format!("{vectors} vectors of {texts} {side}")));
            }
        }
        if queries.dimensions() != documents.dimensions() {
            let (left, right) = (queries.dimensions(), documents.dimensions());
            return Err(Error::Evaluation(format!(
                "the vectors of queries have {left} dimensions and those of documents {right}"
            )));
        }
        let found = search(queries.clone(), documents.clone(), &self.relevant, Scores::DEPTH)?;
        Ok(Scores::of(&self.relevant, &found, self.documents.len()))
    }
}

/// Different texts, numbered as they come.
#[derive(Default)]
struct Numbers {
    texts: Vec<String>,
    by_text: HashMap<String, usize>,
}

impl Numbers {
    fn number(&mut self, text: String) -> usize {
        if let Some(number) = self.by_text.get(&text) {
            return *number;
        }
        let number = self.texts.len();
        self.texts.push(text.clone());
        self.by_text.insert(text, number);
        number
    }
}
