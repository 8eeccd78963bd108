use std::path::{Path, PathBuf};

use coderag_core::{Document, Hit, Progress, Unit};
use coderag_corpus::documents;

use crate::hnsw::{Shape, Vectors};
use crate::manifest::Manifest;
use crate::{Error, Result, exact};

pub(crate) const VECTORS: &str = "vectors.usearch";
pub(crate) const DOCUMENTS: &str = "documents.parquet";

/// An open index.
pub struct Index {
    folder: PathBuf,
    manifest: Manifest,
    documents: Vec<Document>,
    vectors: Vectors,
}

/// How an index is searched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SearchMode {
    /// Through the HNSW graph: fast, and nearly always right.
    #[default]
    Approximate,
    /// By comparing every vector: slower, always right.
    Exact,
}

/// A vector found for a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Match {
    /// The position of its document in [`Index::documents`].
    pub position: usize,
    /// The cosine similarity, -1 to 1.
    pub score: f32,
}

impl Index {
    /// Opens an index folder. The vectors are mapped into memory, not loaded. Every file is first
    /// compared with its digest in the manifest, because a damaged graph would crash the process.
    ///
    /// # Errors
    /// [`Error::NotAnIndex`], [`Error::FormatVersion`], [`Error::Manifest`], [`Error::Damaged`],
    /// and [`Error::Core`] when a file cannot be read.
    pub fn open(folder: &Path) -> Result<Self> {
        let manifest = Manifest::read(folder)?;
        if manifest.documents == 0 || manifest.dimensions == 0 {
            let problem = "it lists no vectors";
            return Err(Error::damaged(&folder.join(Manifest::FILE), problem));
        }
        for name in [VECTORS, DOCUMENTS] {
            manifest.check(folder, name)?;
        }
        let shape = Shape {
            dimensions: manifest.dimensions,
            scalar: manifest.scalar,
            connectivity: manifest.connectivity,
            expansion_add: manifest.expansion_add,
            expansion_search: manifest.expansion_search,
            count: manifest.documents,
        };
        let path = folder.join(DOCUMENTS);
        let documents = documents::read(&path)?;
        if documents.len() != manifest.documents {
            let problem =
                format!("{} documents instead of {}", documents.len(), manifest.documents);
            return Err(Error::damaged(&path, problem));
        }
        let vectors = Vectors::view(&folder.join(VECTORS), &shape)?;
        Ok(Self { folder: folder.to_owned(), manifest, documents, vectors })
    }

    /// What the index is and how it was made.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The documents in the order of their positions.
    pub fn documents(&self) -> &[Document] {
        &self.documents
    }

    /// The `k` vectors most similar to `query`, best first, of equals the lower position; all of
    /// them where the index has fewer.
    ///
    /// # Errors
    /// [`Error::Dimensions`] and [`Error::NoDirection`] for a query that cannot be compared,
    /// [`Error::Usearch`].
    pub fn search(&self, query: &[f32], k: usize, mode: SearchMode) -> Result<Vec<Match>> {
        let (found, expected) = (query.len(), self.manifest.dimensions);
        if found != expected {
            return Err(Error::Dimensions { found, expected });
        }
        if !has_direction(query) {
            return Err(Error::NoDirection { what: "the query".to_owned() });
        }
        match (k.min(self.documents.len()), mode) {
            (0, _) => Ok(Vec::new()),
            (k, SearchMode::Approximate) => self.vectors.search(query, k),
            (k, SearchMode::Exact) => exact::search(&self.vectors, query, k),
        }
    }

    /// The documents of matches, in their order.
    pub fn hits(&self, matches: &[Match]) -> Vec<Hit> {
        let hit = |found: &Match| {
            let document = self.documents.get(found.position)?.clone();
            Some(Hit { score: found.score, document })
        };
        matches.iter().filter_map(hit).collect()
    }

    /// Checks all that [`Self::open`] does not: that every vector can be compared and that a search
    /// for it finds it as often as when the index was built. Returns the share that is found.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn verify(&self, progress: &dyn Progress) -> Result<f64> {
        let path = self.folder.join(VECTORS);
        for name in [VECTORS, DOCUMENTS] {
            self.manifest.check(&self.folder, name)?;
        }
        for (position, document) in self.documents.iter().enumerate() {
            if !has_direction(&self.vectors.get(position)?) {
                let problem = format!("the vector of `{}` is zero or not finite", document.id);
                return Err(Error::damaged(&path, problem));
            }
        }
        let total = Some(self.documents.len() as u64);
        let task = progress.task("checking that vectors find themselves", total, Unit::Items);
        let recall = self.vectors.self_recall(|amount| task.advance(amount))?.ratio();
        if recall < self.manifest.self_recall {
            let built = self.manifest.self_recall;
            let problem = format!("its self-recall is {recall:.4}, when built it was {built:.4}");
            return Err(Error::damaged(&path, problem));
        }
        Ok(recall)
    }
}

impl std::fmt::Debug for Index {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Index")
            .field("folder", &self.folder)
            .field("documents", &self.manifest.documents)
            .finish_non_exhaustive()
    }
}

/// Whether a vector can be compared by its angle.
pub(crate) fn has_direction(vector: &[f32]) -> bool {
    let square: f32 = vector.iter().map(|value| value * value).sum();
    square.is_normal()
}
