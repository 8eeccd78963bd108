use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Digest;

/// One retrievable unit of a corpus: a table of a schema, later a function or a page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// Unique within a corpus and stable between runs over the same source.
    pub id: String,
    /// What the text describes, in one word: [`Document::TABLE`].
    pub kind: String,
    /// A short name for people, such as `concert_singer.singer`.
    pub title: String,
    /// The text that is embedded and shown to the language model.
    pub text: String,
    /// Where the document came from: a file path or a data set's name.
    pub source: String,
    /// The text's language: `sql`, `python`, `en`.
    pub language: String,
    /// Facts about the document that not every kind has.
    pub meta: Map<String, Value>,
    /// The digest of `text`.
    pub sha256: Digest,
}

impl Document {
    /// The kind of a document that describes one table of a database.
    pub const TABLE: &'static str = "table";
}
