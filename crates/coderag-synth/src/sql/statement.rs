//! Statements as syntax trees.

use sqlparser::ast::{Query, Statement};
use sqlparser::dialect::{Dialect, GenericDialect, MySqlDialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::parser::Parser;

/// The most bytes of a statement that is parsed: trees as deep as a longer one can ask for are dropped
/// recursively, which takes stack.
const MOST_BYTES: usize = 10_000;

/// Parses one SELECT, in SQLite's dialect.
///
/// # Errors
/// What is wrong with the statement, in words.
pub(crate) fn parse_query(sql: &str) -> Result<Box<Query>, String> {
    if sql.len() > MOST_BYTES {
        return Err(format!("the statement has {} bytes, more than {MOST_BYTES}", sql.len()));
    }
    let statements = Parser::parse_sql(&SQLiteDialect {}, sql)
        .map_err(|error| format!("the statement does not parse: {error}"))?;
    match <[Statement; 1]>::try_from(statements) {
        Ok([Statement::Query(query)]) => Ok(query),
        Ok(_) => Err("the statement is not a SELECT".to_owned()),
        Err(statements) => Err(format!("there are {} statements, not one", statements.len())),
    }
}

/// Parses a statement of a schema script in the first dialect that takes it.
pub(crate) fn parse_definition(sql: &str) -> Option<Vec<Statement>> {
    let dialects: [&dyn Dialect; 4] =
        [&SQLiteDialect {}, &GenericDialect {}, &MySqlDialect {}, &PostgreSqlDialect {}];
    dialects.into_iter().find_map(|dialect| Parser::parse_sql(dialect, sql).ok())
}
