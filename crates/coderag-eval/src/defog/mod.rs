//! Scoring as defog's sql-eval does it: the rows of a predicted query against those of any of
//! several acceptable gold queries.
//!
//! The reference is `eval/eval.py` of <https://github.com/defog-ai/sql-eval>, run with pandas 3.1
//! without pyarrow on SQLite's results. Two outcomes come of a question ([`Comparison`]): *exact*,
//! the same table up to the names of the columns, or up to the order of columns and rows and to
//! repeated rows; and *correct*, also where the prediction returns more columns than asked for.
//!
//! A gold query may hold several, split by semicolons, and one of them may list columns in braces
//! of which any subset will do ([`minimal_queries`]).
//!
//! # Where [`Compatibility::Sensible`](crate::Compatibility) departs from the official script
//! The script's tables are pandas data frames, and some of its outcomes are accidents of them.
//! [`Compatibility::Strict`](crate::Compatibility) reproduces those; the default does not:
//! - The first check compares arrays that numpy stretches to one shape, so that an empty table
//!   equals any table of one row, and one row equals its repetitions. Sensible: the shapes must agree.
//! - NULL is not equal to NULL in the first check, unless the column holds blobs, text beside
//!   numbers, or nothing but NULL; in the second check it equals -99999, and in a column of text it
//!   ends the comparison with a `TypeError` (but not with pandas 2, which keeps text as objects).
//!   Sensible: NULL equals NULL and nothing else.
//! - Rows whose sorting needs a number compared with text, or either with a blob, end the
//!   comparison with a `TypeError`, depending on how many columns there are. Sensible: numbers before
//!   blobs before text.
//! - Two columns of one name end the comparison with a `ValueError`, `TypeError` or `KeyError`.
//!   Sensible: they are told apart by position.
//!
//! # What is kept in both
//! - The order of the rows counts only where the category is `order_by` or the question holds the
//!   word order, sort or arrange; and then a predicted query that has an ORDER BY is sorted again
//!   by the columns named there.
//! - Columns pair up by their sorted names, or, for *correct*, each gold column with the first
//!   column of the prediction that has the same values, without going back.
//! - In *correct*, two columns of which neither holds only integers compare with the tolerance of
//!   `pandas.testing`: relative 1e-5, absolute 1e-8. A column of integers with a NULL or a real
//!   number becomes one of 64-bit floats, so integers beyond 2^53 lose digits there.
//! - An empty gold table is never *correct* without being *exact*.

mod cell;
mod compare;
mod comparison_error;
mod frame;
mod minimal_queries;
mod normalize;
mod order_by;
mod questions;
mod scoring;
mod subset;

pub use compare::{Comparer, Comparison, Table};
pub use comparison_error::ComparisonError;
pub use minimal_queries::{MAX_BRACED_COLUMNS, MinimalQueries, minimal_queries};
pub use questions::{Question, Questions};
pub use scoring::{DefogOptions, DefogScore, DefogSummary, score};
