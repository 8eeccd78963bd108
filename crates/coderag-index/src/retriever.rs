use coderag_core::{Embedder, Error as CoreError, Hit, Retriever, TextRole};

use crate::{Error, Index, Result, SearchMode};

/// Finds documents by the similarity of their vectors to the query's.
pub struct VectorRetriever<'a> {
    index: &'a Index,
    embedder: &'a dyn Embedder,
    mode: SearchMode,
}

impl<'a> VectorRetriever<'a> {
    /// Joins an index with the model that it was built with.
    ///
    /// # Errors
    /// [`Error::OtherModel`] when it was built with another.
    pub fn new(index: &'a Index, embedder: &'a dyn Embedder, mode: SearchMode) -> Result<Self> {
        let manifest = index.manifest();
        let given = (embedder.fingerprint(), embedder.dimensions());
        if given != (manifest.model.fingerprint, manifest.dimensions) {
            return Err(Error::OtherModel {
                name: manifest.model.name.clone(),
                built: manifest.model.fingerprint,
                built_dimensions: manifest.dimensions,
                given: given.0,
                given_dimensions: given.1,
            });
        }
        Ok(Self { index, embedder, mode })
    }
}

impl Retriever for VectorRetriever<'_> {
    fn retrieve(&self, query: &str, limit: usize) -> coderag_core::Result<Vec<Hit>> {
        let embeddings = self.embedder.embed(&[query], TextRole::Query)?;
        let vector = embeddings.rows().next().unwrap_or_default();
        let matches = self
            .index
            .search(vector, limit, self.mode)
            .map_err(CoreError::component("searching the index"))?;
        Ok(self.index.hits(&matches))
    }
}
