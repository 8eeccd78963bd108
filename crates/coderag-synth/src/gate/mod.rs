//! What a pair must pass before it is kept.

pub(crate) mod contamination;
pub(crate) mod duplicates;
pub(crate) mod label;
pub(crate) mod language;
pub(crate) mod length;
#[cfg(test)]
mod real_data;
pub(crate) mod secrets;
pub(crate) mod syntax;

use std::path::{Path, PathBuf};

use coderag_sql::Limits;
use serde::{Deserialize, Serialize};

pub use self::contamination::{ContaminationConfig, EvaluationSet};
pub use self::duplicates::{Compared, DuplicateSettings};
pub use self::length::{LengthConfig, LengthLimits};

use self::language::ExpectedLanguage;

use crate::{Error, Result};

/// What a pair must pass. `false` switches a gate off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GateSettings {
    /// Texts must be in `natural_language`, and not about the conversation or of the prompt.
    pub language: bool,
    /// The ISO 639-3 code of the texts' language.
    pub natural_language: String,
    /// Code must parse and be more than a placeholder.
    pub syntax: bool,
    /// Code that is made of a seed's code must differ from it in more than comments and white space.
    pub unchanged: bool,
    /// How long the sides may be.
    pub length: LengthConfig,
    /// Secrets and personal data are replaced by placeholders.
    pub secrets: bool,
    /// SQL must run.
    pub execution: ExecutionSettings,
    /// The model judges pairs.
    pub label: LabelSettings,
    /// Questions are asked again.
    pub consistency: ConsistencySettings,
    /// Rows that were there before.
    pub duplicates: DuplicateSettings,
    /// Evaluation sets that must not leak into the rows.
    pub contamination: ContaminationConfig,
}

impl Default for GateSettings {
    fn default() -> Self {
        Self {
            language: true,
            natural_language: "eng".to_owned(),
            syntax: true,
            unchanged: true,
            length: LengthConfig::default(),
            secrets: true,
            execution: ExecutionSettings::default(),
            label: LabelSettings::default(),
            consistency: ConsistencySettings::default(),
            duplicates: DuplicateSettings::default(),
            contamination: ContaminationConfig::default(),
        }
    }
}

/// SQL must run in the guarded executor, on a database of the seed's schema.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExecutionSettings {
    /// Whether it must.
    pub enabled: bool,
    /// Whether a result without rows is rejected; it is noted in the row's meta otherwise.
    pub reject_empty: bool,
    /// How many databases with different rows a schema without a database of its own gets. Statements that say
    /// different things seldom return the same on all of several.
    pub databases: u32,
    /// How many rows a table of them has, some more or fewer.
    pub rows: usize,
    /// What one statement may take.
    pub limits: Limits,
}

impl Default for ExecutionSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            reject_empty: false,
            databases: 3,
            rows: 24,
            limits: Limits::default(),
        }
    }
}

/// The model judges how well the two sides of a pair belong together: 0, 1 or 2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LabelSettings {
    /// Whether it does.
    pub enabled: bool,
    /// The prompt's file, in the folder of the prompts.
    pub prompt: PathBuf,
    /// The prompt of a second opinion on what the first one rejects.
    pub second_opinion: Option<PathBuf>,
    /// The labels that pass.
    pub keep: Vec<u8>,
    /// The tasks whose pairs are judged; all when empty.
    pub tasks: Vec<String>,
}

impl Default for LabelSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            prompt: PathBuf::from("label.md"),
            second_opinion: Some(PathBuf::from("label_second_opinion.md")),
            keep: vec![2],
            tasks: Vec::new(),
        }
    }
}

/// The model answers the question again, without having seen the SQL, and must come to the same result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsistencySettings {
    /// Whether it must.
    pub enabled: bool,
    /// The prompt's file, in the folder of the prompts.
    pub prompt: PathBuf,
    /// How often the question is asked; one answer with the same result is enough.
    pub attempts: u32,
    /// The most tokens of an answer.
    pub max_tokens: u32,
}

impl Default for ConsistencySettings {
    fn default() -> Self {
        Self {
            enabled: true,
            prompt: PathBuf::from("answer_with_sql.md"),
            attempts: 2,
            max_tokens: 256,
        }
    }
}

impl GateSettings {
    /// Makes relative paths relative to a folder.
    pub(crate) fn relative_to(&mut self, folder: &Path) {
        for path in self.contamination.sets.iter_mut().flat_map(|set| &mut set.files) {
            *path = folder.join(&*path);
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |key: &str, problem: &str| {
            Err(Error::Setting { key: key.to_owned(), problem: problem.to_owned() })
        };
        let Self { execution, label, consistency, duplicates, length, .. } = self;
        ExpectedLanguage::new(&self.natural_language)?;
        for (side, limits) in [("anchor", length.anchor), ("positive", length.positive)] {
            if limits.least_characters > limits.most_characters
                || limits.least_words > limits.most_words
            {
                return wrong(
                    &format!("gates.length.{side}"),
                    "what is least is more than what is most",
                );
            }
        }
        if !(0.0..=1.0).contains(&duplicates.least_similarity) {
            return wrong("gates.duplicates.least_similarity", "it must be from 0 to 1");
        }
        if duplicates.shingle_words == 0 {
            return wrong("gates.duplicates.shingle_words", "it must be at least 1");
        }
        if label.enabled && !label.keep.iter().all(|label| *label <= 2) {
            return wrong("gates.label.keep", "labels are 0, 1 and 2");
        }
        if label.enabled && label.keep.is_empty() {
            return wrong("gates.label.keep", "it is empty, so nothing would pass");
        }
        if execution.rows == 0 || execution.databases == 0 {
            return wrong("gates.execution", "`rows` and `databases` must be at least 1");
        }
        if consistency.enabled && !execution.enabled {
            return wrong(
                "gates.consistency.enabled",
                "it compares results, so it needs `gates.execution.enabled`",
            );
        }
        if consistency.enabled && (consistency.attempts == 0 || consistency.max_tokens == 0) {
            return wrong("gates.consistency", "`attempts` and `max_tokens` must be at least 1");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        let refusal = |change: fn(&mut GateSettings)| {
            let mut settings = GateSettings::default();
            settings.check().unwrap();
            change(&mut settings);
            settings.check().unwrap_err().to_string()
        };
        for (change, key) in [
            (
                (|gates: &mut GateSettings| gates.natural_language = "en".to_owned()) as fn(&mut _),
                "`gates.natural_language`",
            ),
            (|gates| gates.length.positive.least_words = 9_999, "`gates.length.positive`"),
            (
                |gates| gates.duplicates.least_similarity = 70.0,
                "`gates.duplicates.least_similarity`",
            ),
            (
                |gates| gates.duplicates.least_similarity = f64::NAN,
                "`gates.duplicates.least_similarity`",
            ),
            (|gates| gates.duplicates.shingle_words = 0, "`gates.duplicates.shingle_words`"),
            (|gates| gates.label.keep = vec![3], "`gates.label.keep`"),
        ] {
            let message = refusal(change);
            assert!(message.contains(key), "{message}");
        }
    }
}
