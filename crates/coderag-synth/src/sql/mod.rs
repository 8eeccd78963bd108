//! Databases made from schemas, and what SQL does on them.

mod comparisons;
pub(crate) mod database;
pub(crate) mod execution;
mod literal;
mod rows;
pub(crate) mod schema;
mod sense;
pub(crate) mod statement;
