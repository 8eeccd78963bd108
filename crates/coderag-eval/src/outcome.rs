use std::fmt;

use coderag_sql::Error as SqlError;
use serde::Serialize;

use crate::execution::ResultMatch;

/// What came of running a prediction, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The result is the gold query's.
    Correct,
    /// The rows are right, but their order is not, which counts.
    WrongOrder,
    /// The result has the right shape and other values.
    WrongValues,
    /// The result has another number of rows.
    WrongRowCount,
    /// The result has another number of columns.
    WrongColumnCount,
    /// The prediction names a column that there is not.
    UnknownColumn,
    /// The prediction names a table that there is not.
    UnknownTable,
    /// The prediction is not SQL.
    SyntaxError,
    /// The prediction fails for another reason.
    OtherError,
    /// The prediction is not one plain query.
    Refused,
    /// The prediction ran longer than it may.
    Timeout,
    /// The prediction needed more memory than it may.
    TooLarge,
    /// Whether the results are equal was not found out in reasonable time.
    Undecided,
    /// There is no prediction.
    Missing,
    /// The gold query itself failed, so there is nothing to compare with.
    GoldFailed,
}

impl Outcome {
    /// All outcomes, from best to worst.
    pub const ALL: [Self; 15] = [
        Self::Correct,
        Self::WrongOrder,
        Self::WrongValues,
        Self::WrongRowCount,
        Self::WrongColumnCount,
        Self::UnknownColumn,
        Self::UnknownTable,
        Self::SyntaxError,
        Self::OtherError,
        Self::Refused,
        Self::Timeout,
        Self::TooLarge,
        Self::Undecided,
        Self::Missing,
        Self::GoldFailed,
    ];

    /// Sorts why a prediction could not be run.
    pub(crate) fn of_error(error: &SqlError) -> Self {
        match error {
            SqlError::Deadline { .. } => Self::Timeout,
            SqlError::TooLarge { .. } | SqlError::SqlTooLong { .. } => Self::TooLarge,
            SqlError::Refused { .. } | SqlError::MultipleStatements => Self::Refused,
            SqlError::EmptyStatement | SqlError::NulCharacter => Self::SyntaxError,
            SqlError::Sql { message, .. } => Self::of_message(message),
            _ => Self::OtherError,
        }
    }

    /// Sorts a message of SQLite's parser.
    fn of_message(message: &str) -> Self {
        let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| message.starts_with(prefix));
        if starts(&["no such column", "ambiguous column name"]) {
            Self::UnknownColumn
        } else if starts(&["no such table"]) {
            Self::UnknownTable
        } else if message.ends_with("syntax error")
            || starts(&["unrecognized token", "incomplete input", "parser stack overflow"])
        {
            Self::SyntaxError
        } else {
            Self::OtherError
        }
    }
}

impl From<ResultMatch> for Outcome {
    fn from(result: ResultMatch) -> Self {
        match result {
            ResultMatch::Equal => Self::Correct,
            ResultMatch::Order => Self::WrongOrder,
            ResultMatch::Values => Self::WrongValues,
            ResultMatch::RowCounts => Self::WrongRowCount,
            ResultMatch::ColumnCounts => Self::WrongColumnCount,
            ResultMatch::Undecided => Self::Undecided,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Correct => "correct",
            Self::WrongOrder => "wrong order",
            Self::WrongValues => "wrong values",
            Self::WrongRowCount => "wrong number of rows",
            Self::WrongColumnCount => "wrong number of columns",
            Self::UnknownColumn => "unknown column",
            Self::UnknownTable => "unknown table",
            Self::SyntaxError => "syntax error",
            Self::OtherError => "other error",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::TooLarge => "too large",
            Self::Undecided => "undecided",
            Self::Missing => "no prediction",
            Self::GoldFailed => "gold query failed",
        })
    }
}
