use serde::{Deserialize, Serialize};

use crate::{Document, Result};

/// A document found for a query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// The similarity, higher is better; for a cosine index between -1 and 1.
    pub score: f32,
    /// What was found.
    pub document: Document,
}

/// Finds documents for a query.
pub trait Retriever: Send + Sync {
    /// The `limit` best documents, best first.
    ///
    /// # Errors
    /// [`crate::Error::Component`] when the query cannot be embedded or the index cannot be read.
    fn retrieve(&self, query: &str, limit: usize) -> Result<Vec<Hit>>;
}
