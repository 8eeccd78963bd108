//! Exact match of SQL by structure: whether a prediction says the same as the gold query in all that
//! can change its result.
//!
//! Spider's exact set match ([Yu et al. 2018](https://arxiv.org/abs/1809.08887), `evaluation.py` of
//! taoyds/spider) compares clauses as sets, without values, over a small grammar of its own, so that
//! valid SQL such as `LEFT JOIN`, `<>` or `COUNT(*) AS c` counts as wrong and different queries may
//! count as equal. This metric stands beside it. It brings both queries into a canonical form by
//! rewrites each of which keeps the result on every SQLite database, and asks whether the forms are
//! equal. The form is itself SQL that SQLite runs, with the same result (but for the order of the
//! columns and for literals, where these are not to count).
//!
//! # What makes no difference
//!
//! *Names and spelling*
//! - Case, quotes, spaces, comments, a closing semicolon: SQLite's names are case-insensitive and
//!   its tokens free-form.
//! - Aliases of tables: an alias only says which occurrence of a table is meant. A table that occurs
//!   once has its own name; of several occurrences every numbering is tried and the least text
//!   kept, up to 720 numberings in a nest of queries, so the order in FROM says nothing.
//! - Aliases of columns, and references to them: SQLite puts the expression in their place (in
//!   ORDER BY an alias comes before a column of the name, elsewhere after it).
//! - Qualification: with the schema a name has one owner, the innermost FROM clause that has it.
//! - `*` and `t.*`, where the columns are known: SQLite expands them in the same order.
//! - Positions in ORDER BY and GROUP BY: they stand for the output column.
//! - A double-quoted name that is none: SQLite takes it for a string.
//! - Number spellings (`007`, `1.50`, `1e3`), `TRUE` and `FALSE`, a plus before a literal: they are
//!   the same values. `1` and `1.0` are not: they print and divide differently.
//!
//! *Conditions and expressions*
//! - `==`, `!=`; `ISNULL`, `NOTNULL`; `IS` and `IS NOT DISTINCT FROM`: SQLite's synonyms.
//! - Operand order of `=`, `<>`, `IS`, `+`, `*`, `&`, `|`, and `a > b` for `b < a`: these commute;
//!   not so for expressions that name a collation, of which the left one's rules.
//! - AND and OR as sets: they are associative, commutative and idempotent in three-valued logic.
//! - NOT moved inwards: De Morgan's laws and the negations of comparisons hold in three-valued logic,
//!   as a comparison is NULL exactly where its negation is. Row values are left alone.
//! - `NOT NOT a` for `a`, and `a AND a` for `a`, where only truth counts or `a` is 0, 1 or NULL.
//! - BETWEEN as two comparisons: so SQLite defines it.
//! - The list of IN as a set; one literal as `=`; `x = 1 OR x = 2` as `x IN (1, 2)`, `x <> 1 AND
//!   x <> 2` as NOT IN: SQLite compares with each literal as `=` does.
//! - `ELSE NULL`, `iif`, `ifnull`, `substring`: other names for no ELSE, CASE, `coalesce`, `substr`.
//! - Type names in CAST: SQLite takes only their affinity.
//! - `count(1)` for `count(*)`: a literal that is not NULL is never NULL. `min(DISTINCT a)`: the
//!   least of a set is the least of the list.
//!
//! *Clauses*
//! - Inner joins as a product with conditions in WHERE, whether by ON, USING, NATURAL or comma, in
//!   any order: an inner join is its definition. The columns of USING stay those of the left table,
//!   as in SQLite.
//! - Left joins that do not refer to each other in any order, inner joins before or after them: the
//!   one only adds columns to rows that the other does not look at. `a RIGHT JOIN b` as
//!   `b LEFT JOIN a`, `a FULL JOIN b` as `b FULL JOIN a`. ON of an outer join stays there.
//! - GROUP BY, PARTITION BY as sets: grouping has no order.
//! - GROUP BY of exactly the output columns, with no aggregate, as DISTINCT: one row for each
//!   combination either way. DISTINCT on groups with all of their keys, or on one aggregate row,
//!   goes: the rows differ already.
//! - ASC; `NULLS FIRST` when ascending and `NULLS LAST` when descending: the defaults. Constants and
//!   repetitions in ORDER BY: they order nothing.
//! - `LIMIT a, b` as `LIMIT b OFFSET a`; `OFFSET 0`, `LIMIT -1`: nothing is cut off.
//! - Operands of UNION, UNION ALL, INTERSECT, and those after the first of EXCEPT, in any order;
//!   DISTINCT in them, except of UNION ALL: these are operations on sets, or bags. A chain is
//!   grouped to the left, as SQLite does, whatever the operators.
//! - The columns of EXISTS, unless they aggregate, its order, DISTINCT and limit; order and DISTINCT
//!   of `IN (SELECT ...)`: only whether there is a row, or which, counts.
//! - A common table expression that is used once as a subquery in FROM; the names of others and
//!   their order; hints of materialisation; those never used: SQLite does not run them.
//! - The order and names of the columns of a subquery in FROM: they are referred to by name.
//!
//! Subqueries are brought into form each in its own scope, with the outer names that they use.
//!
//! # What stays a difference
//!
//! What needs knowledge of the data (keys, NOT NULL, functional dependencies): `a.id` for `b.id`
//! where both are equal, `count(id)` for `count(*)`, IN or EXISTS for a join. Algebra: `a + b + c`
//! for `a + (b + c)`, which floating point tells apart, `x > 3` for `x >= 4`. Subqueries that could
//! be merged. Self-joins within a subquery or an operand of a set operation that are symmetric there
//! and are not in the query around.
//!
//! # What is not understood
//!
//! Recursive queries, VALUES, named windows, table functions, names that cannot be resolved although
//! the schema is known, operators that sqlparser groups otherwise than SQLite (`a = b < c` without
//! parentheses), and what SQLite does not read: such a query is compared as it is written, but for
//! case and spaces ([`NormalizedQuery::is_understood`]). So an invalid prediction never becomes a
//! valid query on the way. Two queries are equal in this form only if they are the same text.
//!
//! # What the result of a query is here
//!
//! A bag of rows, in the order that ORDER BY determines, equal as SQLite's `=` compares (of `1` and
//! `1.0`, either may stand for both in a set). Where SQL leaves the result open, it stays open: rows
//! of equal rank before a LIMIT, columns beside aggregates that are no keys, `group_concat`'s order,
//! the last digit of a sum of reals, `random()`, and whether an expression that raises an error is
//! evaluated at all. Names of the output columns do not count. One thing is assumed of the database:
//! that columns that are compared with one another, or stand in one column of a set operation, have
//! one collation (and, for the latter, one affinity), for SQLite lets the left one decide.

