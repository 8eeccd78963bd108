//! Queries without `DISTINCT`: `remove_distinct` of `parse.py` in taoyds/test-suite-sql-eval.

use super::sqlparse::first_statement;
use crate::error::Result;

/// The first statement of a query without its tokens `distinct`, in any case.
///
/// As in the official script every such token goes, not only the keyword: the name of a column or
/// of a function as well, though not one in quotes. Space around it stays, and what follows the
/// first statement is dropped.
///
/// # Errors
///
/// As [`first_statement`]: where the official script fails as a whole.
pub fn remove_distinct(sql: &str) -> Result<String> {
    let tokens = first_statement(sql)?;
    Ok(tokens
        .iter()
        .map(|token| token.text)
        // No other character is an ASCII letter of this word in lower case.
        .filter(|text| !text.eq_ignore_ascii_case("distinct"))
        .collect())
}
