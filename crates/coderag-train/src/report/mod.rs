//! How a run went, for people.

mod summary;

pub use summary::RunSummary;
