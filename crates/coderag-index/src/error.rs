use std::path::{Path, PathBuf};

use coderag_core::{BoxError, Digest};

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong with an index.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file operation or the embedding model failed.
    #[error(transparent)]
    Core(#[from] coderag_core::Error),

    /// The documents of an index cannot be read or written.
    #[error(transparent)]
    Corpus(#[from] coderag_corpus::Error),

    /// The folder is not an index.
    #[error("{} is not an index: it has no manifest.json; build one with `coderag index build`", path.display())]
    NotAnIndex {
        /// The folder.
        path: PathBuf,
    },

    /// A build would replace something that is not an index.
    #[error(
        "{} exists and is not an index, so it is not replaced; choose another output or remove it",
        path.display()
    )]
    NotReplaced {
        /// The folder.
        path: PathBuf,
    },

    /// The manifest is not JSON or lacks a key.
    #[error("{} is damaged; rebuild the index with `coderag index build`", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },

    /// The folder was written by another version of CodeRAG.
    #[error(
        "{} has format version {found}, this version reads {expected}; rebuild it with `coderag \
         index build`",
        path.display()
    )]
    FormatVersion {
        /// The folder.
        path: PathBuf,
        /// The version in the manifest.
        found: u32,
        /// The version that this crate reads.
        expected: u32,
    },

    /// A file is not as the manifest says.
    #[error("{} is damaged: {problem}; rebuild the index with `coderag index build`", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How it differs.
        problem: String,
    },

    /// There is nothing to index.
    #[error("there are no documents to index")]
    NoDocuments,

    /// Two documents have one id.
    #[error("two documents have the id `{id}`")]
    DuplicateId {
        /// The id.
        id: String,
    },

    /// An option of the build is out of range.
    #[error("`{option}` must be {expected}")]
    Option {
        /// The option.
        option: &'static str,
        /// Its range, in words.
        expected: &'static str,
    },

    /// The model gave a vector that has no direction.
    #[error("the vector of {what} is zero or not finite, so it cannot be compared")]
    NoDirection {
        /// `the query`, or the document by its id.
        what: String,
    },

    /// The embedder returned another number of vectors than it was given texts.
    #[error("the embedder returned {found} vectors for {expected} texts")]
    VectorCount {
        /// The vectors returned.
        found: usize,
        /// The texts given.
        expected: usize,
    },

    /// A vector has another width than the index.
    #[error("the vector has {found} dimensions, the index has {expected}")]
    Dimensions {
        /// The width of the vector.
        found: usize,
        /// The width of the index's vectors.
        expected: usize,
    },

    /// The index was built with another model.
    #[error(
        "the index was built with the model `{name}` ({built}, {built_dimensions} dimensions), not \
         with the one given ({given}, {given_dimensions} dimensions); search with `{name}` and, \
         if there was one, the adapter that it was built with, or rebuild the index with \
         `coderag index build --model`"
    )]
    OtherModel {
        /// The name of the index's model.
        name: String,
        /// The fingerprint of the index's model.
        built: Digest,
        /// The width of the index's vectors.
        built_dimensions: usize,
        /// The fingerprint of the model given.
        given: Digest,
        /// The width of its vectors.
        given_dimensions: usize,
    },

    /// Too many vectors cannot be found in the graph.
    #[error(
        "only {found} of {total} vectors are found by a search for themselves; raise the \
         connectivity, `expansion_add` or `expansion_search`"
    )]
    SelfRecall {
        /// The vectors that find themselves.
        found: usize,
        /// All vectors.
        total: usize,
    },

    /// The usearch library refused an operation.
    #[error("usearch cannot {action}")]
    Usearch {
        /// The attempted operation.
        action: &'static str,
        /// What usearch said.
        source: BoxError,
    },
}

impl Error {
    pub(crate) fn usearch<E: Into<BoxError>>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Usearch { action, source: source.into() }
    }

    pub(crate) fn damaged(path: &Path, problem: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), problem: problem.into() }
    }
}
