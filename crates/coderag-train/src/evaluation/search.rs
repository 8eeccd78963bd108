use burn::backend::Flex;
use burn::tensor::{Tensor, TensorData};
use coderag_core::Embeddings;
use rayon::prelude::*;

use crate::{Error, Result};

/// How many queries and documents are compared at once: a block of similarities takes 1 MiB.
const QUERIES: usize = 64;
const DOCUMENTS: usize = 4096;

/// What was found for a query.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Found {
    /// The most similar documents with their similarities and numbers, best first.
    pub(super) best: Vec<(f32, usize)>,
    /// The similarity of the most similar positive.
    pub(super) positive: Option<f32>,
    /// The similarity of the most similar document that is no positive.
    pub(super) hardest_negative: Option<f32>,
}

/// Searches all documents for each query by cosine, and keeps the `depth` best. `relevant` are each query's
/// positives in ascending order. The matrix of similarities is never whole in memory.
///
/// Of equally similar documents the one with the higher number is first, which is trec_eval's rule for
/// numbers as ids; NaN is the lowest similarity.
pub(super) fn search(
    mut queries: Embeddings,
    mut documents: Embeddings,
    relevant: &[Vec<usize>],
    depth: usize,
) -> Result<Vec<Found>> {
    queries.normalize();
    documents.normalize();
    let dimensions = queries.dimensions();
    let width = DOCUMENTS * dimensions;
    let blocks: Vec<Tensor<Flex, 2>> =
        documents.as_slice().chunks(width).map(|block| matrix(block, dimensions)).collect();
    let found: Vec<Vec<Found>> = (queries.as_slice().par_chunks(QUERIES * dimensions))
        .zip(relevant.par_chunks(QUERIES))
        .map(|(queries, relevant)| {
            let queries = matrix(queries, dimensions);
            let mut found = vec![Found::default(); relevant.len()];
            for (index, documents) in blocks.iter().enumerate() {
                let columns = documents.dims()[0];
                let similarities = queries.clone().matmul(documents.clone().transpose());
                let similarities = similarities
                    .into_data()
                    .into_vec::<f32>()
                    .map_err(|error| Error::Backend(format!("{error:?}").into()))?;
                let rows = similarities.chunks_exact(columns).zip(relevant).zip(&mut found);
                for ((row, relevant), found) in rows {
                    found.add(row, index * DOCUMENTS, relevant, depth);
                }
            }
            Ok(found)
        })
        .collect::<Result<_>>()?;
    Ok(found.into_iter().flatten().collect())
}

fn matrix(values: &[f32], dimensions: usize) -> Tensor<Flex, 2> {
    let shape = [values.len() / dimensions, dimensions];
    Tensor::from_data(TensorData::new(values.to_vec(), shape), &Default::default())
}

impl Found {
    /// Adds the similarities of the documents from number `first` on.
    fn add(&mut self, similarities: &[f32], first: usize, relevant: &[usize], depth: usize) {
        let mut relevant = relevant.iter().skip_while(|number| **number < first).peekable();
        for (number, similarity) in (first..).zip(similarities) {
            let similarity = if similarity.is_nan() { f32::NEG_INFINITY } else { *similarity };
            let highest = match relevant.next_if(|relevant| **relevant == number) {
                Some(_) => &mut self.positive,
                None => &mut self.hardest_negative,
            };
            *highest = Some(highest.map_or(similarity, |highest| highest.max(similarity)));
            if self.best.len() < depth
                || self.best.last().is_some_and(|(worst, _)| similarity >= *worst)
            {
                // Numbers come in ascending order, so a tie goes to the one that comes now.
                let place = self.best.partition_point(|(better, _)| *better > similarity);
                self.best.insert(place, (similarity, number));
                self.best.truncate(depth);
            }
        }
    }
}
