//! Hard negatives: documents that are near to an anchor and no answer to it.
//!
//! [`Pairs`] reads pairs and gives each text a number. Who calls embeds the texts; [`mine`] compares every
//! anchor with every document, a block of each at a time, and keeps for each anchor the nearest documents
//! that pass the filters of [`MiningSettings`]. [`judge`] may have a language model look at them, and
//! [`write()`] writes the pairs with their negatives, to be trained on.
//!
//! With the same vectors and settings the negatives are those of `mine_hard_negatives` in
//! sentence-transformers 6.2, but for texts that differ in white space alone: here these are one text, so
//! that a copy of a positive, or of the anchor, never serves as a negative.

mod judge;
mod mine;
mod nearest;
mod pairs;
mod report;
mod selection;
mod settings;
mod write;

pub use judge::{Judged, PROMPT, judge};
pub use mine::{Mined, mine};
pub use nearest::Candidate;
pub use pairs::Pairs;
pub use report::{MiningReport, QUANTILES};
pub use selection::Removed;
pub use settings::{MiningSettings, Sampling};
pub use write::{Layout, OnTooFew, Written, write};
