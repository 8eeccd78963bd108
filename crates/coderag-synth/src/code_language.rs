use std::fmt;

use serde::{Deserialize, Serialize};

/// A programming language that code can be checked in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CodeLanguage {
    /// Python 3.
    Python,
    /// SQL, in the dialect of SQLite.
    Sql,
    /// Rust.
    Rust,
    /// JavaScript.
    JavaScript,
    /// Go.
    Go,
    /// Java.
    Java,
}

impl CodeLanguage {
    /// Every language.
    pub const ALL: [Self; 6] =
        [Self::Python, Self::Sql, Self::Rust, Self::JavaScript, Self::Go, Self::Java];

    /// The name that configurations, fenced blocks and the pairs' `language` column have: `python`.
    pub fn id(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Sql => "sql",
            Self::Rust => "rust",
            Self::JavaScript => "javascript",
            Self::Go => "go",
            Self::Java => "java",
        }
    }
}

/// The name for people: `Python`.
impl fmt::Display for CodeLanguage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Python => "Python",
            Self::Sql => "SQL",
            Self::Rust => "Rust",
            Self::JavaScript => "JavaScript",
            Self::Go => "Go",
            Self::Java => "Java",
        })
    }
}
