use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::lines::for_each_line;
use crate::{Result, python_text};

/// How relevant documents are to queries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgements {
    queries: BTreeMap<String, BTreeMap<String, i64>>,
}

impl Judgements {
    /// Reads a file of judgements. The first line tells which of three formats it has:
    ///
    /// - TREC's qrels: `query 0 document relevance`, separated by white space.
    /// - BEIR's: three columns separated by tabs under a header, such as `query-id corpus-id score`;
    ///   a field may be quoted as Python's `csv` module quotes it.
    /// - JSON lines: `{"query_id": "q", "document_id": "d", "relevance": 1}`, where `corpus_id` and
    ///   `score` are taken too, the ids also as `query-id` and so on; other keys are passed over.
    ///
    /// Relevance is an integer. Blank lines are passed over. As in pytrec_eval, no document may be
    /// judged twice for a query.
    ///
    /// # Errors
    /// [`crate::Error::Core`] when the file cannot be read, [`crate::Error::Line`] when a line is not
    /// in the file's format or judges a document again.
    pub fn read(path: &Path) -> Result<Self> {
        let mut judgements = Self::default();
        let mut known_format = None;
        for_each_line(path, |line| {
            let format = match known_format {
                Some(format) => format,
                None => {
                    let format = Format::of(line);
                    known_format = Some(format);
                    if let Format::Beir = format {
                        return header(line);
                    }
                    format
                }
            };
            let judgement = match format {
                Format::Trec => trec(line),
                Format::Beir => beir(line),
                Format::JsonLines => json(line),
            };
            let Judgement { query_id: query, document_id: document, relevance } = judgement?;
            match judgements.insert(query.as_ref(), document.as_ref(), relevance) {
                None => Ok(()),
                Some(_) => {
                    Err(format!("document `{document}` is judged twice for query `{query}`"))
                }
            }
        })?;
        Ok(judgements)
    }

    /// Adds a judgement, and returns the relevance that it replaces if there was one.
    pub fn insert(
        &mut self,
        query: impl Into<String>,
        document: impl Into<String>,
        relevance: i64,
    ) -> Option<i64> {
        self.queries.entry(query.into()).or_default().insert(document.into(), relevance)
    }

    /// The judged documents of a query with their relevance; none where nothing was judged for it.
    pub fn of(&self, query: &str) -> Option<&BTreeMap<String, i64>> {
        self.queries.get(query)
    }

    /// Every query with its judged documents, in the order of the query ids.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &BTreeMap<String, i64>)> {
        self.queries.iter().map(|(query, documents)| (query.as_str(), documents))
    }
}

#[derive(Clone, Copy)]
enum Format {
    Trec,
    Beir,
    JsonLines,
}

impl Format {
    fn of(first_line: &str) -> Self {
        if first_line.trim_start().starts_with('{') {
            Self::JsonLines
        } else if first_line.split('\t').count() == 3 {
            Self::Beir
        } else {
            Self::Trec
        }
    }
}

/// One line of a file.
#[derive(Deserialize)]
struct Judgement<'a> {
    #[serde(borrow, alias = "query-id")]
    query_id: Cow<'a, str>,
    #[serde(borrow, alias = "document-id", alias = "corpus_id", alias = "corpus-id")]
    document_id: Cow<'a, str>,
    #[serde(alias = "score")]
    relevance: i64,
}

fn trec(line: &str) -> Result<Judgement<'_>, String> {
    let fields: Vec<&str> = python_text::split(line).collect();
    let [query, _, document, relevance] = fields[..] else {
        let found = fields.len();
        return Err(format!("expected `query 0 document relevance`, found {found} fields"));
    };
    judgement(query.into(), document.into(), relevance)
}

fn header(line: &str) -> Result<(), String> {
    match beir(line) {
        // Without this check the first judgement would be lost, as BEIR's own reader loses it.
        Ok(_) => Err("expected a header such as `query-id corpus-id score`".to_owned()),
        Err(_) => Ok(()),
    }
}

fn beir(line: &str) -> Result<Judgement<'_>, String> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [query, document, relevance] = fields[..] else {
        let found = fields.len();
        return Err(format!("expected three columns separated by tabs, found {found}"));
    };
    judgement(unquoted(query), unquoted(document), &unquoted(relevance))
}

/// A field without the quotes of the `csv` module, which also doubles those within.
fn unquoted(field: &str) -> Cow<'_, str> {
    match field.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) if inner.contains('"') => inner.replace("\"\"", "\"").into(),
        Some(inner) => inner.into(),
        None => field.into(),
    }
}

fn json(line: &str) -> Result<Judgement<'_>, String> {
    serde_json::from_str(line).map_err(|error| {
        format!("expected `query_id`, `document_id` and an integer `relevance`: {error}")
    })
}

fn judgement<'a>(
    query_id: Cow<'a, str>,
    document_id: Cow<'a, str>,
    relevance: &str,
) -> Result<Judgement<'a>, String> {
    let relevance = relevance
        .trim()
        .parse()
        .map_err(|_| format!("the relevance `{relevance}` is not an integer"))?;
    Ok(Judgement { query_id, document_id, relevance })
}
