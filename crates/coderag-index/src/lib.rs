//! The vector index folder: usearch HNSW, exact scan, manifest, atomic build and verification.
//!
//! An index is a folder of three files that other tools can read: `manifest.json`
//! ([`Manifest`]), `vectors.usearch` (usearch's own format, the key of a vector is its document's
//! position) and `documents.parquet` ([`coderag_corpus::documents`]). [`build`] writes it whole or
//! not at all, [`Index`] searches it, [`VectorRetriever`] joins it with the model that it was built
//! with. The crate knows nothing of language models.
//!
//! Vectors without an index go to files of their own: [`ChunkFolder`] keeps those of a long run safe,
//! [`quantization`] makes them smaller, and [`vector_file`] writes them for other tools.

mod build;
mod chunk_folder;
mod error;
mod exact;
mod hnsw;
mod index;
mod manifest;
mod permits;
pub mod quantization;
mod retriever;
pub mod vector_file;

pub use build::{BuildOptions, build};
pub use chunk_folder::ChunkFolder;
pub use error::{Error, Result};
pub use index::{Index, Match, SearchMode};
pub use manifest::{FileEntry, Manifest, Metric, ModelIdentity, ScalarKind};
pub use retriever::VectorRetriever;
