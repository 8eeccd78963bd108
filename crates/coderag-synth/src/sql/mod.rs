//! Databases made from schemas, and what SQL does on them.

pub(crate) mod classify;
mod comparisons;
pub(crate) mod database;
pub(crate) mod execution;
pub(crate) mod gretel;
mod literal;
mod rows;
pub(crate) mod schema;
mod sense;
pub(crate) mod statement;
