//! Training pairs written by a language model: tasks, prompts, seeds, gates, and runs that resume.

mod code_language;
mod error;
mod gate;
mod seed;
mod sql;

pub use code_language::CodeLanguage;
pub use error::{Error, Result};
