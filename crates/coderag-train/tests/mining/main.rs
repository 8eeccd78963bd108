//! Hard negatives, against sentence-transformers and against what they must never be.
#![allow(clippy::panic, clippy::unwrap_used)]

mod against_sentence_transformers;
mod collection;
mod files;
mod judging;
mod rules;
