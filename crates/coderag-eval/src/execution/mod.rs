//! Execution accuracy: whether a prediction returns what the gold query returns, on every database of
//! a test suite (`exec_eval.py` of <https://github.com/taoyds/test-suite-sql-eval>; Zhong et al. 2020,
//! <https://arxiv.org/abs/2010.02840>).
//!
//! Predictions run in the guarded executor. Under [`Compatibility::Strict`](crate::Compatibility) those
//! that it refuses run on a private copy of the database, because the official script runs anything.

mod database;
mod order;
pub mod plug_values;
pub mod query_text;
pub mod remove_distinct;
mod result_match;
mod score;
mod single_statement;
pub mod sqlparse;

pub(crate) use database::{ScoredDatabase, complete, limits};
pub use database::{database_files, is_plain_name};
pub use result_match::{ResultMatch, RowSlice, match_results, officially_rejected};
pub use score::{Execution, ExecutionOptions, Shape};
pub(crate) use score::{by_columns, by_results};
