//! How well a model finds documents: exact search over a development set, and the scores of the rankings.

mod development_set;
mod scores;
mod search;

pub use development_set::DevelopmentSet;
pub use scores::Scores;
