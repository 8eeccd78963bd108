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

    /// A vector has another width than the index, or than the quantizer was made for.
    #[error("the vector has {found} dimensions, expected {expected}")]
    Dimensions {
        /// The width of the vector.
        found: usize,
        /// The expected width.
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

    /// A file does not hold vectors that can be read.
    #[error("cannot read vectors from {}: {problem}", path.display())]
    Vectors {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },

    /// A quantisation needs the range of each dimension.
    #[error(
        "int8 and uint8 need the range of each dimension: give vectors to calibrate with (--calibration)"
    )]
    NoRanges,

    /// The only vector was to give the range of each dimension.
    #[error(
        "one vector gives no range of each dimension, which int8 and uint8 need: give vectors to \
         calibrate with (--calibration)"
    )]
    SingleVector,

    /// Ranges are of vectors of another width.
    #[error(
        "the vectors to calibrate with have {found} dimensions, those to quantise have {expected}"
    )]
    RangesWidth {
        /// The dimensions of the ranges.
        found: usize,
        /// The dimensions of the vectors.
        expected: usize,
    },

    /// Another run has the chunks open.
    #[error(
        "another run is writing to {}; wait until it ends, or choose another output", path.display()
    )]
    Locked {
        /// The folder of chunks.
        path: PathBuf,
    },

    /// The folder for chunks has other files.
    #[error(
        "{} is where unfinished vectors are kept, but it holds other files; choose another output, or \
         move them away",
        path.display()
    )]
    NotChunks {
        /// The folder.
        path: PathBuf,
    },

    /// The record of an unfinished run cannot be read.
    #[error("{} is damaged; give --restart, or remove its folder, to begin anew", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },

    /// An unfinished run made its vectors otherwise.
    #[error(
        "{} holds the unfinished vectors of another run: {differences}; go on with that run's options, \
         or give --restart, or remove the folder, to begin anew",
        path.display()
    )]
    OtherSettings {
        /// The folder of chunks.
        path: PathBuf,
        /// What differs.
        differences: String,
    },

    /// An unfinished run had other texts.
    #[error(
        "the texts are not those of the unfinished run in {}: text {first} to text {last} were \
         different; give its texts, or --restart, or remove the folder, to begin anew",
        path.display()
    )]
    OtherTexts {
        /// The folder of chunks.
        path: PathBuf,
        /// The first text of the chunk that differs, counted from 1.
        first: u64,
        /// Its last text.
        last: u64,
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
