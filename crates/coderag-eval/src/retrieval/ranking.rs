use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use serde::Serialize;

use super::lines::for_each_line;
use crate::{Result, python_text};

/// A document found for a query.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScoredDocument {
    /// The document's id.
    pub id: String,
    /// How well it fits, higher is better. Single precision, as trec_eval keeps it.
    pub score: f32,
}

/// The documents found for one query, best first, none of them twice.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Ranking {
    documents: Vec<ScoredDocument>,
}

impl Ranking {
    /// Orders documents as trec_eval does: by score, and those of equal score by their ids, both from
    /// the highest. A score that is not a number counts as the lowest, where trec_eval's order is
    /// undefined. Of a document that is given twice the better place stays.
    pub fn new(documents: impl IntoIterator<Item = ScoredDocument>) -> Self {
        let mut documents: Vec<ScoredDocument> = documents.into_iter().collect();
        documents.sort_by(|left, right| {
            let by_score = comparable(right.score).total_cmp(&comparable(left.score));
            by_score.then_with(|| right.id.cmp(&left.id))
        });
        let mut seen = HashSet::new();
        documents.retain(|document| seen.insert(document.id.clone()));
        Self { documents }
    }

    /// The documents, best first.
    pub fn documents(&self) -> &[ScoredDocument] {
        &self.documents
    }

    /// The ranking cut after its `length` best documents.
    pub fn truncated(mut self, length: usize) -> Self {
        self.documents.truncate(length);
        self
    }

    /// The ranking with other ids in the same order; of those that become equal the best-placed stays.
    pub(super) fn renamed<'a>(&'a self, name: impl Fn(&'a str) -> &'a str) -> Self {
        let mut seen = HashSet::new();
        let renamed = self.documents.iter().filter_map(|document| {
            let id = name(&document.id);
            let score = document.score;
            seen.insert(id).then(|| ScoredDocument { id: id.to_owned(), score })
        });
        Self { documents: renamed.collect() }
    }
}

/// The score in a form whose total order is that of trec_eval: the two zeros are equal.
fn comparable(score: f32) -> f32 {
    if score.is_nan() { f32::NEG_INFINITY } else { score + 0.0 }
}

/// Reads the rankings of many queries from a file in TREC's run format: `query Q0 document rank score
/// run`, separated by white space. The rank is not read, the scores decide the order. Blank lines are
/// passed over.
///
/// # Errors
/// [`crate::Error::Core`] when the file cannot be read, [`crate::Error::Line`] when a line has other
/// fields, a score that is not a number, or a document that the query has already.
pub fn read_run(path: &Path) -> Result<BTreeMap<String, Ranking>> {
    let mut queries: BTreeMap<String, BTreeMap<String, f32>> = BTreeMap::new();
    for_each_line(path, |line| {
        let fields: Vec<&str> = python_text::split(line).collect();
        let [query, _, document, _, score, _] = fields[..] else {
            let found = fields.len();
            return Err(format!(
                "expected `query Q0 document rank score run`, found {found} fields"
            ));
        };
        // By way of double precision, as trec_eval reads it: that can round differently.
        let score = match score.parse::<f64>() {
            Ok(score) if !score.is_nan() => score as f32,
            _ => return Err(format!("the score `{score}` is not a number")),
        };
        let documents = queries.entry(query.to_owned()).or_default();
        match documents.insert(document.to_owned(), score) {
            None => Ok(()),
            Some(_) => Err(format!("document `{document}` is ranked twice for query `{query}`")),
        }
    })?;
    let ranking = |(query, documents): (String, BTreeMap<String, f32>)| {
        let documents = documents.into_iter();
        (query, Ranking::new(documents.map(|(id, score)| ScoredDocument { id, score })))
    };
    Ok(queries.into_iter().map(ranking).collect())
}
