use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use coderag_core::atomic::AtomicFolder;
use coderag_core::{Document, Embedder, Progress, TextRole, Unit};
use coderag_corpus::documents;

use crate::hnsw::{SelfRecall, Shape, Vectors};
use crate::index::{DOCUMENTS, VECTORS, has_direction};
use crate::manifest::{FileEntry, Manifest, Metric, ModelIdentity, ScalarKind};
use crate::{Error, Result};

/// How an index is built.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BuildOptions {
    /// How a vector's values are stored.
    pub scalar: ScalarKind,
    /// The links of a graph node, HNSW's M; at least 2.
    pub connectivity: usize,
    /// The candidates considered when a vector is added, HNSW's efConstruction; at least 1.
    pub expansion_add: usize,
    /// The candidates considered by a search, HNSW's efSearch; at least 1.
    pub expansion_search: usize,
    /// The least share of vectors that a search for themselves must find, 0 to 1.
    pub least_self_recall: f64,
}

impl Default for BuildOptions {
    /// usearch's own defaults but for `expansion_search`. Questions lie far from the documents that
    /// answer them, where a graph is searched with more difficulty than among its own vectors: over
    /// 21,531 schemas and 1,000 WikiSQL questions embedded by all-MiniLM-L6-v2, recall@10 is 0.918
    /// with 64 candidates, 0.959 with 128, 0.976 with 256 and 0.990 with 512, which still takes one
    /// millisecond, a seventh of what embedding the question takes.
    fn default() -> Self {
        Self {
            scalar: ScalarKind::F32,
            connectivity: 16,
            expansion_add: 128,
            expansion_search: 512,
            least_self_recall: 0.99,
        }
    }
}

/// Embeds documents and writes their index to `destination`, whole or not at all: an index that is
/// there stays in place and usable until the new one is complete.
///
/// Vectors are added by one thread. Next to embedding this takes little time, the same documents
/// give the same graph, and usearch's concurrent insertion can leave nodes that no search reaches.
/// Every vector is then searched for, and those that are not found are linked anew.
///
/// # Errors
/// [`Error::NotReplaced`], [`Error::NoDocuments`], [`Error::DuplicateId`], [`Error::Option`],
/// [`Error::NoDirection`], [`Error::SelfRecall`], and whatever the embedder, the file system or
/// usearch returns.
pub fn build(
    documents: &[Document],
    embedder: &dyn Embedder,
    model_name: &str,
    destination: &Path,
    options: &BuildOptions,
    progress: &dyn Progress,
) -> Result<Manifest> {
    check(documents, destination, options)?;
    let folder = AtomicFolder::begin(destination)?;
    let shape = Shape {
        dimensions: embedder.dimensions(),
        scalar: options.scalar,
        connectivity: options.connectivity,
        expansion_add: options.expansion_add,
        expansion_search: options.expansion_search,
        count: documents.len(),
    };
    let vectors = embed(documents, embedder, &shape, progress)?;
    let (recall, repaired) = repair(&vectors, progress)?;
    if recall.ratio() < options.least_self_recall {
        return Err(Error::SelfRecall { found: recall.found(), total: recall.total });
    }
    vectors.save(&folder.path().join(VECTORS))?;
    documents::write(&folder.path().join(DOCUMENTS), documents)?;
    let mut files = BTreeMap::new();
    for name in [VECTORS, DOCUMENTS] {
        files.insert(name.to_owned(), FileEntry::of(&folder.path().join(name))?);
    }
    let manifest = Manifest {
        format_version: Manifest::FORMAT_VERSION,
        coderag_version: env!("CARGO_PKG_VERSION").to_owned(),
        created_unix_seconds: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_secs()),
        model: ModelIdentity { name: model_name.to_owned(), fingerprint: embedder.fingerprint() },
        dimensions: shape.dimensions,
        metric: Metric::Cos,
        scalar: shape.scalar,
        connectivity: shape.connectivity,
        expansion_add: shape.expansion_add,
        expansion_search: shape.expansion_search,
        documents: shape.count,
        self_recall: recall.ratio(),
        repaired,
        files,
    };
    manifest.write(folder.path())?;
    folder.commit()?;
    Ok(manifest)
}

/// Refuses what could only fail after hours of embedding.
fn check(documents: &[Document], destination: &Path, options: &BuildOptions) -> Result<()> {
    let option = |option, expected| Err(Error::Option { option, expected });
    if options.connectivity < 2 {
        return option("connectivity", "at least 2");
    }
    if options.expansion_add == 0 {
        return option("expansion_add", "at least 1");
    }
    if options.expansion_search == 0 {
        return option("expansion_search", "at least 1");
    }
    if !(0.0..=1.0).contains(&options.least_self_recall) {
        return option("least_self_recall", "between 0 and 1");
    }
    if documents.is_empty() {
        return Err(Error::NoDocuments);
    }
    let mut ids = HashSet::new();
    if let Some(document) = documents.iter().find(|document| !ids.insert(&document.id)) {
        return Err(Error::DuplicateId { id: document.id.clone() });
    }
    let occupied = match std::fs::read_dir(destination) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => destination.symlink_metadata().is_ok(),
    };
    if occupied && !destination.join(Manifest::FILE).is_file() {
        return Err(Error::NotReplaced { path: destination.to_owned() });
    }
    Ok(())
}

fn embed(
    documents: &[Document],
    embedder: &dyn Embedder,
    shape: &Shape,
    progress: &dyn Progress,
) -> Result<Vectors> {
    /// Enough for the embedder to sort by length, few enough for the progress to move.
    const BATCH: usize = 256;
    let vectors = Vectors::new(shape)?;
    let task = progress.task("embedding documents", Some(documents.len() as u64), Unit::Items);
    let mut key = 0;
    for batch in documents.chunks(BATCH) {
        let texts: Vec<&str> = batch.iter().map(|document| document.text.as_str()).collect();
        let embeddings = embedder.embed(&texts, TextRole::Document)?;
        if embeddings.len() != batch.len() {
            return Err(Error::VectorCount { found: embeddings.len(), expected: batch.len() });
        }
        if embeddings.dimensions() != shape.dimensions {
            let (found, expected) = (embeddings.dimensions(), shape.dimensions);
            return Err(Error::Dimensions { found, expected });
        }
        for (vector, document) in embeddings.rows().zip(batch) {
            if !has_direction(vector) {
                return Err(Error::NoDirection { what: format!("document `{}`", document.id) });
            }
            vectors.add(key, vector)?;
            key += 1;
        }
        task.advance(batch.len() as u64);
    }
    Ok(vectors)
}

/// Links the vectors anew that no search finds; returns the last check and how many those were.
fn repair(vectors: &Vectors, progress: &dyn Progress) -> Result<(SelfRecall, usize)> {
    /// A vector that three rounds do not link well is missed for want of expansion, not of links.
    const ROUNDS: usize = 3;
    let check = || {
        let total = Some(vectors.count() as u64);
        let task = progress.task("checking that vectors find themselves", total, Unit::Items);
        vectors.self_recall(|amount| task.advance(amount))
    };
    let mut recall = check()?;
    let mut repaired = 0;
    for _ in 0..ROUNDS {
        if recall.lost.is_empty() {
            break;
        }
        tracing::info!(lost = recall.lost.len(), "linking vectors anew that no search found");
        repaired += recall.lost.len();
        vectors.relink(&recall.lost)?;
        recall = check()?;
    }
    Ok((recall, repaired))
}