mod definitions;
mod expression;
mod joins;
mod keywords;
mod names;
mod order;
mod parse;
mod print;
mod resolve;
mod rules;
mod schema;
mod texts;
mod tree;

use std::fmt;

pub use schema::SchemaColumns;

use crate::{Error, Result};

/// Whether the order of the output columns counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SelectOrder {
    /// `SELECT a, b` is not `SELECT b, a`: it reads differently.
    Kept,
    /// Any order of the columns will do, as for Spider's exact set match.
    #[default]
    Ignored,
}

/// Whether literals count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Values {
    /// `age > 20` is not `age > 30`.
    #[default]
    Compared,
    /// Any number or string may stand for any other, NULL only for itself. Spider's exact set match
    /// does not compare values either.
    Ignored,
}

/// What counts when queries are compared. By default the order of the output columns does not, and
/// values do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NormalizationOptions {
    /// Whether the order of the output columns counts.
    pub select_order: SelectOrder,
    /// Whether literals count.
    pub values: Values,
}

/// A query in canonical form, which its [`Display`](fmt::Display) writes as SQL. Forms made with
/// different options or schemas should not be compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NormalizedQuery {
    text: String,
    is_understood: bool,
}

impl NormalizedQuery {
    /// Whether the query was understood; otherwise its form is its text, in lower case where it is
    /// not quoted, and with one space between its tokens.
    pub fn is_understood(&self) -> bool {
        self.is_understood
    }
}

impl fmt::Display for NormalizedQuery {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// Brings a query into canonical form.
///
/// The time and the stack that this takes are bounded for any text: what would take more is an
/// error, or is compared as it is written.
///
/// # Errors
/// [`Error::InvalidSql`] where sqlparser's SQLite dialect does not read the text,
/// [`Error::NotOneStatement`], [`Error::NotAQuery`], and [`Error::TooLong`] for thousands of
/// operators.
pub fn normalize(
    sql: &str,
    schema: &SchemaColumns,
    options: NormalizationOptions,
) -> Result<NormalizedQuery> {
    let parsed = parse::parse(sql)?;
    let canonical = if parsed.same_reading {
        resolve::resolve(&parsed.query, schema)
            .ok()
            .and_then(|(query, arena)| print::canonical_text(&query, &arena, options))
    } else {
        None
    };
    Ok(match canonical {
        Some(text) => NormalizedQuery { text, is_understood: true },
        None => NormalizedQuery { text: parsed.as_written, is_understood: false },
    })
}

/// Whether the prediction says the same as the gold query: whether their canonical forms are equal.
///
/// # Errors
/// [`Error::Gold`] or [`Error::Prediction`] around the error of [`normalize`] for that query; the
/// gold query's where both fail.
pub fn structural_match(
    gold: &str,
    prediction: &str,
    schema: &SchemaColumns,
    options: NormalizationOptions,
) -> Result<bool> {
    let gold = normalize(gold, schema, options).map_err(|error| Error::Gold(Box::new(error)))?;
    let prediction = normalize(prediction, schema, options)
        .map_err(|error| Error::Prediction(Box::new(error)))?;
    Ok(gold == prediction)
}
