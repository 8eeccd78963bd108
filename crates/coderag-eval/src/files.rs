//! The files that scorers read: gold queries and predictions.

use std::path::Path;

use coderag_core::Error as CoreError;

use crate::python_text::{lines, strip};
use crate::{Error, Result};

/// A gold query with its database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gold {
    /// The query.
    pub sql: String,
    /// The database's name.
    pub database: String,
}

/// Reads a text file; bytes that are not UTF-8 are replaced.
pub(crate) fn read(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(CoreError::io("read", path))?;
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// Reads gold queries: a line each with the query, a tab and the database; blank lines separate
/// interactions (SParC, CoSQL).
///
/// # Errors
/// [`Error::Core`] when the file cannot be read, [`Error::Line`] when a line has no database.
pub fn read_gold(path: &Path) -> Result<Vec<Vec<Gold>>> {
    interactions(path, |number, line| match *line.split('\t').collect::<Vec<_>>() {
        [sql, database] => Ok(Gold { sql: sql.to_owned(), database: database.to_owned() }),
        ref fields => Err(Error::Line {
            path: path.to_owned(),
            line: number,
            what: format!("expected a query, a tab and a database, found {} fields", fields.len()),
        }),
    })
}

/// Reads predictions: a line each, of which everything from the first tab on is ignored; blank lines
/// separate interactions.
///
/// # Errors
/// [`Error::Core`] when the file cannot be read.
pub fn read_predictions(path: &Path) -> Result<Vec<Vec<String>>> {
    interactions(path, |_, line| Ok(line.split('\t').next().unwrap_or(line).to_owned()))
}

fn interactions<T>(path: &Path, parse: impl Fn(usize, &str) -> Result<T>) -> Result<Vec<Vec<T>>> {
    let text = read(path)?;
    let mut interactions = vec![Vec::new()];
    for (index, line) in lines(&text).enumerate() {
        let line = strip(line);
        if line.is_empty() {
            interactions.push(Vec::new());
        } else if let Some(interaction) = interactions.last_mut() {
            interaction.push(parse(index + 1, line)?);
        }
    }
    interactions.retain(|interaction| !interaction.is_empty());
    Ok(interactions)
}
