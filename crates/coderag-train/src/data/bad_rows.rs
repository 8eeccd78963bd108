use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What to do with a row that no example can be made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnBadRow {
    /// Leave it out and go on; the log and the run's record say how many there were.
    Skip,
    /// Read all sources, then stop with an error that lists the first ones.
    #[default]
    Fail,
}

/// The rows that no example could be made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadRows {
    /// How many there were.
    pub total: u64,
    /// The first few.
    pub first: Vec<BadRow>,
}

/// A row that no example could be made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadRow {
    /// The file.
    pub path: PathBuf,
    /// The line of a text file or the row of a Parquet file, counted from 1.
    pub number: u64,
    /// What is wrong with it.
    pub problem: String,
}

impl OnBadRow {
    /// Ends the reading of what `name` calls where there are bad rows and these are not to be left out.
    ///
    /// # Errors
    /// [`Error::BadRows`].
    pub(crate) fn settle(self, name: &str, bad_rows: &BadRows) -> Result<()> {
        match self {
            _ if bad_rows.total == 0 => Ok(()),
            Self::Fail => Err(Error::BadRows { bad_rows: Box::new(bad_rows.clone()) }),
            Self::Skip => {
                tracing::warn!("{name}: left out {bad_rows}");
                Ok(())
            }
        }
    }
}

impl BadRows {
    /// How many are named.
    const NAMED: usize = 5;

    pub(super) fn add(&mut self, path: &Path, number: u64, problem: String) {
        self.total += 1;
        if self.first.len() < Self::NAMED {
            self.first.push(BadRow { path: path.to_owned(), number, problem });
        }
    }
}

/// `7 bad rows; the first: FILE: line 3: PROBLEM; FILE: line 9: PROBLEM`.
impl fmt::Display for BadRows {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = if self.total == 1 { "row" } else { "rows" };
        write!(formatter, "{} bad {rows}", self.total)?;
        for (index, bad) in self.first.iter().enumerate() {
            let separator = match index {
                0 if self.total == 1 => ": ",
                0 => "; the first: ",
                _ => "; ",
            };
            write!(formatter, "{separator}{bad}")?;
        }
        Ok(())
    }
}

impl fmt::Display for BadRow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parquet = self.path.extension().is_some_and(|it| it.eq_ignore_ascii_case("parquet"));
        let place = if parquet { "row" } else { "line" };
        write!(formatter, "{}: {place} {}: {}", self.path.display(), self.number, self.problem)
    }
}
