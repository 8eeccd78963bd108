//! What a candidate becomes.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::CodeLanguage;
use crate::config::Category;
use crate::sql::gretel::GretelRow;

/// Where a pair can be turned away, in the order in which it meets the gates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// The answer has all its parts and was not cut off.
    Answer,
    /// Its texts are in the wanted language, and not about the conversation itself.
    Language,
    /// Its code parses and is more than a placeholder.
    Syntax,
    /// Its code is not the seed's, unchanged.
    Unchanged,
    /// Neither side is too short or too long.
    Length,
    /// It is in no evaluation set.
    Contamination,
    /// Its SQL runs on a database of the schema.
    Execution,
    /// The same question asked again gives the same result.
    Consistency,
    /// The model finds that the two sides belong together.
    Label,
    /// No earlier row is the same.
    ExactDuplicate,
    /// No earlier row is nearly the same.
    NearDuplicate,
}

impl Gate {
    /// Every gate in order.
    pub const ALL: [Self; 11] = [
        Self::Answer,
        Self::Language,
        Self::Syntax,
        Self::Unchanged,
        Self::Length,
        Self::Contamination,
        Self::Execution,
        Self::Consistency,
        Self::Label,
        Self::ExactDuplicate,
        Self::NearDuplicate,
    ];

    /// The name that rows and the manifest have: `exact_duplicate`.
    pub fn id(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Language => "language",
            Self::Syntax => "syntax",
            Self::Unchanged => "unchanged",
            Self::Length => "length",
            Self::Execution => "execution",
            Self::Contamination => "contamination",
            Self::Consistency => "consistency",
            Self::Label => "label",
            Self::ExactDuplicate => "exact_duplicate",
            Self::NearDuplicate => "near_duplicate",
        }
    }
}

/// A pair that passed every gate.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The task and the candidate's number: `function_to_summary-000017`.
    pub id: String,
    /// The task's name.
    pub task: String,
    /// What the pair joins.
    pub category: Category,
    /// What is searched with.
    pub anchor: String,
    /// What is to be found.
    pub positive: String,
    /// The language of its code.
    pub language: CodeLanguage,
    /// Where its seed came from.
    pub source: String,
    /// What was chosen for it, and what gates noticed.
    pub meta: Map<String, Value>,
    /// The model's answer.
    pub answer: String,
    /// The row in gretel's columns, of text to SQL.
    pub(crate) gretel: Option<GretelRow>,
}

impl Row {
    /// The row as a gate turned it away.
    pub(crate) fn turned_away(self, gate: Gate, reason: String) -> RejectedRow {
        let Self { id, task, category, anchor, positive, language, source, meta, answer, .. } =
            self;
        RejectedRow {
            id,
            task,
            category,
            gate,
            reason,
            anchor,
            positive,
            answer,
            language,
            source,
            meta,
        }
    }
}

/// A candidate that a gate turned away.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RejectedRow {
    /// As of [`Row`].
    pub id: String,
    /// The task's name.
    pub task: String,
    /// What the pair would have joined.
    pub category: Category,
    /// The gate.
    pub gate: Gate,
    /// Why, for people.
    pub reason: String,
    /// What would have been searched with; empty where the answer was no pair.
    pub anchor: String,
    /// What was to be found; empty where the answer was no pair.
    pub positive: String,
    /// The model's answer.
    pub answer: String,
    /// The language of its code.
    pub language: CodeLanguage,
    /// Where its seed came from.
    pub source: String,
    /// What was chosen for it, and what gates noticed.
    pub meta: Map<String, Value>,
}
