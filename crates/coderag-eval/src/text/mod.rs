//! Metrics of a text against reference texts.

mod bleu;
mod edit_distance;
mod rouge;

pub use self::bleu::{Bleu, LetterCase, corpus_bleu, sentence_bleu};
pub use self::edit_distance::edit_similarity;
pub use self::rouge::{Rouge, RougeScore, rouge};
