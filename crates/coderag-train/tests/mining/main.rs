//! Hard negatives, against sentence-transformers and against what they must never be.

mod against_sentence_transformers;
mod collection;
mod files;
mod judging;
mod rules;
