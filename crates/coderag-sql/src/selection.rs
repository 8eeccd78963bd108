use coderag_core::{Document, Hit, Retriever};
use coderag_corpus::{Table, meta};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{DatabaseSchema, Error, Result, SchemaTable};

/// How the tables of a prompt are chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SelectionSettings {
    /// Databases of up to this many tables go into the prompt whole when there is no index.
    pub whole_database_tables: usize,
    /// How many documents to ask of the index. It may hold other databases too, whose tables are
    /// passed over.
    pub retrieved_documents: usize,
    /// The similarity from which on a table is relevant.
    pub minimum_score: f32,
    /// The most tables to choose, tables that they refer to included.
    pub max_tables: usize,
    /// The most characters of the chosen tables' texts; the best table is shown even if it is longer.
    pub max_characters: usize,
}

impl Default for SelectionSettings {
    fn default() -> Self {
        Self {
            whole_database_tables: 30,
            retrieved_documents: 200,
            minimum_score: 0.2,
            max_tables: 12,
            max_characters: 16_000,
        }
    }
}

/// The tables that a prompt shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection<'s> {
    /// In the database's order, whatever their scores, so that questions with the same tables share
    /// the beginning of their prompts.
    pub tables: Vec<&'s SchemaTable>,
}

impl Selection<'_> {
    /// The tables' names.
    pub fn names(&self) -> Vec<String> {
        self.tables.iter().map(|table| table.table.name.clone()).collect()
    }
}

impl DatabaseSchema {
    /// Chooses the tables that the question is about. Without a retriever these are all of a small
    /// database's. With one, they are the tables of this database that score at least the minimum,
    /// best first, then those that the chosen ones refer to, up to the limits.
    ///
    /// # Errors
    /// [`Error::IndexNeeded`] for a large database without a retriever, [`Error::NothingRelevant`]
    /// when no table scores enough, [`Error::Core`] when the retriever fails.
    pub fn select(
        &self,
        question: &str,
        retriever: Option<&dyn Retriever>,
        settings: &SelectionSettings,
    ) -> Result<Selection<'_>> {
        let Some(retriever) = retriever else {
            if self.tables.len() > settings.whole_database_tables {
                return Err(Error::IndexNeeded {
                    database: self.database.clone(),
                    tables: self.tables.len(),
                    limit: settings.whole_database_tables,
                });
            }
            return Ok(Selection { tables: self.tables.iter().collect() });
        };
        let hits = retriever.retrieve(question, settings.retrieved_documents)?;
        let found = self.found(&hits);
        let mut chosen: Vec<usize> = Vec::new();
        let mut characters = 0;
        let mut choose = |position: usize, chosen: &mut Vec<usize>| {
            let Some(table) = self.tables.get(position) else { return };
            let length = table.text.chars().count();
            let fits = chosen.is_empty()
                || chosen.len() < settings.max_tables
                    && characters + length <= settings.max_characters;
            if fits && !chosen.contains(&position) {
                characters += length;
                chosen.push(position);
            }
        };
        for (position, score) in &found {
            if *score >= settings.minimum_score {
                choose(*position, &mut chosen);
            }
        }
        if chosen.is_empty() {
            let best = found.first().and_then(|(position, score)| {
                Some((self.tables.get(*position)?.table.name.clone(), *score))
            });
            return Err(Error::NothingRelevant {
                database: self.database.clone(),
                best,
                minimum: settings.minimum_score,
            });
        }
        // The list grows as tables bring those that they refer to.
        let mut next = 0;
        while let Some(table) = chosen.get(next).and_then(|position| self.tables.get(*position)) {
            for key in &table.table.foreign_keys {
                if let Some(position) = self.position(&key.table) {
                    choose(position, &mut chosen);
                }
            }
            next += 1;
        }
        chosen.sort_unstable();
        Ok(Selection {
            tables: chosen.into_iter().filter_map(|position| self.tables.get(position)).collect(),
        })
    }

    /// The positions of this database's tables among the hits with their scores, best first.
    fn found(&self, hits: &[Hit]) -> Vec<(usize, f32)> {
        let mut found: Vec<(usize, f32)> = hits
            .iter()
            .filter(|hit| hit.document.kind == Document::TABLE)
            .flat_map(|hit| self.described(&hit.document).map(|position| (position, hit.score)))
            .collect();
        found.sort_by(|left, right| right.1.total_cmp(&left.1));
        found
    }

    /// The positions of the tables that a document of an index describes: its own, and those whose
    /// documents were collapsed into it because they had the same text.
    fn described(&self, document: &Document) -> impl Iterator<Item = usize> {
        let own = Table::of(document).ok().map(|table| table.title());
        let same = document.meta.get(meta::SAME_TEXT).and_then(Value::as_array);
        let same = same.into_iter().flatten().filter_map(|other| other.get("title")?.as_str());
        own.into_iter().chain(same.map(str::to_owned)).filter_map(|title| {
            // An index may be built from DDL that spells names in another case.
            self.tables.iter().position(|table| table.table.title().eq_ignore_ascii_case(&title))
        })
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.tables.iter().position(|table| table.table.name.eq_ignore_ascii_case(name))
    }
}
