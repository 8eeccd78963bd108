use std::path::Path;

use rayon::prelude::*;
use usearch::{Index as Graph, IndexOptions, MetricKind};

use crate::exact::{best_first, cosine};
use crate::index::Match;
use crate::permits::Permits;
use crate::{Error, Result, ScalarKind};

/// The shape of a graph.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) dimensions: usize,
    pub(crate) scalar: ScalarKind,
    pub(crate) connectivity: usize,
    pub(crate) expansion_add: usize,
    pub(crate) expansion_search: usize,
    /// How many vectors there are or will be; their keys are `0..count`.
    pub(crate) count: usize,
}

/// Vectors in usearch's HNSW graph (Malkov and Yashunin, "Efficient and robust approximate nearest
/// neighbor search using Hierarchical Navigable Small World graphs", 2016).
pub(crate) struct Vectors {
    graph: Graph,
    count: usize,
    permits: Permits,
}

/// What a check of the whole graph found.
pub(crate) struct SelfRecall {
    /// The keys that a search for their own vector does not find, in order.
    pub(crate) lost: Vec<usize>,
    pub(crate) total: usize,
}

impl SelfRecall {
    pub(crate) fn found(&self) -> usize {
        self.total - self.lost.len()
    }

    /// The share that is found.
    pub(crate) fn ratio(&self) -> f64 {
        self.found() as f64 / self.total as f64
    }
}

impl Vectors {
    /// An empty graph with room for `shape.count` vectors.
    pub(crate) fn new(shape: &Shape) -> Result<Self> {
        let options = IndexOptions {
            dimensions: shape.dimensions,
            metric: MetricKind::Cos,
            quantization: match shape.scalar {
                ScalarKind::F32 => usearch::ScalarKind::F32,
                ScalarKind::F16 => usearch::ScalarKind::F16,
                ScalarKind::I8 => usearch::ScalarKind::I8,
            },
            connectivity: shape.connectivity,
            expansion_add: shape.expansion_add,
            expansion_search: shape.expansion_search,
            multi: false,
        };
        let graph = Graph::new(&options).map_err(Error::usearch("create a graph"))?;
        let threads = rayon::current_num_threads();
        graph
            .reserve_capacity_and_threads(shape.count, threads)
            .map_err(Error::usearch("reserve memory for the graph"))?;
        Ok(Self { graph, count: shape.count, permits: Permits::new(threads) })
    }

    /// Maps a file into memory. The file must be the one that [`Self::save`] wrote, byte for byte:
    /// usearch follows the offsets in it without checking them.
    pub(crate) fn view(path: &Path, shape: &Shape) -> Result<Self> {
        let vectors = Self::new(shape)?;
        let graph = &vectors.graph;
        graph.view(utf8(path)?).map_err(Error::usearch("read vectors.usearch"))?;
        graph.change_expansion_add(shape.expansion_add);
        graph.change_expansion_search(shape.expansion_search);
        let found = (graph.size(), graph.dimensions());
        if found != (shape.count, shape.dimensions) {
            let problem = format!(
                "{} vectors of {} dimensions instead of {} of {}",
                found.0, found.1, shape.count, shape.dimensions
            );
            return Err(Error::damaged(path, problem));
        }
        Ok(vectors)
    }

    /// Writes the graph; not atomic.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        self.graph.save(utf8(path)?).map_err(Error::usearch("write vectors.usearch"))
    }

    pub(crate) fn add(&self, key: usize, vector: &[f32]) -> Result<()> {
        let _permit = self.permits.acquire();
        self.graph.add(key as u64, vector).map_err(Error::usearch("add a vector"))
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// A stored vector, `[dimensions]`.
    pub(crate) fn get(&self, key: usize) -> Result<Vec<f32>> {
        let mut vector = vec![0.0; self.graph.dimensions()];
        match self.graph.get(key as u64, &mut vector) {
            Ok(1) => Ok(vector),
            Ok(_) => Err(Error::Usearch {
                action: "find a vector by its key",
                source: format!("there is no key {key}").into(),
            }),
            Err(error) => Err(Error::usearch("find a vector by its key")(error)),
        }
    }

    /// The approximately `k` best keys for a query, best first. Scores are computed as
    /// [`crate::exact::search`] computes them, so that both give a document the same score.
    pub(crate) fn search(&self, query: &[f32], k: usize) -> Result<Vec<Match>> {
        let matches = {
            let _permit = self.permits.acquire();
            self.graph.search(query, k).map_err(Error::usearch("search"))?
        };
        let scored = matches.keys.iter().map(|key| {
            let position = *key as usize;
            Ok(Match { position, score: cosine(query, &self.get(position)?) })
        });
        let mut scored = scored.collect::<Result<Vec<_>>>()?;
        scored.sort_by(best_first);
        Ok(scored)
    }

    /// Searches for every vector. One is found if it, or another exactly as similar in its place,
    /// is among the first ten.
    pub(crate) fn self_recall(&self, advance: impl Fn(u64) + Sync) -> Result<SelfRecall> {
        const K: usize = 10;
        /// Two of these are closer than two different texts' vectors ever are.
        const ROUNDING: f32 = 1e-6;
        let k = K.min(self.count);
        let lost = |key: usize| -> Result<Option<usize>> {
            let vector = self.get(key)?;
            let matches = self.search(&vector, k)?;
            advance(1);
            let itself = cosine(&vector, &vector);
            let found = matches.iter().any(|found| found.position == key)
                || matches.len() == k
                    && matches.last().is_some_and(|last| last.score >= itself - ROUNDING);
            Ok((!found).then_some(key))
        };
        let lost: Vec<Option<usize>> =
            (0..self.count).into_par_iter().map(lost).collect::<Result<_>>()?;
        Ok(SelfRecall { lost: lost.into_iter().flatten().collect(), total: self.count })
    }

    /// Takes vectors out of the graph and adds them again, which links them anew.
    pub(crate) fn relink(&self, keys: &[usize]) -> Result<()> {
        for key in keys {
            let vector = self.get(*key)?;
            self.graph.remove(*key as u64).map_err(Error::usearch("remove a vector"))?;
            self.add(*key, &vector)?;
        }
        Ok(())
    }
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| Error::Usearch {
        action: "use a path that is not UTF-8",
        source: path.display().to_string().into(),
    })
}
