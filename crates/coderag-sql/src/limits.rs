use std::time::Duration;

use rusqlite::Connection;
use rusqlite::limits::Limit;
use serde::{Deserialize, Serialize};

/// What one statement may take. Every limit is an error when reached, except that a result is cut
/// and says so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The wall-clock time of one statement, waiting for locks included.
    #[serde(rename = "deadline_seconds", with = "crate::seconds")]
    pub deadline: Duration,
    /// The most rows of a result; further rows are cut off.
    pub max_rows: usize,
    /// The most bytes that a result takes in memory; the row that would exceed it, and further ones, are
    /// cut off.
    pub max_result_bytes: usize,
    /// The most bytes of one text or blob, stored or computed.
    pub max_value_bytes: usize,
    /// The most bytes of a statement, and of one CREATE statement in the database's schema.
    pub max_sql_bytes: usize,
    /// The most bytes that SQLite may allocate in this process, over all connections: SQLite has no
    /// limit for one connection. The first database opened sets it, a later one can only lower it,
    /// and 0 leaves it as it is. Whichever statement asks for more fails with
    /// [`Error::TooLarge`](crate::Error::TooLarge); without it a statement could exhaust the machine.
    pub heap_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(5),
            max_rows: 1_000,
            max_result_bytes: 10_000_000,
            max_value_bytes: 1_000_000,
            max_sql_bytes: 100_000,
            heap_bytes: 1 << 30,
        }
    }
}

impl Limits {
    /// Lowers SQLite's own limits (<https://www.sqlite.org/limits.html>) on a connection.
    pub(crate) fn apply(&self, connection: &Connection) -> rusqlite::Result<()> {
        let clamp = |bytes: usize| i32::try_from(bytes).unwrap_or(i32::MAX);
        let limits = [
            (Limit::SQLITE_LIMIT_LENGTH, clamp(self.max_value_bytes)),
            (Limit::SQLITE_LIMIT_SQL_LENGTH, clamp(self.max_sql_bytes)),
            // Deep enough for a chain of a few hundred ORs, which nests to the left.
            (Limit::SQLITE_LIMIT_EXPR_DEPTH, 400),
            // Some 150 subqueries inside each other.
            (Limit::SQLITE_LIMIT_PARSER_DEPTH, 1_000),
            (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 100),
            // Views that use views can multiply into programs of any size; a large question's has a
            // few thousand instructions.
            (Limit::SQLITE_LIMIT_VDBE_OP, 250_000),
            (Limit::SQLITE_LIMIT_FUNCTION_ARG, 100),
            // The cost of LIKE grows with the product of both lengths.
            (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1_000),
            // More than 0 only so that the executor, not the parser, reports parameters.
            (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, 100),
            (Limit::SQLITE_LIMIT_ATTACHED, 0),
            (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 0),
            (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
        ];
        for (limit, value) in limits {
            connection.set_limit(limit, value)?;
        }
        Ok(())
    }
}
