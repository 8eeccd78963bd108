use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::python_text::{lines, strip};
use crate::{Compatibility, Error, Result};

/// How hard a question of BIRD is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Difficulty {
    /// Simple.
    Simple,
    /// Moderate.
    Moderate,
    /// Challenging.
    Challenging,
}

/// A question to score.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BirdQuestion {
    /// The database's name.
    pub database: String,
    /// The gold query.
    pub gold: String,
    /// The prediction; none where there is no text for it.
    pub prediction: Option<String>,
    /// How hard it is, where that is known.
    pub difficulty: Option<Difficulty>,
}

/// Reads BIRD's three files: gold queries (a query, a tab and a database in each line), predictions (a
/// JSON object whose values are queries, each followed by `\t----- bird -----\t` and a database), and,
/// if given, the difficulties (a JSON object a line with the key `difficulty`).
///
/// A prediction belongs to the question that its key numbers, from 0; in strict compatibility keys do
/// not count and the order does.
///
/// # Errors
/// [`Error::Core`], [`Error::Json`] or [`Error::Line`] when a file cannot be read,
/// [`Error::UnknownKey`] when a prediction belongs to no question, and [`Error::CountsDiffer`] when there
/// are not as many difficulties as questions.
pub fn read_questions(
    gold: &Path,
    predictions: &Path,
    difficulties: Option<&Path>,
    compatibility: Compatibility,
) -> Result<Vec<BirdQuestion>> {
    #[derive(Deserialize)]
    struct Rated {
        difficulty: Difficulty,
    }
    let text = crate::files::read(predictions)?;
    let predicted: Map<String, Value> = serde_json::from_str(&text)
        .map_err(|source| Error::Json { path: predictions.to_owned(), source })?;
    let in_order: Vec<&Value> = predicted.values().collect();
    let rated: Vec<Difficulty> = match difficulties {
        Some(path) => lines(&crate::files::read(path)?)
            .enumerate()
            .filter(|(_, line)| !strip(line).is_empty())
            .map(|(index, line)| match serde_json::from_str::<Rated>(line) {
                Ok(rated) => Ok(rated.difficulty),
                Err(error) => Err(Error::Line {
                    path: path.to_owned(),
                    line: index + 1,
                    what: error.to_string(),
                }),
            })
            .collect::<Result<_>>()?,
        None => Vec::new(),
    };
    let mut questions = Vec::new();
    for (index, line) in lines(&crate::files::read(gold)?).enumerate() {
        let fields: Vec<&str> = strip(line).split('\t').collect();
        let [sql, database] = *fields.as_slice() else {
            return Err(Error::Line {
                path: gold.to_owned(),
                line: index + 1,
                what: format!(
                    "expected a query, a tab and a database, found {} fields",
                    fields.len()
                ),
            });
        };
        let prediction = if compatibility.is_strict() {
            in_order.get(index).copied()
        } else {
            predicted.get(&index.to_string())
        };
        questions.push(BirdQuestion {
            database: database.to_owned(),
            gold: sql.to_owned(),
            prediction: prediction.and_then(|value| query(value, compatibility)),
            difficulty: rated.get(index).copied(),
        });
    }
    let is_known = |key: &&String| key.parse::<usize>().is_ok_and(|index| index < questions.len());
    if let (false, Some(key)) =
        (compatibility.is_strict(), predicted.keys().find(|key| !is_known(key)))
    {
        return Err(Error::UnknownKey {
            path: predictions.to_owned(),
            key: key.clone(),
            last: questions.len().saturating_sub(1),
        });
    }
    if let (Some(path), true) = (difficulties, rated.len() != questions.len()) {
        return Err(Error::CountsDiffer {
            gold_path: gold.to_owned(),
            gold: questions.len(),
            prediction_path: path.to_owned(),
            predictions: rated.len(),
        });
    }
    Ok(questions)
}

/// The query in a value of the predictions' file.
fn query(value: &Value, compatibility: Compatibility) -> Option<String> {
    let Value::String(text) = value else {
        // The official script runs a space in place of what is not a text.
        return compatibility.is_strict().then(|| " ".to_owned());
    };
    let parts: Vec<&str> = text.split("\t----- bird -----\t").collect();
    Some(match *parts.as_slice() {
        [sql, _] => sql.to_owned(),
        _ => strip(text).to_owned(),
    })
}
